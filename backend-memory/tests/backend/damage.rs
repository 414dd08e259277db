//! Damaged snapshots: an error that says where, never a panic.

use crate::support::{Storage, all_groups, cell, content, open, register, snapshot};
use millpond_backend_api::{BackendErrorKind, KeyedState, SnapshotHandle, StateKind};
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::{prop_assert, proptest};

fn sample(storage: &Storage) -> Vec<SnapshotHandle> {
    let mut keyed = open(all_groups(), &[], storage).unwrap();
    let count = register(&mut keyed, "count", StateKind::Value, 8);
    let map = register(&mut keyed, "map", StateKind::Map, 0);
    for number in 0..20_u64 {
        let key = number.to_le_bytes();
        keyed.put(count, &cell(&key), &key).unwrap();
        let at = cell(&key).with_map_key(b"mk");
        keyed.put(map, &at, b"value").unwrap();
    }
    snapshot(&mut keyed, storage)
}

#[test]
fn every_flipped_byte_of_the_file_is_found_and_named() {
    let storage = Storage::default();
    let handles = sample(&storage);
    let file = handles[0].files[0].clone();
    for at in 0..usize::try_from(file.size).unwrap() {
        storage.change(&file.token, |bytes| bytes[at] ^= 0x10);
        let error = open(all_groups(), &handles, &storage).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Corrupted);
        for part in [file.token.as_str(), "offset", "expected", "found"] {
            assert!(error.message().contains(part), "{error}");
        }
        storage.change(&file.token, |bytes| bytes[at] ^= 0x10);
    }
    assert!(open(all_groups(), &handles, &storage).is_ok());
}

#[test]
fn a_cut_file_and_a_foreign_format_are_refused() {
    let storage = Storage::default();
    let mut handles = sample(&storage);
    let file = handles[0].files[0].clone();
    storage.change(&file.token, |bytes| {
        bytes.pop();
    });
    let error = open(all_groups(), &handles, &storage).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Corrupted);
    assert!(error.message().contains("end of the file"), "{error}");
    handles[0].format = "acme/7".into();
    let error = open(all_groups(), &handles, &storage).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Incompatible);
    assert!(error.message().contains("acme/7"), "{error}");
}

proptest! {
    #[test]
    fn no_bytes_of_file_and_payload_lead_to_a_panic(
        change in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        in_file in any::<bool>(),
        right_checksum in any::<bool>(),
    ) {
        let storage = Storage::default();
        let mut handles = sample(&storage);
        let file = handles[0].files[0].clone();
        if in_file {
            storage.change(&file.token, |bytes| {
                for (at, byte) in &change {
                    let at = at.index(bytes.len());
                    bytes[at] = *byte;
                }
            });
        } else {
            let mut payload = handles[0].payload.to_vec();
            let body = payload.len() - 4;
            for (at, byte) in &change {
                payload[at.index(body)] = *byte;
            }
            if right_checksum {
                let crc32 = crc32fast::hash(&payload[..body]);
                payload[body..].copy_from_slice(&crc32.to_le_bytes());
            }
            handles[0].payload = payload.into();
        }
        match open(all_groups(), &handles, &storage) {
            Ok(mut keyed) => {
                if let Ok(state) = keyed.register(&millpond_backend_api::StateDescriptor::new("count", StateKind::Value, 8)) {
                    content(&mut keyed, state, all_groups());
                }
            }
            Err(error) => prop_assert!(!error.message().is_empty()),
        }
    }
}
