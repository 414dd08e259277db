//! Compiles the file system for working files, with the headers of the RocksDB that is linked.
#![expect(clippy::expect_used, reason = "a build that cannot go on says why")]

use std::env;
use std::path::PathBuf;

fn main() {
    const SOURCE: &str = "src/unsynced/unsynced.cc";
    println!("cargo:rerun-if-changed={SOURCE}");
    println!("cargo:rerun-if-env-changed=ROCKSDB_INCLUDE_DIR");
    let include = env::var_os("ROCKSDB_INCLUDE_DIR").map_or_else(
        || {
            let sources = env::var_os("DEP_ROCKSDB_CARGO_MANIFEST_DIR");
            PathBuf::from(sources.expect("librocksdb-sys tells where its sources are"))
                .join("rocksdb/include")
        },
        PathBuf::from,
    );
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .include(include)
        .flag_if_supported("-Wno-unused-parameter")
        .file(SOURCE)
        .compile("millpond_unsynced");
}
