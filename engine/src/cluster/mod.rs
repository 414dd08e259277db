//! The `cluster` module.
