//! Tests of the whole system: real processes on real files, killed and disturbed at random moments.
//!
//! Each random test prints its seed, and `MILLPOND_SEED` runs it again with the same one. `MILLPOND_KILLS` says how often a kill loop kills (5).

mod harness;

mod bad_input;
mod cluster;
mod faults_of_storage;
mod kill_loop;
mod numbered_events;
mod pressure;
mod restore;
mod user_failures;
mod word_count;
