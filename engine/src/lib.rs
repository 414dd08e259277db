//! Millpond: a stateful stream processor for Rust programs.
//!
//! A program describes a job as streams and functions, with Flink's names in Rust's manner, and runs it in its own process; several processes
//! make a cluster. State lives in a backend that is chosen in the configuration, and checkpoints keep every result exact over failures.
//! The README of the repository shows how to begin, `ARCHITECTURE.md` why it is built as it is.
//!
//! | module | for whom | what |
//! |---|---|---|
//! | [`api`] | every program | environments, streams, functions, and the traits of sources and sinks |
//! | [`connectors`] | every program | the sources and sinks that are built in |
//! | [`state`] | functions with state | typed handles to values, lists, maps and folds of the current key |
//! | [`config`] | every program | options, configuration files, the shared arguments, logging |
//! | [`backend`] | tools, programs with a backend of their own | the registry of state backends and the loader of libraries |
//! | [`checkpoint`] | tools | metadata, storage, coordination and recovery of checkpoints |
//! | [`control`] | tools | asking a running job for a savepoint from outside |
//! | [`codec`] | tools, and who wonders what a record looks like | how records and state become bytes |
//! | [`cluster`] | the engine | processes that meet, lose each other and meet again |
//! | [`restart`] | the engine | whether and when a failed job starts again |
//!
//! ```
//! use millpond_engine::api::StreamExecutionEnvironment;
//! use millpond_engine::connectors::sinks::CollectSink;
//!
//! let env = StreamExecutionEnvironment::new();
//! let sink = CollectSink::new();
//! let results = sink.results();
//! env.from_sequence(1, 11).map(|n| n * n).filter(|square| square % 2 == 1).sink_to_2pc(sink);
//! env.execute("odd squares")?;
//! assert_eq!(results.take(), [1, 9, 25, 49, 81]);
//! # Ok::<(), millpond_engine::Error>(())
//! ```
//!
//! # Features
//!
//! `memory` (default): the backend that keeps working state on the heap is linked and registered. Without it every job needs a plugin.

pub mod api;
pub mod backend;
pub mod checkpoint;
pub mod cluster;
pub mod codec;
pub mod config;
pub mod connectors;
pub mod control;
mod error;
pub mod restart;
mod runtime;
pub mod state;

pub use error::{Error, ErrorKind, Result};

/// The programs in the README compile and run as they stand there.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct ReadmeDoctests;
