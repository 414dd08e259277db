//! Asking a running job for a savepoint from outside, without a line of code: by files in a folder that the job watches.
//!
//! With `control.dir` set, the job looks into that folder twice a second. [`request`] (and `millpond savepoint trigger`) writes a request and waits for the answer:
//!
//! ```text
//! <control.dir>/
//!     control.lock       locked by the job that watches the folder, one folder a job, and deleted at its end
//!     <id>.request       a request; locked by whoever waits for its answer. Who deletes it decides: the job takes it, or the asker gives up
//!     <id>.taken         locked by the job while it is at it, so that its death is noticed
//!     <id>.answer        the answer; deleted by whoever reads it
//! ```
//!
//! Each file appears whole, under its final name, or not at all. They are lines of text: `millpond-request 1`, then `key=value` each; `millpond-answer 1`, then
//! `done` and the savepoint's folder, or `failed` and why.

mod client;
mod files;
mod watch;

pub use client::request;
pub use files::Request;
pub(crate) use watch::Watch;

#[cfg(test)]
mod tests;
