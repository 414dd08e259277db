//! State with a TTL, in whole programs with a clock that the test sets.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod cleanup;
mod expiry;
mod job;
mod restore;
