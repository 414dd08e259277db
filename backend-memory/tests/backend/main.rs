//! The memory backend through the traits that the engine uses, over streams in memory.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests, whose helpers are outside test functions"
)]

mod cache;
mod damage;
mod errors;
mod in_place;
mod maps;
mod model;
mod slots;
mod snapshots;
mod support;
