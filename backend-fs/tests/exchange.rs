//! Canonical snapshots of the memory backend, restored here, and of this one, restored there.

use millpond_backend_api::contract::Suite;
use millpond_backend_api::contract::canonical::exchange;

#[test]
fn what_the_memory_backend_and_this_one_write_in_the_canonical_form_is_restored_by_the_other() {
    let memory = Suite::new(millpond_backend_memory::factory, &[]);
    for config in [
        &[][..],
        &[("execution.checkpointing.snapshot-compression", "true")],
    ] {
        let own = Suite::new(millpond_backend_fs::factory, config);
        exchange(&memory, &own);
        exchange(&own, &memory);
    }
}
