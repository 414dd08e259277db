//! The part of RocksDB's interface that its Rust library has no names for: which files a database consists of, to the last detail, and a column
//! family made of files of other databases.
//!
//! Files of a database cannot be ingested as others can: their entries have sequence numbers, and those that were ingested themselves have theirs
//! in the manifest only. An import takes both over as they are.
#![expect(unsafe_code, reason = "functions of RocksDB's interface for C")]
#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "calls that make one thing together have one argument"
)]

use crate::database::Db;
use librocksdb_sys as ffi;
use rocksdb::AsRawPtr;
use std::ffi::{CStr, CString, c_char};
use std::path::{Path, PathBuf};
use std::ptr;

/// A file of sorted entries that a database has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LiveFile {
    /// The folder of the database.
    pub(crate) folder: PathBuf,
    /// The name in it.
    pub(crate) name: String,
    pub(crate) column_family: String,
    level: i32,
    size: usize,
    /// No key lies before it; what a deleted range begins with counts.
    pub(crate) smallest: Vec<u8>,
    /// No key lies behind it; what a deleted range ends with counts.
    pub(crate) largest: Vec<u8>,
    smallest_sequence: u64,
    largest_sequence: u64,
    entries: u64,
    deletions: u64,
}

/// The files of `db`, which lies in `folder`.
pub(crate) fn live_files(db: &Db, folder: &Path) -> Vec<LiveFile> {
    // SAFETY: the database is open as long as `db` is borrowed.
    let files = unsafe { ffi::rocksdb_livefiles(db.as_raw_ptr()) };
    if files.is_null() {
        return Vec::new();
    }
    // SAFETY: it is a list, as it was just given, and nobody else has it.
    let count = unsafe { ffi::rocksdb_livefiles_count(files) };
    let file = |index| {
        let (mut smallest_len, mut largest_len) = (0, 0);
        // SAFETY: the index is below the count, the list is there until it is destroyed below, and what is pointed to lives as long as it. Names end with a
        // NUL, keys have the lengths that are given with them.
        unsafe {
            let smallest = ffi::rocksdb_livefiles_smallestkey(files, index, &raw mut smallest_len);
            let largest = ffi::rocksdb_livefiles_largestkey(files, index, &raw mut largest_len);
            LiveFile {
                folder: folder.to_owned(),
                name: text(ffi::rocksdb_livefiles_name(files, index))
                    .trim_start_matches('/')
                    .to_owned(),
                column_family: text(ffi::rocksdb_livefiles_column_family_name(files, index)),
                level: ffi::rocksdb_livefiles_level(files, index),
                size: ffi::rocksdb_livefiles_size(files, index),
                smallest: bytes(smallest, smallest_len),
                largest: bytes(largest, largest_len),
                smallest_sequence: ffi::rocksdb_livefiles_smallest_seqno(files, index),
                largest_sequence: ffi::rocksdb_livefiles_largest_seqno(files, index),
                entries: ffi::rocksdb_livefiles_entries(files, index),
                deletions: ffi::rocksdb_livefiles_deletions(files, index),
            }
        }
    };
    let all = (0..count).map(file).collect();
    // SAFETY: nobody uses the list from here on; everything was copied.
    unsafe { ffi::rocksdb_livefiles_destroy(files) };
    all
}

/// Ends the compactions of `db` that somebody asked for, and refuses them from now on.
pub(crate) fn refuse_compactions(db: &Db) {
    // SAFETY: the database is open as long as `db` is borrowed.
    unsafe { ffi::rocksdb_disable_manual_compaction(db.as_raw_ptr()) }
}

/// # Safety
/// `from` is null or points to bytes that end with a NUL.
unsafe fn text(from: *const c_char) -> String {
    if from.is_null() {
        return String::new();
    }
    // SAFETY: the caller's.
    unsafe { CStr::from_ptr(from) }.to_string_lossy().into_owned()
}

/// # Safety
/// `from` is null or points to `len` bytes.
unsafe fn bytes(from: *const c_char, len: usize) -> Vec<u8> {
    if from.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller's.
    unsafe { std::slice::from_raw_parts(from.cast::<u8>(), len) }.to_vec()
}

/// Makes the column family `name` of `db`, which has none of that name, of `files`: at least one, and none has keys of another one's range in the same
/// level, unless they are of one database. They are linked and then removed from where they were; copied where that cannot be.
///
/// The handle that RocksDB gives for the column family is not kept: it can be used when the database is opened the next time.
///
/// # Errors
/// RocksDB's words.
pub(crate) fn import(
    db: &Db,
    name: &str,
    options: &rocksdb::Options,
    files: &[LiveFile],
) -> Result<(), String> {
    let no_text = |error| format!("a name with a NUL: {error}");
    let name = CString::new(name).map_err(no_text)?;
    // The texts are copied by RocksDB; they have to be valid before anything is made that must be destroyed.
    let texts = files.iter().map(|file| {
        let folder = file.folder.as_os_str().as_encoded_bytes();
        Ok((
            CString::new(file.name.as_str())?,
            CString::new(folder)?,
            CString::new(file.column_family.as_str())?,
        ))
    });
    let texts = texts.collect::<Result<Vec<_>, std::ffi::NulError>>();
    let texts = texts.map_err(no_text)?;
    // SAFETY: what is made here is used as its kind, and destroyed once: each file by `add`, the list by `set_files`, the rest below. Texts and
    // keys live longer than the calls that copy them. Database and options are open as long as they are borrowed, and RocksDB keeps what it needs of
    // the options. A message of an error was made by `malloc`, which `rocksdb_free` undoes.
    unsafe {
        let list = ffi::rocksdb_livefiles_create();
        for (file, (name, folder, column_family)) in files.iter().zip(&texts) {
            let one = ffi::rocksdb_livefile_create();
            ffi::rocksdb_livefile_set_name(one, name.as_ptr());
            ffi::rocksdb_livefile_set_directory(one, folder.as_ptr());
            ffi::rocksdb_livefile_set_column_family_name(one, column_family.as_ptr());
            ffi::rocksdb_livefile_set_level(one, file.level);
            ffi::rocksdb_livefile_set_size(one, file.size);
            ffi::rocksdb_livefile_set_smallest_key(one, file.smallest.as_ptr().cast(), file.smallest.len());
            ffi::rocksdb_livefile_set_largest_key(one, file.largest.as_ptr().cast(), file.largest.len());
            ffi::rocksdb_livefile_set_smallest_seqno(one, file.smallest_sequence);
            ffi::rocksdb_livefile_set_largest_seqno(one, file.largest_sequence);
            ffi::rocksdb_livefile_set_num_entries(one, file.entries);
            ffi::rocksdb_livefile_set_num_deletions(one, file.deletions);
            ffi::rocksdb_livefiles_add(list, one);
        }
        let metadata = ffi::rocksdb_export_import_files_metadata_create();
        ffi::rocksdb_export_import_files_metadata_set_db_comparator_name(metadata, COMPARATOR.as_ptr());
        ffi::rocksdb_export_import_files_metadata_set_files(metadata, list);
        let how = ffi::rocksdb_import_column_family_options_create();
        ffi::rocksdb_import_column_family_options_set_move_files(how, 1);
        let mut error: *mut c_char = ptr::null_mut();
        let family = ffi::rocksdb_create_column_family_with_import(
            db.as_raw_ptr(),
            options.as_raw_ptr(),
            name.as_ptr(),
            how,
            metadata,
            &raw mut error,
        );
        ffi::rocksdb_import_column_family_options_destroy(how);
        ffi::rocksdb_export_import_files_metadata_destroy(metadata);
        if error.is_null() {
            ffi::rocksdb_column_family_handle_destroy(family);
            return Ok(());
        }
        let words = text(error);
        ffi::rocksdb_free(error.cast());
        Err(words)
    }
}

/// The order of keys in all databases: that of their bytes.
const COMPARATOR: &CStr = c"leveldb.BytewiseComparator";
