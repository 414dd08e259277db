//! The contract that every state backend keeps: with as much memory as there is, and with so little that nothing stays in the tables for
//! long. And what goes from this backend to others, and back.

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

mod exchange {
    use millpond_backend_api::contract::Suite;
    use millpond_backend_api::contract::canonical::exchange;

    #[test]
    fn what_the_other_backends_and_this_one_write_in_the_canonical_form_is_restored_by_each() {
        let little_memory = [
            ("state.backend.rocksdb.memory.fixed-per-tm", "64 kb"),
            ("state.backend.rocksdb.memory.managed", "false"),
        ];
        for config in [&[][..], &little_memory] {
            let own = Suite::new(millpond_backend_rocksdb::factory, config);
            for other in [millpond_backend_memory::factory, millpond_backend_fs::factory] {
                let other = Suite::new(other, &[]);
                exchange(&own, &other);
                exchange(&other, &own);
            }
        }
    }
}
