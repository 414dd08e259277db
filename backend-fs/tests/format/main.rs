//! The file format from outside: what is written reads back, and whatever is wrong with a file is noticed.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, outside of test functions too"
)]

mod compressed;
mod corpus;
mod damage;
mod edges;
mod fuzzed;
mod golden;
mod model;
mod repair;
mod sample;
mod speed;
mod touch;
