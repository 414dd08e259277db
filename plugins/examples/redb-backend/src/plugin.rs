//! What the library exports.

millpond_backend_api::export_backends!(crate::RedbStateBackendFactory);
