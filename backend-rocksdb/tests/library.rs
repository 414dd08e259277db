//! The backend as programs without it get it: out of its library, which is built here unless it is there.
#![expect(clippy::unwrap_used, reason = "what the tests begin with fails by a panic")]

use abi_stable::library::lib_header_from_path;
use millpond_backend_api::abi::{BackendModule_Ref, FactoryObject};
use millpond_backend_api::contract::Suite;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Built once for all scenarios.
static LIBRARY: OnceLock<PathBuf> = OnceLock::new();

fn build() -> PathBuf {
    // Where this test was built: a folder for each profile is in it.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let output = Command::new(env!("CARGO"))
        .args([
            "rustc",
            "--release",
            "--lib",
            "--package",
            "millpond-backend-rocksdb",
        ])
        .args(["--features", "plugin", "--crate-type", "cdylib", "--target-dir"])
        .arg(target)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let name = format!("{DLL_PREFIX}millpond_backend_rocksdb{DLL_SUFFIX}");
    target.join("release").join(name)
}

fn factory() -> FactoryObject {
    let library = LIBRARY.get_or_init(build);
    let header = lib_header_from_path(library).unwrap();
    let module = header.init_root_module::<BackendModule_Ref>().unwrap();
    let factories = module.factories()();
    assert_eq!(factories.len(), 1);
    factories.into_iter().next().unwrap()
}

millpond_backend_api::contract_tests!(suite = Suite::new(factory, &[]));

#[test]
fn the_library_exports_the_factory_under_its_names() {
    let factory = factory();
    assert_eq!(factory.name(), "millpond::RocksDbStateBackendFactory");
    assert_eq!(factory.short_names().to_vec(), ["rocksdb"]);
}
