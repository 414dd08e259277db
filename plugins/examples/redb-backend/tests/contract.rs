//! The contract suite against the redb backend.

use millpond_backend_api::export::factory_object;
use redb_backend::RedbStateBackendFactory;

millpond_backend_api::contract_tests!(
    factory_object(RedbStateBackendFactory),
    config = [("state.backend.redb.cache-size", "4mb")]
);
