//! What is at the borders: of an index, of a block, of the writer's buffer, of its rules.

use crate::sample::{Model, entry, states};
use millpond_backend_api::{BackendErrorKind, KeyGroup, StateDescriptor, StateKind};
use millpond_backend_fs::file::{FileWriter, Found, GroupTotals, Hashes, SnapshotFile, Source};
use std::sync::Arc;

fn open(bytes: Vec<u8>) -> Arc<SnapshotFile> {
    let size = bytes.len() as u64;
    SnapshotFile::open(Source::Bytes(bytes), "edges", size).unwrap()
}

/// A file of one state with a cell for each of `hashes`, its key and value the cell's number.
fn with_hashes(hashes: &[u64]) -> Arc<SnapshotFile> {
    let mut writer = FileWriter::new(Vec::new(), &[StateDescriptor::new("s", StateKind::Value, 4)]).unwrap();
    writer.begin_section(0, KeyGroup(0), 0).unwrap();
    for (number, hash) in (0_u32..).zip(hashes) {
        let cell = (number.to_le_bytes().to_vec(), vec![], vec![]);
        writer
            .entry(Hashes::of_cell(*hash), &entry(&cell, &number.to_le_bytes()))
            .unwrap();
    }
    writer.end_section(GroupTotals::default()).unwrap();
    open(writer.finish().unwrap().0)
}

fn all_are_found(hashes: &[u64]) {
    let file = with_hashes(hashes);
    let section = file.section(0, KeyGroup(0)).unwrap();
    for (number, hash) in (0_u32..).zip(hashes) {
        let key = number.to_le_bytes();
        assert_eq!(section.find(*hash, &key, b"", b"").unwrap(), Found::Value(&key));
        assert_eq!(section.find(*hash, b"other", b"", b"").unwrap(), Found::Absent);
        assert_eq!(
            section.find(*hash, &key, b"namespace", b"").unwrap(),
            Found::Absent
        );
    }
    for hash in 0..200 {
        assert_eq!(
            section.find(hash << 40, b"other", b"", b"").unwrap(),
            Found::Absent
        );
    }
}

#[test]
fn entries_whose_hashes_collide_are_told_apart_by_their_keys() {
    all_are_found(&[0xdead_beef_dead_beef; 300]);
    // The same home and tag, other bits between.
    let hashes: Vec<u64> = (0..300).map(|number| 0xdead << 48 | number << 20 | 5).collect();
    all_are_found(&hashes);
    // The same home, other tags.
    let hashes: Vec<u64> = (0..300).map(|number| number << 48 | 5).collect();
    all_are_found(&hashes);
}

#[test]
fn a_full_index_is_searched_to_its_end_and_around() {
    for entries in [1_usize, 2, 3, 6, 12, 24, 48, 96, 192, 384] {
        // All from the last word on, so that probing wraps around.
        all_are_found(&vec![u64::MAX; entries]);
        let spread: Vec<u64> = (0..entries as u64)
            .map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .collect();
        all_are_found(&spread);
    }
}

#[test]
fn an_empty_file_and_empty_sections_read_back() {
    for states in [Vec::new(), states()] {
        let model = Model::new(states);
        assert_eq!(Model::read(&open(model.bytes())).unwrap(), model);
    }
    let mut model = Model::new(states());
    for state in 0..5 {
        model.sections.insert((1, state), Default::default());
    }
    let file = open(model.bytes());
    assert_eq!(Model::read(&file).unwrap(), model);
    file.verify_all().unwrap();
    for section in file.sections() {
        assert_eq!(section.find(7, b"k", b"", b"").unwrap(), Found::Absent);
        assert_eq!(section.entries(), 0);
        section.prefetch(7);
        section.prefetch_entry(7);
    }
    assert!(file.section(5, KeyGroup(1)).is_none());
    assert!(file.section(0, KeyGroup(0)).is_none());
    assert_eq!((file.state("count"), file.state("unknown")), (Some(4), None));
}

#[test]
fn parts_larger_than_a_block_and_than_the_buffer_read_back() {
    let mut model = Model::new(states());
    for (number, len) in [65_535, 65_536, 65_537, 262_144, 600_000, 1 << 20, 3_500_000]
        .into_iter()
        .enumerate()
    {
        let number = u8::try_from(number).unwrap();
        let large = vec![number; len];
        let small = vec![number];
        model.set(0, 0, (large.clone(), vec![], vec![]), Some(small.clone()));
        model.set(0, 1, (small.clone(), large.clone(), vec![]), Some(large.clone()));
        model.set(0, 2, (small.clone(), vec![], large.clone()), Some(large.clone()));
        model.set(0, 3, (large.clone(), vec![], small.clone()), None);
        model.set(0, 4, (large, vec![], vec![]), Some(vec![number; 8]));
    }
    let file = open(model.bytes());
    file.verify_all().unwrap();
    assert_eq!(Model::read(&file).unwrap(), model);
}

#[test]
fn entries_and_index_words_may_lie_across_blocks() {
    // Entries of every length about the border: the first's length moves all others.
    for first in 65_450..65_560 {
        let mut model = Model::new(vec![StateDescriptor::new("s", StateKind::List, 0)]);
        model.set(0, 0, (vec![0], vec![], vec![]), Some(vec![1; first]));
        for number in 1..20 {
            model.set(0, 0, (vec![number], vec![], vec![]), Some(vec![number; 5]));
        }
        assert_eq!(Model::read(&open(model.bytes())).unwrap(), model);
    }
}

#[test]
fn threads_may_verify_and_read_one_file_at_once() {
    let mut model = Model::new(states());
    for number in 0..3_000_u16 {
        let key = number.to_be_bytes().to_vec();
        model.set(number % 3, 1, (key, vec![], vec![]), Some(vec![1; 500]));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, model.bytes()).unwrap();
    let size = std::fs::metadata(&path).unwrap().len();
    let file = SnapshotFile::open(Source::File(path), "edges", size).unwrap();
    std::thread::scope(|threads| {
        threads.spawn(|| file.verify_all().unwrap());
        for _ in 0..3 {
            threads.spawn(|| assert_eq!(Model::read(&file).unwrap(), model));
        }
    });
}

#[test]
fn the_writer_refuses_what_no_reader_could_make_sense_of() {
    let states = states();
    let new = || FileWriter::new(Vec::new(), &states).unwrap();
    let cell = (b"k".to_vec(), vec![], vec![]);
    let is_misuse = |result: Result<(), millpond_backend_api::BackendError>| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Misuse, "{error}");
    };
    is_misuse(new().entry(Hashes::none(), &entry(&cell, b"v")));
    is_misuse(new().end_section(GroupTotals::default()));
    is_misuse(new().begin_section(5, KeyGroup(0), 0));
    let mut writer = new();
    writer.begin_section(1, KeyGroup(3), 0).unwrap();
    is_misuse(writer.begin_section(2, KeyGroup(3), 0));
    writer.end_section(GroupTotals::default()).unwrap();
    is_misuse(writer.begin_section(1, KeyGroup(3), 0));
    is_misuse(writer.begin_section(4, KeyGroup(2), 0));
    writer.begin_section(0, KeyGroup(4), 0).unwrap();
    is_misuse(writer.finish().map(|_| ()));
    let mut writer = new();
    writer.begin_section(4, KeyGroup(0), 0).unwrap();
    is_misuse(writer.entry(Hashes::of_cell(0), &entry(&cell, b"not eight")));
    let mut writer = new();
    writer.begin_section(3, KeyGroup(0), 0).unwrap();
    writer.entry(Hashes::none(), &entry(&cell, b"v")).unwrap();
    is_misuse(writer.entry(Hashes::none(), &entry(&cell, b"v")));
    let twice = [states[0].clone(), states[0].clone()];
    is_misuse(FileWriter::new(Vec::new(), &twice).map(|_| ()));
    let wide = [StateDescriptor::new("s", StateKind::List, 8)];
    is_misuse(FileWriter::new(Vec::new(), &wide).map(|_| ()));
}
