//! State backends: how one is chosen by name, where it is found, and how the engine talks to it.
//!
//! A backend is made by a factory. A factory is either registered in the program ([`BackendRegistry`]), which is how the built-in ones
//! get in, or found in a library of a plugins folder ([`PluginLoader`]); from then on nobody can tell the two apart.
//! [`BackendSettings::choose`] turns what the configuration says into a [`BackendChoice`], and the [`adapter`] wraps what
//! the factory makes in safe types that speak the engine's [`Error`](crate::Error).

pub mod adapter;
mod blank;
pub(crate) mod budget;
mod from_config;
mod library;
mod load_error;
mod loader;
mod names;
mod registry;
mod select;

pub use adapter::{Backend, BackendFactory, FactoryOrigin, KeyedBackend};
pub(crate) use blank::blank;
pub use library::{Library, Refusal, RefusalKind};
pub use load_error::{LoadError, UnknownName};
pub use loader::{PluginLoader, ScannedFolder};
pub use registry::BackendRegistry;
pub use select::{BackendChoice, BackendSettings, Setting, StorageKind, Strength};

#[cfg(test)]
mod testing;
