//! The backend as the engine loads it: out of the library that cargo built.
#![expect(clippy::unwrap_used, reason = "these are tests")]

use abi_stable::library::lib_header_from_path;
use millpond_backend_api::StateKind;
use millpond_backend_api::abi::{BackendModule_Ref, FactoryObject};
use millpond_backend_api::contract::{Address, Shape, Suite};
use std::path::PathBuf;

/// The library as cargo built it for this test: beside its executable.
fn library() -> PathBuf {
    let name = format!(
        "{}redb_backend{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    );
    let test = std::env::current_exe().unwrap();
    let path = test.with_file_name(name);
    assert!(path.exists(), "{} is missing", path.display());
    path
}

fn factory() -> FactoryObject {
    let header = lib_header_from_path(&library()).unwrap();
    let module = header.init_root_module::<BackendModule_Ref>().unwrap();
    let factories = module.factories()();
    assert_eq!(factories.len(), 1);
    factories.into_iter().next().unwrap()
}

#[test]
fn the_library_exports_the_factory_under_its_names() {
    let factory = factory();
    assert_eq!(factory.name(), "acme::RedbStateBackendFactory");
    assert_eq!(factory.short_names().to_vec(), ["redb"]);
    assert_eq!(factory.version(), env!("CARGO_PKG_VERSION"));
}

#[test]
fn what_the_library_wrote_it_restores_into_two_subtasks() {
    let suite = Suite::new(factory, &[]);
    let storage = suite.storage();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let state = opened.register("counts", StateKind::Value, 8);
    for key in 0..1000_u64 {
        opened.put(state, &Address::new(key.to_le_bytes()), &key.to_be_bytes());
    }
    let handles = opened.snapshot(&storage);
    opened.close();
    let mut found = 0;
    for shape in Shape::all(2) {
        let mut restored = suite.restored(&storage, shape, &handles);
        let state = restored.register("counts", StateKind::Value, 8);
        found += restored.count(state);
        restored.close();
    }
    assert_eq!(found, 1000);
}

#[test]
fn a_wrong_option_is_refused_through_the_library_too() {
    let config = [abi_stable::std_types::Tuple2(
        "state.backend.redb.cache-size".into(),
        "lots".into(),
    )];
    let error = factory().create(config.into_iter().collect()).into_result();
    let error = error.map(|_| ()).unwrap_err();
    assert!(error.message().contains("'lots'"), "{error}");
}
