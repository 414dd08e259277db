//! Snapshots of the table: the format `millpond-table/1` (see `FORMAT.md` beside this file), its writer and its reader.

mod description;
pub mod format;
mod restore;
mod sealed;
mod states;
mod writer;

pub use description::{Description, Section};
pub use restore::{RestoredSection, read_sections};
pub use sealed::{read_sealed, seal};
pub use states::{put_states, read_states};
pub use writer::{FrozenState, TableWriter};
