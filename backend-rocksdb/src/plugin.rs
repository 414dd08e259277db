//! The factory as an ABI object: the only place of this crate that knows how the boundary is crossed.

use crate::backend::RocksDbStateBackendFactory;
use millpond_backend_api::abi::FactoryObject;
use millpond_backend_api::export::factory_object;

/// The factory of the RocksDB backend, as the engine's registry takes it.
#[must_use]
pub fn factory() -> FactoryObject {
    factory_object(RocksDbStateBackendFactory)
}

#[cfg(feature = "plugin")]
millpond_backend_api::export_backends!(RocksDbStateBackendFactory);
