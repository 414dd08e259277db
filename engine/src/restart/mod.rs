//! The `restart` module.
