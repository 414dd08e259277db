//! Canonical snapshots of the built-in backends, restored here, and of this one, restored there.

use millpond_backend_api::contract::Suite;
use millpond_backend_api::contract::canonical::exchange;
use millpond_backend_api::export::factory_object;
use redb_backend::RedbStateBackendFactory;

#[test]
fn a_savepoint_goes_from_any_backend_to_any_other() {
    let own = Suite::new(
        || factory_object(RedbStateBackendFactory),
        &[("state.backend.redb.cache-size", "4mb")],
    );
    let memory = Suite::new(millpond_backend_memory::factory, &[]);
    let fs = Suite::new(millpond_backend_fs::factory, &[]);
    for other in [memory, fs] {
        exchange(&own, &other);
        exchange(&other, &own);
    }
}
