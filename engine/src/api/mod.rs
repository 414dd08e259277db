//! The `api` module.
