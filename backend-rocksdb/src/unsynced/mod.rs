//! Working files without syncs.
//!
//! RocksDB syncs each file that it writes or takes in, the manifest and the folder, some ten times for each checkpoint, and has no option to leave that. But
//! nobody reads working files after a crash: checkpoints are where state is safe, and the engine syncs each file that becomes part of one, linked or
//! copied. So the databases are given a file system of ours, in a few lines of C++, which does all that RocksDB's does but for that.
#![expect(unsafe_code, reason = "a function of C++")]

use std::ffi::{CStr, c_char};
use std::sync::Once;

/// What RocksDB knows the environment with this file system by.
const NAME: &CStr = c"MillpondUnsynced";

unsafe extern "C" {
    fn millpond_register_unsynced(name: *const c_char);
}

/// RocksDB's default options, with working files that are never synced.
pub(crate) fn options() -> rocksdb::Options {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // SAFETY: the name ends with a NUL and is copied; what is made stays for as long as the process does.
        unsafe { millpond_register_unsynced(NAME.as_ptr()) }
    });
    let mut plain = rocksdb::Options::default();
    // An environment that options do not know they leave out; then files are synced.
    let text = format!("env={}", NAME.to_string_lossy());
    plain.get_options_from_string(&text).unwrap_or(plain)
}
