//! The `backend` module.
