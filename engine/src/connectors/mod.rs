//! The `connectors` module.
