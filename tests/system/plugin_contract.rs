//! The contract suite against the filesystem backend as the engine loads it: out of its library.

use crate::plugins::filesystem_library;
use abi_stable::library::lib_header_from_path;
use millpond_backend_api::abi::{BackendModule_Ref, FactoryObject};
use millpond_backend_api::contract::Suite;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Built once for all scenarios.
static LIBRARY: OnceLock<PathBuf> = OnceLock::new();

fn factory() -> FactoryObject {
    let library = LIBRARY.get_or_init(filesystem_library);
    let header = lib_header_from_path(library).unwrap();
    let module = header.init_root_module::<BackendModule_Ref>().unwrap();
    let factories = module.factories()();
    assert_eq!(factories.len(), 1);
    factories.into_iter().next().unwrap()
}

millpond_backend_api::contract_tests!(suite = Suite::new(factory, &[]).with_files_on_disk());

#[test]
fn the_library_exports_the_factory_under_its_names() {
    let factory = factory();
    assert_eq!(factory.name(), "millpond::FsStateBackendFactory");
    assert_eq!(factory.short_names().to_vec(), ["filesystem", "fs"]);
}
