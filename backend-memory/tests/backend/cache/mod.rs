//! Tables as a write-back cache of a database.

mod cached;
mod database;
mod model;
mod questions;
mod timers;
