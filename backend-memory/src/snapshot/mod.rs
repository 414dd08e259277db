//! Snapshots of the table in the canonical form: the writer, which every backend over the table has, and the way back into tables.

mod live;
mod restore;
mod writer;

pub use live::for_each_live;
pub use restore::restore_canonical;
pub use writer::{FrozenState, TableWriter, check};
