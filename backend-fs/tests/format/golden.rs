//! Files of every version of the format, committed: each must be read by every later version, and the current version must still be
//! written the same way. A file that is missing is written by the test, which then fails so that it gets committed.

use crate::compressed::{compressed, expanded};
use crate::sample::Model;
use millpond_backend_api::{StateDescriptor, StateKind};
use millpond_backend_fs::file::{SnapshotFile, Source, VERSION_CURRENT};
use std::fs;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/format/golden")
}

/// The bytes of a golden file; `now` is what is written today.
fn golden(name: &str, now: &[u8]) -> Vec<u8> {
    let path = folder().join(name);
    match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(_) => {
            fs::write(&path, now).unwrap();
            panic!("{} was missing; it is there now, to be committed", path.display());
        }
    }
}

/// A state of one kind in three groups: plain and namespaced cells, deletions, an empty section.
fn model_of(kind: StateKind, width: u32) -> Model {
    let mut state = StateDescriptor::new(kind.name(), kind, width);
    state.codec = vec![1, 2, 3].into();
    let mut model = Model::new(vec![StateDescriptor::new("none", StateKind::Value, 0), state]);
    for group in [0_u16, 7, 4_000] {
        for number in 0..12_u8 {
            let key = format!("key {}", number / 4).into_bytes();
            let namespace = if number % 2 == 0 {
                vec![]
            } else {
                b"window".to_vec()
            };
            let map_key = if kind.has_map_keys() {
                vec![number; 2]
            } else {
                vec![]
            };
            let len = if width > 0 { width } else { u32::from(number) * 3 };
            let value = vec![number; usize::try_from(len).unwrap()];
            let value = (number % 5 != 3).then_some(value);
            model.set(group, 1, (key, namespace, map_key), value);
        }
    }
    if kind == StateKind::List {
        // More than a block.
        model.set(
            7,
            1,
            (b"long".to_vec(), vec![], vec![]),
            Some(b"0123456789".repeat(7_000)),
        );
    }
    model.sections.insert((9, 1), Default::default());
    model
}

fn models() -> [(&'static str, Model); 5] {
    [
        ("v1-value.bin", model_of(StateKind::Value, 0)),
        ("v1-fixed-width-value.bin", model_of(StateKind::Value, 12)),
        ("v1-list.bin", model_of(StateKind::List, 0)),
        ("v1-map.bin", model_of(StateKind::Map, 0)),
        ("v1-sorted-map.bin", model_of(StateKind::SortedMap, 0)),
    ]
}

fn read(bytes: Vec<u8>) -> Model {
    let size = bytes.len() as u64;
    let file = SnapshotFile::open(Source::Bytes(bytes), "golden", size).unwrap();
    file.verify_all().unwrap();
    for section in file.sections() {
        let (group, state) = (section.group().0, section.state_index());
        // The three groups and the empty section.
        assert_eq!(section.totals().cells, u64::from(group) * 100 + u64::from(state));
        assert_eq!(section.totals().encoded_bytes, 4);
    }
    Model::read(&file).unwrap()
}

#[test]
fn files_of_version_1_are_read() {
    for (name, model) in models() {
        assert_eq!(read(golden(name, &model.bytes())), model, "{name}");
    }
}

#[test]
fn the_current_version_is_written_as_it_was_committed() {
    assert_eq!(
        VERSION_CURRENT, 1,
        "a new version needs golden files of its own, and these stay"
    );
    for (name, model) in models() {
        let bytes = model.bytes();
        assert!(
            golden(name, &bytes) == bytes,
            "{name} is not what is written today"
        );
    }
}

#[test]
fn a_compressed_file_of_version_1_is_expanded() {
    let model = model_of(StateKind::List, 0);
    let plain = model.bytes();
    let bytes = golden("v1-list-lz4.bin", &compressed(&plain).0);
    assert!(bytes.len() * 5 < plain.len());
    assert_eq!(read(expanded(&bytes, plain.len() as u64).unwrap()), model);
}
