//! The `checkpoint` module.
