//! The contract that every state backend keeps.

millpond_backend_api::contract_tests!(millpond_backend_rocksdb::factory());
