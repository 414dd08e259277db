//! Jobs with a backend whose checkpoints name files of earlier ones: what is shared, what is deleted, and what happens when a file is damaged.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that fails fails its test"
)]

mod backend;
mod damage;
mod filesystem;
mod job;
#[path = "../../../tests/subject/rationed.rs"]
mod rationed;
mod sharing;
