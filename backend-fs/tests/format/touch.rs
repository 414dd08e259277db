//! Reads whatever a file gives by every call there is, believing nothing. Also what the fuzzer runs.

use millpond_backend_api::{BackendError, BackendErrorKind, BackendResult, StateKind, key_hash};
use millpond_backend_fs::file::{SnapshotFile, Source};
use millpond_backend_memory::table::{cell_hash, map_entry_hash};

/// Opens `bytes` and reads all of it; `verify_first` runs the sweep before.
pub(crate) fn touch_everything(bytes: &[u8], verify_first: bool) -> BackendResult<()> {
    let file = SnapshotFile::open(Source::Bytes(bytes.to_vec()), "touched", bytes.len() as u64)?;
    // A damaged section must not hide what the others do.
    let mut first_error = None;
    let mut note = |result: BackendResult<()>| {
        if let Err(error) = result {
            first_error.get_or_insert(error);
        }
    };
    if verify_first {
        note(file.verify_all());
    }
    for section in file.sections() {
        let kind = section.state().kind;
        let mut cells = Vec::new();
        note(section.for_each(|found| {
            if cells.len() < 1_000 {
                cells.push(found.entry);
            }
            Ok(())
        }));
        for cell in &cells {
            let map = cell_hash(key_hash(cell.key), cell.namespace);
            let hash = if kind == StateKind::Map {
                map_entry_hash(map, cell.map_key)
            } else {
                map
            };
            section.prefetch(hash);
            section.prefetch_entry(hash);
            note(
                section
                    .find(hash, cell.key, cell.namespace, cell.map_key)
                    .map(|_| ()),
            );
            note(section.map_run(map, cell.key, cell.namespace, |_| Ok(())));
        }
        for hash in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
            note(section.find(hash, b"absent", b"", b"").map(|_| ()));
            note(section.map_run(hash, b"absent", b"", |_| Ok(())));
        }
    }
    match first_error {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Whether the error is one that bytes can cause.
pub(crate) fn is_damage(error: &BackendError) -> bool {
    matches!(
        error.kind(),
        BackendErrorKind::Corrupted | BackendErrorKind::Incompatible
    )
}
