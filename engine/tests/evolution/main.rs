//! Jobs that are started from what an earlier release of them has stored.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod job;
mod migrated;
mod refused;
