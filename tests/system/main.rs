//! Tests of the whole system: real processes on real files, killed and disturbed at random moments.
//!
//! Each random test prints its seed, and `MILLPOND_SEED` runs it again with the same one. `MILLPOND_KILLS` says how often a kill loop kills (2 to 5), `MILLPOND_CRASHES` at how many of the
//! system calls of a kind a job is killed (6 to 10), `MILLPOND_POWER_CUTS` how many rounds of power cuts there are (2), `MILLPOND_SOAK_SECONDS` how long a soak takes (20; 300 in full),
//! `MILLPOND_TIMERS` how many timers there are where there are very many (50000; 1000000 in full).
//!
//! Jobs on RocksDB take it from its library, which `cargo xtask plugins` builds, and are left out without it; but with `MILLPOND_ROCKSDB_LIBRARY=needed` they fail then.
//! The same goes for those on the example backend over redb, and `MILLPOND_REDB_LIBRARY`.

// Marked as tests, or clippy would take what they share for code that must not panic.
#[cfg(test)]
mod harness;

#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod connected;
#[cfg(test)]
mod dataflow;
#[cfg(test)]
mod event_time;
#[cfg(test)]
mod evolution;
#[cfg(test)]
mod expiring;
#[cfg(test)]
mod faults_of_storage;
#[cfg(test)]
mod flipped_bytes;
#[cfg(test)]
mod going_back;
#[cfg(test)]
mod increments;
#[cfg(test)]
mod kill_loop;
#[cfg(test)]
mod leadership;
#[cfg(test)]
mod many_timers;
#[cfg(test)]
mod numbered_events;
#[cfg(test)]
mod pipeline;
#[cfg(test)]
mod plugin_contract;
#[cfg(test)]
mod plugin_refusals;
#[cfg(test)]
mod plugins;
#[cfg(test)]
mod power_cuts;
#[cfg(test)]
mod pressure;
#[cfg(test)]
mod rescaled_damage;
#[cfg(test)]
mod rescaling;
#[cfg(test)]
mod restore;
#[cfg(test)]
mod retained;
#[cfg(test)]
mod rocksdb;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod savepoints;
#[cfg(test)]
mod soak;
#[cfg(test)]
mod state_api;
#[cfg(test)]
mod state_limit;
#[cfg(test)]
mod sweep;
#[cfg(test)]
mod user_failures;
#[cfg(test)]
mod window_api;
#[cfg(test)]
mod windows;
#[cfg(test)]
mod word_count;
