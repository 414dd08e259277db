//! Checkpoints with single damaged bytes, restored as a whole by jobs in this process: each damage is an error that says where it is and what to do, or
//! does not matter.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails where it panics, and tells how much it has tried"
)]

mod checkpoint;
mod everywhere;
mod job;
mod mistaken;
