//! Millpond: a stateful stream processor for Rust programs.
//!
//! This crate is what programs depend on.

pub mod api;
pub mod backend;
pub mod checkpoint;
pub mod cluster;
pub mod codec;
pub mod config;
pub mod connectors;
mod error;
pub mod restart;
pub mod runtime;
pub mod state;

pub use error::{Error, ErrorKind, Result};
