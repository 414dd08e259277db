//! The contract that every state backend keeps: with as much memory as there is, and with so little that nothing stays in the tables for
//! long.

mod enough_memory {
    millpond_backend_api::contract_tests!(millpond_backend_rocksdb::factory());
}

mod little_memory {
    millpond_backend_api::contract_tests!(
        millpond_backend_rocksdb::factory(),
        config = [
            ("state.backend.rocksdb.memory.fixed-per-tm", "64 kb"),
            ("state.backend.rocksdb.memory.managed", "false")
        ],
    );
}
