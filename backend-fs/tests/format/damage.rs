//! Every byte flipped, every length cut, and damage behind checksums that are right.

use crate::repair::repair;
use crate::sample::{Model, hash, states};
use crate::touch::{is_damage, touch_everything};
use millpond_backend_api::{BackendErrorKind, BackendResult, KeyGroup, StateKind, key_hash};
use millpond_backend_fs::file::{FileWriter, Found, GroupTotals, Hashes, SnapshotFile, Source};
use std::fs;

/// A file with all kinds, deletions, an empty section and a state without sections.
pub(crate) fn small() -> Model {
    small_with(&[0, 3, 127])
}

fn small_with(groups: &[u16]) -> Model {
    let mut states = states();
    states.push(millpond_backend_api::StateDescriptor::new(
        "unused",
        StateKind::List,
        0,
    ));
    let mut model = Model::new(states);
    for group in groups.iter().copied() {
        for number in 0..3_u8 {
            let value = (number != 1).then(|| vec![number; 8]);
            for state in 0..5 {
                let map_key = if model.kind(state).has_map_keys() {
                    vec![number]
                } else {
                    vec![]
                };
                let key = if state == 2 {
                    b"map".to_vec()
                } else {
                    vec![b'k', number]
                };
                model.set(
                    group,
                    state,
                    (key, vec![b'n'; group.into()], map_key),
                    value.clone(),
                );
            }
        }
    }
    model.sections.insert((5, 1), Default::default());
    model
}

/// Everything in `bytes`, read by every way, after the sweep or without it.
fn read(bytes: &[u8], size: u64, verify_first: bool) -> BackendResult<Model> {
    let file = SnapshotFile::open(Source::Bytes(bytes.to_vec()), "small", size)?;
    if verify_first {
        file.verify_all()?;
    }
    Model::read(&file)
}

#[test]
fn every_flipped_bit_is_noticed_by_the_sweep_and_never_gives_a_wrong_value() {
    let model = small();
    let bytes = model.bytes();
    let size = bytes.len() as u64;
    assert_eq!(read(&bytes, size, true).unwrap(), model);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            let error = read(&damaged, size, true).unwrap_err();
            assert_eq!(error.kind(), BackendErrorKind::Corrupted, "{at}: {error}");
            match read(&damaged, size, false) {
                // The checksum of an empty section's empty table is read by the sweep only, and nothing depends on it.
                Ok(read) => assert_eq!(read, model, "{at}"),
                Err(error) => assert_eq!(error.kind(), BackendErrorKind::Corrupted, "{at}: {error}"),
            }
        }
    }
}

#[test]
fn every_cut_is_noticed_when_the_file_is_opened() {
    let bytes = small().bytes();
    for len in 0..bytes.len() {
        for size in [len, bytes.len()] {
            let error = read(&bytes[..len], size as u64, false).unwrap_err();
            assert_eq!(error.kind(), BackendErrorKind::Corrupted, "{len}: {error}");
        }
    }
    let mut longer = bytes.clone();
    longer.push(0);
    for size in [bytes.len(), longer.len()] {
        let error = read(&longer, size as u64, false).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Corrupted, "{error}");
    }
}

#[test]
fn damage_behind_right_checksums_is_an_error_or_another_state_but_never_a_panic() {
    let bytes = small_with(&[2]).bytes();
    let mut noticed = 0;
    for at in 0..bytes.len() {
        for change in [1, 2, 16, 128, bytes[at] ^ 255, bytes[at]] {
            let mut hostile = bytes.clone();
            hostile[at] ^= change;
            repair(&mut hostile);
            for verify_first in [false, true] {
                if let Err(error) = touch_everything(&hostile, verify_first) {
                    assert!(is_damage(&error), "{at}: {error}");
                    noticed += 1;
                }
            }
        }
    }
    assert!(noticed > bytes.len(), "the checksums hid what was behind them");
}

#[test]
fn repair_leaves_a_right_file_as_it_is_and_rights_a_wrong_checksum() {
    let bytes = small().bytes();
    let mut repaired = bytes.clone();
    repair(&mut repaired);
    assert_eq!(repaired, bytes);
    // A byte of a value, behind the block's, the table's, the directory's and the trailer's checksum.
    let at = bytes.windows(8).position(|window| window == [2; 8]).unwrap();
    repaired[at] = 99;
    let mut wrong = repaired.clone();
    repair(&mut repaired);
    assert!(touch_everything(&repaired, true).is_ok());
    wrong[at] = 99;
    assert!(touch_everything(&wrong, true).is_err());
}

/// A file with one value state in one group, whose three entries lie in the four words of an index.
fn three_entries() -> (Vec<u8>, usize) {
    let state = millpond_backend_api::StateDescriptor::new("s", StateKind::Value, 1);
    let mut writer = FileWriter::new(Vec::new(), &[state]).unwrap();
    writer.begin_section(0, KeyGroup(0), 3).unwrap();
    for number in 0..3_u8 {
        let cell = (vec![number], vec![], vec![]);
        let hash = Hashes::of_cell(0xaaaa << 48 | u64::from(number));
        writer
            .entry(hash, &crate::sample::entry(&cell, &[number]))
            .unwrap();
    }
    writer.end_section(GroupTotals::default()).unwrap();
    // The index follows the header and three entries of kind, two lengths, key and value.
    (writer.finish().unwrap().0, 16 + 3 * 5)
}

fn find_with_word(at: usize, word: u64) -> BackendResult<String> {
    let (mut bytes, index) = three_entries();
    let place = index + at * 8;
    bytes[place..place + 8].copy_from_slice(&word.to_le_bytes());
    repair(&mut bytes);
    let size = bytes.len() as u64;
    let file = SnapshotFile::open(Source::Bytes(bytes), "three", size).unwrap();
    let section = file.section(0, KeyGroup(0)).unwrap();
    let found = section.find(0xaaaa << 48, b"absent", b"", b"")?;
    Ok(format!("{found:?}"))
}

#[test]
fn an_index_without_an_empty_word_ends_the_search() {
    assert_eq!(find_with_word(3, 0).unwrap(), "Absent");
    let error = find_with_word(3, 0xbbbb << 48 | 1).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Corrupted, "{error}");
    assert!(error.message().contains("an index with empty words"), "{error}");
}

#[test]
fn an_index_word_that_leads_nowhere_is_damage() {
    for number in [0, 16, 1 << 40, (1 << 48) - 1] {
        let error = find_with_word(0, 0xaaaa << 48 | number).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Corrupted, "{error}");
        assert!(error.message().contains("the word aaaa"), "{error}");
    }
    // Into the middle of an entry: what stands there is no entry.
    let error = find_with_word(0, 0xaaaa << 48 | 5).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Corrupted, "{error}");
}

#[test]
fn a_block_with_its_checksum_from_elsewhere_is_refused_by_the_tables_checksum() {
    let (mut bytes, index) = three_entries();
    let table = index + 4 * 8;
    bytes[index - 1] = 99;
    let check = crc32fast::hash(&bytes[16..table]);
    bytes[table..table + 4].copy_from_slice(&check.to_le_bytes());
    let size = bytes.len() as u64;
    let file = SnapshotFile::open(Source::Bytes(bytes), "three", size).unwrap();
    let section = file.section(0, KeyGroup(0)).unwrap();
    let error = section.find(0xaaaa << 48, &[0], b"", b"").unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Corrupted, "{error}");
    assert!(error.message().contains(&format!("offset {table}: ")), "{error}");
}

#[test]
fn entries_that_are_not_as_many_as_the_directory_says_are_damage() {
    let (mut bytes, _) = three_entries();
    // State, group, bytes, entries, deleted, maps.
    let record = [0, 0, 15, 3, 0, 0];
    let at = bytes.windows(6).rposition(|window| window == record).unwrap();
    bytes[at + 4] = 1;
    repair(&mut bytes);
    let size = bytes.len() as u64;
    let file = SnapshotFile::open(Source::Bytes(bytes), "three", size).unwrap();
    let section = file.section(0, KeyGroup(0)).unwrap();
    let error = section.for_each(|_| Ok(())).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Corrupted, "{error}");
    assert!(
        error.message().contains("3 entries, 1 of them deleted"),
        "{error}"
    );
}

/// Some 40 blocks in one section.
fn large() -> (Vec<u8>, Model) {
    let mut model = Model::new(vec![millpond_backend_api::StateDescriptor::new(
        "large",
        StateKind::Value,
        0,
    )]);
    for number in 0..2_500_u32 {
        let cell = (number.to_be_bytes().to_vec(), vec![], vec![]);
        model.set(9, 0, cell, Some(vec![7; 1_000]));
    }
    (model.bytes(), model)
}

#[test]
fn one_damaged_block_is_named_and_leaves_the_others_readable() {
    let (mut bytes, model) = large();
    let at = 16 + 5 * (64 << 10) + 100;
    bytes[at] ^= 1;
    let size = bytes.len() as u64;
    let file = SnapshotFile::open(Source::Bytes(bytes), "some/file", size).unwrap();
    let section = file.section(0, KeyGroup(9)).unwrap();
    let (mut good, mut bad) = (0, 0);
    for cell in model.sections[&(9, 0)].keys() {
        match section.find(hash(StateKind::Value, cell), &cell.0, &cell.1, &cell.2) {
            Ok(found) => {
                assert_eq!(found, Found::Value(&[7; 1_000]));
                good += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), BackendErrorKind::Corrupted);
                let place = format!(
                    "snapshot file some/file, section of state \"large\" in key group 9, offset {}: expected CRC32 ",
                    16 + 5 * (64 << 10)
                );
                assert!(error.message().starts_with(&place), "{error}");
                assert!(error.message().contains(" of 65536 bytes, found "), "{error}");
                bad += 1;
            }
        }
    }
    assert!((60..70).contains(&bad) && good + bad == 2_500, "{good} {bad}");
}

#[test]
fn damage_in_any_block_of_an_entry_or_of_its_index_word_is_noticed_at_the_touch() {
    // The lengths of the entry lie in one block, its value in others, and the first word of its index across a border.
    let key = (0_u8..).find(|key| key_hash(&[*key]).is_multiple_of(2)).unwrap();
    for value_len in (0..7).map(|less| 3 * 65_536 - 8 - less) {
        let mut model = Model::new(vec![millpond_backend_api::StateDescriptor::new(
            "s",
            StateKind::List,
            0,
        )]);
        let cell = (vec![key], vec![], vec![]);
        model.set(0, 0, cell.clone(), Some(vec![9; value_len]));
        let bytes = model.bytes();
        let area = value_len + 7 + 2 * 8;
        assert_eq!(
            area.div_ceil(65_536),
            4,
            "the index reaches into a block of its own"
        );
        for at in (0..area).step_by(30_011).chain(area - 24..area) {
            let mut damaged = bytes.clone();
            damaged[16 + at] ^= 4;
            let size = damaged.len() as u64;
            let file = SnapshotFile::open(Source::Bytes(damaged), "f", size).unwrap();
            let section = file.section(0, KeyGroup(0)).unwrap();
            match section.find(hash(StateKind::List, &cell), &cell.0, b"", b"") {
                Ok(_) => panic!("byte {at} of {area} was not missed"),
                Err(error) => assert_eq!(error.kind(), BackendErrorKind::Corrupted, "{error}"),
            }
        }
    }
}

#[test]
fn the_sweep_goes_in_steps_finds_damage_and_can_go_on_behind_it() {
    let (mut bytes, _) = large();
    bytes[16 + 5 * (64 << 10)] ^= 1;
    let size = bytes.len() as u64;
    let file = SnapshotFile::open(Source::Bytes(bytes), "f", size).unwrap();
    let (mut cursor, mut steps, mut errors) = (0, 0, 0);
    loop {
        match file.verify_some(&mut cursor, 128 << 10) {
            Ok(true) => break,
            Ok(false) => steps += 1,
            Err(_) => errors += 1,
        }
    }
    assert_eq!(errors, 1);
    assert!((15..25).contains(&steps), "{steps}");
    // What was verified is not read again: one step is enough to come to the damage again.
    assert!(file.verify_some(&mut 0, 128 << 10).is_err());
}

#[test]
fn a_mapped_file_reads_as_bytes_do_and_its_damage_is_noticed() {
    let model = small();
    let bytes = model.bytes();
    let size = bytes.len() as u64;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, &bytes).unwrap();
    let file = SnapshotFile::open(Source::File(path.clone()), "f", size).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(Model::read(&file).unwrap(), model);
    file.verify_all().unwrap();
    for at in (0..bytes.len()).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        let opened = SnapshotFile::open(Source::File(path.clone()), "f", size);
        let error = opened.and_then(|file| file.verify_all()).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Corrupted, "{at}: {error}");
    }
}

#[test]
fn a_file_that_is_cut_behind_the_readers_back_is_damaged_where_it_was_not_read_yet() {
    let (bytes, _) = large();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, &bytes).unwrap();
    let file = SnapshotFile::open(Source::File(path.clone()), "f", bytes.len() as u64).unwrap();
    let writing = fs::File::options().write(true).open(&path).unwrap();
    writing.set_len(1_000).unwrap();
    let section = file.section(0, KeyGroup(9)).unwrap();
    let error = section.find(key_hash(b"k"), b"k", b"", b"").unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Corrupted, "{error}");
    assert!(error.message().contains("found the end of the file"), "{error}");
}

#[test]
fn a_missing_file_and_an_empty_one_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let error = SnapshotFile::open(Source::File(path.clone()), "f", 100).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Io, "{error}");
    fs::write(&path, b"").unwrap();
    for size in [0, 100] {
        let error = SnapshotFile::open(Source::File(path.clone()), "f", size).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Corrupted, "{error}");
    }
}
