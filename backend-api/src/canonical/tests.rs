//! Writer and reader together, over the contract suite's storage; and the bytes as they were fixed.

use super::*;
use crate::contract::{Faults, Random, Storage};
use crate::*;
use std::collections::BTreeMap;

type Cells = BTreeMap<(usize, u16, Vec<u8>), Vec<u8>>;

const RANGE: KeyGroupRange = KeyGroupRange {
    first: KeyGroup(2),
    last: KeyGroup(9),
};

fn states() -> Vec<StateDescriptor> {
    let mut count = StateDescriptor::new("count", StateKind::Value, 4);
    count.codec = vec![7, 8].into();
    vec![
        count,
        StateDescriptor::new("empty", StateKind::List, 0),
        StateDescriptor::new("map", StateKind::Map, 0),
    ]
}

fn entry<'a>(state: usize, key: &'a [u8], value: &'a [u8]) -> Entry<'a> {
    Entry {
        key,
        namespace: b"n",
        map_key: if state == 2 { key } else { b"" },
        value,
    }
}

fn streams(storage: &Storage) -> SnapshotStreams {
    storage.attempt(1, Faults::default()).1
}

/// Writes `cells`, with sections that end at `section_bytes`.
fn write(storage: &Storage, cells: &Cells, section_bytes: u64) -> SnapshotHandle {
    let streams = streams(storage);
    let mut writer = CanonicalWriter::new(&streams, RANGE, states()).with_sections_of(section_bytes);
    for group in RANGE.iter() {
        for state in 0..3 {
            writer.begin(state, group).unwrap();
            let own = cells
                .iter()
                .filter(|((of, at, _), _)| (*of, *at) == (state, group.0));
            let mut expected = Totals::default();
            for ((_, _, key), value) in own {
                let entry = entry(state, key, value);
                writer.entry(&entry).unwrap();
                expected.entries += 1;
                let shape = EntryShape::of(&states()[state]);
                expected.bytes += shape.encoded_bytes(key.len(), 1, entry.map_key.len(), value.len());
            }
            assert_eq!(writer.end().unwrap(), expected);
        }
    }
    let mut handles = writer.finish().unwrap();
    assert_eq!(handles.len(), 1);
    handles.remove(0)
}

/// What of a snapshot lies in `range`, and in how many sections.
fn read(storage: &Storage, handle: &SnapshotHandle, range: KeyGroupRange) -> BackendResult<(Cells, usize)> {
    let files = storage.files();
    let mut reader = CanonicalReader::open(handle, range, &files)?;
    assert_eq!(reader.states(), states());
    let (mut cells, mut sections) = (Cells::new(), 0);
    while let Some(section) = reader.next_section()? {
        sections += 1;
        assert_eq!(section.entries().count() as u64, section.entry_count());
        for found in section.entries() {
            assert_eq!(found, entry(section.state(), found.key, found.value));
            let address = (section.state(), section.group().0, found.key.to_vec());
            assert_eq!(cells.insert(address, found.value.to_vec()), None);
        }
    }
    Ok((cells, sections))
}

fn some_cells() -> Cells {
    let mut random = Random::new(1);
    let mut cells = Cells::new();
    for number in 0..600_u32 {
        let state = if number % 2 == 0 { 0 } else { 2 };
        let group = u16::try_from(2 + number % 7).unwrap();
        let len = if state == 0 { 4 } else { random.below(200) };
        cells.insert((state, group, number.to_le_bytes().to_vec()), random.bytes(len));
    }
    cells
}

#[test]
fn what_was_written_is_read_in_as_many_sections_as_its_length_asks_for() {
    let storage = Storage::new(None);
    let cells = some_cells();
    let whole = write(&storage, &cells, u64::MAX);
    assert_eq!(read(&storage, &whole, RANGE).unwrap(), (cells.clone(), 14));
    let cut = write(&storage, &cells, 1000);
    let (found, sections) = read(&storage, &cut, RANGE).unwrap();
    assert!(found == cells && sections > 20, "{sections}");
    let alone = write(&storage, &cells, 1);
    assert_eq!(
        read(&storage, &alone, RANGE).unwrap(),
        (cells.clone(), cells.len())
    );
    let part = KeyGroupRange::new(4, 5).unwrap();
    let mut of_part = cells;
    of_part.retain(|(_, group, _), _| part.contains(KeyGroup(*group)));
    assert_eq!(read(&storage, &cut, part).unwrap().0, of_part);
}

#[test]
fn a_snapshot_without_entries_has_no_file_and_one_without_states_no_handle() {
    let storage = Storage::new(None);
    let handle = write(&storage, &Cells::new(), 1000);
    assert!(handle.files.is_empty() && storage.file_count() == 0);
    assert_eq!(read(&storage, &handle, RANGE).unwrap(), (Cells::new(), 0));
    let streams = streams(&storage);
    let writer = CanonicalWriter::new(&streams, RANGE, Vec::new());
    assert!(writer.finish().unwrap().is_empty());
}

#[test]
fn a_large_entry_and_an_empty_one_are_kept() {
    let storage = Storage::new(None);
    let mut cells = Cells::new();
    cells.insert((2, 3, Vec::new()), Vec::new());
    cells.insert((2, 3, vec![1]), vec![9; 3 << 20]);
    cells.insert((2, 3, vec![2]), vec![1]);
    let handle = write(&storage, &cells, 1 << 20);
    assert_eq!(read(&storage, &handle, RANGE).unwrap(), (cells, 2));
}

#[test]
fn every_flipped_byte_of_file_and_description_is_found_and_the_files_are_named() {
    let storage = Storage::new(None);
    let mut cells = some_cells();
    cells.retain(|(_, group, key), _| *group < 5 && key[1] == 0 && key[0] < 60);
    let handle = write(&storage, &cells, 100);
    let file = handle.files[0].clone();
    let whole = storage.bytes(&file);
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        storage.replace(&file, damaged);
        let error = read(&storage, &handle, RANGE).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Corrupted);
        for part in [file.token.as_str(), "offset", "expected", "found"] {
            assert!(error.message().contains(part), "{error}");
        }
    }
    storage.replace(&file, whole);
    for at in 0..handle.payload.len() {
        let mut damaged = handle.clone();
        damaged.payload[at] ^= 1 << (at % 8);
        let error = read(&storage, &damaged, RANGE).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Corrupted);
    }
    assert_eq!(read(&storage, &handle, RANGE).unwrap().0, cells);
}

#[test]
fn a_description_of_another_file_or_range_is_refused() {
    let storage = Storage::new(None);
    let handle = write(&storage, &some_cells(), 1000);
    let mut changed = [(); 5].map(|()| handle.clone());
    changed[0].files[0].size += 1;
    changed[1].files.clear();
    changed[2].files.push(handle.files[0].clone());
    changed[3].key_groups = KeyGroupRange::new(3, 9).unwrap();
    changed[4].format = "millpond-canonical/9".into();
    let kinds = changed.map(|handle| read(&storage, &handle, RANGE).unwrap_err().kind());
    let (damaged, unknown) = (BackendErrorKind::Corrupted, BackendErrorKind::Incompatible);
    assert_eq!(kinds, [damaged, damaged, damaged, damaged, unknown]);
}

#[test]
fn what_comes_out_of_order_is_refused() {
    let storage = Storage::new(None);
    let streams = streams(&storage);
    let mut writer = CanonicalWriter::new(&streams, RANGE, states());
    let one = entry(0, b"k", b"1234");
    let mut refused = vec![
        writer.entry(&one),
        writer.end().map(drop),
        writer.begin(0, KeyGroup(1)),
        writer.begin(3, KeyGroup(4)),
    ];
    writer.begin(0, KeyGroup(4)).unwrap();
    refused.push(writer.entry(&entry(0, b"k", b"123")));
    refused.push(writer.begin(1, KeyGroup(4)));
    writer.entry(&one).unwrap();
    writer.end().unwrap();
    refused.push(writer.begin(0, KeyGroup(4)));
    refused.push(writer.begin(2, KeyGroup(3)));
    writer.begin(2, KeyGroup(4)).unwrap();
    refused.push(writer.finish().map(drop));
    for result in refused {
        assert_eq!(result.unwrap_err().kind(), BackendErrorKind::Misuse);
    }
    assert_eq!((storage.open_streams(), storage.file_count()), (0, 0));
}

#[test]
fn sizes_are_announced_and_the_largest_state_is_named() {
    let storage = Storage::new(None);
    let faults = Faults {
        file_bytes_max: Some(100),
        ..Faults::default()
    };
    let streams = storage.attempt(1, faults).1;
    let writer = || CanonicalWriter::new(&streams, RANGE, states());
    for mut writer in [
        writer().with_exact_sizes(vec![50, 0, 43]),
        writer().with_rough_sizes(vec![200, 0, 100]),
    ] {
        writer.begin(2, KeyGroup(4)).unwrap();
        let large = [0; 100];
        let written = writer.entry(&entry(2, b"k", &large)).and_then(|()| writer.end());
        let error = written.unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::TooLarge);
        assert!(error.message().contains("count"), "{error}");
    }
}

/// Written by the first version of the format: whatever reads it must go on reading these bytes.
const GOLDEN_FILE: [&[u8]; 4] = [
    b"mpcanon\x01\x01\x01an1234",
    b"\x03\x01\x03\x82\x01keynkey",
    &[1; 130],
    b"\x00\x01n5678",
];
const GOLDEN_PAYLOAD: &[u8] = b"\x03\x05count\x00\x04\x02\x07\x08\x05empty\x01\x00\x00\x03map\x02\x00\x00\
    \x03\x00\x02\x08\x08\x01/\xfe\xf2P\x02\x02\x10\x8e\x01\x01\x8fh\xd8\x93\x00\t\x9e\x01\x07\x01\xecL$/\x04\xf6\xf3Z";

#[test]
fn the_bytes_are_those_of_the_first_version() {
    let storage = Storage::new(None);
    let mut cells = Cells::new();
    cells.insert((0, 2, b"a".to_vec()), b"1234".to_vec());
    cells.insert((0, 9, b"".to_vec()), b"5678".to_vec());
    cells.insert((2, 2, b"key".to_vec()), vec![1; 130]);
    let handle = write(&storage, &cells, 1000);
    let written = storage.bytes(&handle.files[0]);
    assert_eq!(
        written.escape_ascii().to_string(),
        GOLDEN_FILE.concat().escape_ascii().to_string()
    );
    let payload = handle.payload.escape_ascii().to_string();
    assert_eq!(payload, GOLDEN_PAYLOAD.escape_ascii().to_string());
    assert_eq!(read(&storage, &handle, RANGE).unwrap(), (cells, 3));
}
