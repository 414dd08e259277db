//! Snapshots whose bytes have changed on the disk.

use super::faults::read_all;
use super::prelude::*;

/// A snapshot of a few cells of every kind.
fn small_snapshot(suite: &Suite) -> (Storage, Vec<SnapshotHandle>, Model) {
    let storage = suite.storage();
    let mut model = one_state_of_each_kind();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let ids = model.register(&mut opened);
    fill(&mut opened, &mut model, &ids, &mut suite.random(), 3, 8);
    let handles = opened.snapshot(&storage);
    opened.close();
    (storage, handles, model)
}

/// The positions to try in `len` bytes: all of a small file; of a large one, start, end and as many in between as time allows.
fn positions(len: usize, random: &mut Random) -> Vec<usize> {
    const TRIED_MAX: usize = 2000;
    if len <= TRIED_MAX {
        return (0..len).collect();
    }
    let ends = TRIED_MAX / 4;
    let mut positions: Vec<usize> = (0..ends).chain(len - ends..len).collect();
    positions.extend((0..TRIED_MAX / 2).map(|_| random.below(len)));
    positions
}

pub(crate) fn a_flipped_byte_anywhere_is_found(suite: &Suite) {
    let (storage, handles, model) = small_snapshot(suite);
    let mut random = suite.random();
    for file in handles.iter().flat_map(|handle| handle.files.iter()) {
        let whole = storage.bytes(file);
        for position in positions(whole.len(), &mut random) {
            let mut damaged = whole.clone();
            damaged[position] ^= 1 << random.below(8);
            storage.replace(file, damaged);
            // A byte that carries nothing may change without notice; what is read must be right.
            if let Err(error) = read_all(suite, storage.files(), &handles, &model) {
                assert_eq!(
                    error.kind(),
                    BackendErrorKind::Corrupted,
                    "byte {position} flipped: {error}"
                );
            }
        }
        storage.replace(file, whole);
    }
    read_all(suite, storage.files(), &handles, &model).unwrap();
}

pub(crate) fn a_file_cut_short_or_too_long_is_found(suite: &Suite) {
    let (storage, handles, model) = small_snapshot(suite);
    let mut random = suite.random();
    for file in handles.iter().flat_map(|handle| handle.files.iter()) {
        let whole = storage.bytes(file);
        for len in positions(whole.len(), &mut random) {
            storage.replace(file, whole[..len].to_vec());
            let error = read_all(suite, storage.files(), &handles, &model)
                .expect_err("a file that is cut short was restored");
            assert!(
                matches!(error.kind(), BackendErrorKind::Corrupted | BackendErrorKind::Io),
                "cut to {len} bytes: {error:?}"
            );
        }
        storage.replace(file, [&whole[..], &[0; 100]].concat());
        if let Err(error) = read_all(suite, storage.files(), &handles, &model) {
            assert_eq!(error.kind(), BackendErrorKind::Corrupted, "{error}");
        }
        storage.replace(file, whole);
    }
}

pub(crate) fn bytes_with_a_right_checksum_but_made_up_never_make_a_panic(suite: &Suite) {
    let (storage, handles, _) = small_snapshot(suite);
    let mut random = suite.random();
    for (number, handle) in handles.iter().enumerate() {
        for (at, file) in handle.files.iter().enumerate() {
            let whole = storage.bytes(file);
            for position in positions(whole.len(), &mut random) {
                let mut made_up = whole.clone();
                match random.below(4) {
                    0 => made_up.truncate(position),
                    1 => made_up[position] = 0xff,
                    2 => made_up[position] ^= 1 << random.below(8),
                    _ => {
                        let end = made_up.len().min(position + 8);
                        made_up[position..end].fill(0xff);
                    }
                }
                let mut changed = handles.clone();
                let named = &mut changed[number].files[at];
                named.size = made_up.len() as u64;
                named.crc32 = crc32fast::hash(&made_up);
                storage.replace(file, made_up);
                never_panics(suite, &storage, &changed);
            }
            storage.replace(file, whole);
        }
    }
}

pub(crate) fn a_payload_with_changed_bytes_never_makes_a_panic(suite: &Suite) {
    let (storage, handles, _) = small_snapshot(suite);
    let mut random = suite.random();
    for (number, handle) in handles.iter().enumerate() {
        for position in positions(handle.payload.len(), &mut random) {
            let mut changed = handles.clone();
            let payload = &mut changed[number].payload;
            match random.below(3) {
                0 => payload.truncate(position),
                1 => payload[position] = 0xff,
                _ => payload[position] ^= 1 << random.below(8),
            }
            never_panics(suite, &storage, &changed);
        }
    }
}

/// Restores and reads whatever there is; errors and wrong data are both fine, since nothing tells them from right data.
#[track_caller]
pub(super) fn never_panics(suite: &Suite, storage: &Storage, handles: &[SnapshotHandle]) {
    let folder = suite.new_folder("made-up");
    let calm = |error: crate::BackendError| {
        assert_ne!(error.kind(), BackendErrorKind::Panicked, "{error}");
    };
    match suite.try_restored(storage.files(), Shape::ALONE, handles, &folder) {
        Err(error) => calm(error),
        Ok(mut opened) => {
            let described = opened.object().states().into_result();
            for descriptor in described.map_err(calm).unwrap_or_default() {
                let Ok(id) = opened.object().register(&descriptor).into_result().map_err(calm) else {
                    continue;
                };
                for group in opened.range().iter().collect::<Vec<_>>() {
                    if let Err(error) = opened.try_visit(id, group) {
                        calm(error);
                    }
                }
            }
            opened.close();
        }
    }
}
