//! Random files against a plain map.

use crate::sample::{Address, Model, hash, states};
use millpond_backend_api::canonical::EntryShape;
use millpond_backend_api::{KeyGroup, StateKind};
use millpond_backend_fs::file::{Found, SectionSize, SnapshotFile, Source, file_bytes};
use millpond_backend_memory::table::cell_hash;
use proptest::prelude::*;

fn part(len: usize) -> impl Strategy<Value = Vec<u8>> {
    // Few different bytes, so that parts repeat and begin alike.
    proptest::collection::vec(0_u8..3, 0..=len)
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => (0_usize..3_000, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
        1 => (65_000_usize..70_000, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ]
}

prop_compose! {
    fn model()(
        cells in proptest::collection::vec(
            (0_u16..4, 0_u32..5, (part(5), part(2), part(4)), proptest::option::weighted(0.8, value())),
            0..200,
        ),
    ) -> Model {
        let mut model = Model::new(states());
        for (group, state, mut cell, mut value) in cells {
            if !model.kind(state).has_map_keys() {
                cell.2.clear();
            }
            if model.states[state as usize].value_width > 0 && let Some(value) = &mut value {
                value.resize(8, 1);
            }
            model.set(group, state, cell, value);
        }
        model
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_is_written_reads_back_by_every_way(model in model()) {
        let (bytes, figures) = model.write(Vec::new()).unwrap();
        prop_assert_eq!(bytes.len() as u64, figures.bytes);
        let file = SnapshotFile::open(Source::Bytes(bytes), "model", figures.bytes).unwrap();
        prop_assert_eq!(file.directory_crc32(), figures.directory_crc32);
        prop_assert_eq!(&Model::read(&file).unwrap(), &model);
        for section in file.sections() {
            let (group, state) = (section.group().0, section.state_index());
            prop_assert_eq!(section.totals(), model.totals(group, state));
            let cells = &model.sections[&(group, state)];
            prop_assert_eq!(section.entries(), cells.len() as u64);
            prop_assert_eq!(section.deleted(), cells.values().filter(|value| value.is_none()).count() as u64);
        }
        file.verify_all().unwrap();
    }

    #[test]
    fn a_cell_that_was_not_written_is_absent(model in model(), cell in (part(5), part(2), part(4))) {
        let bytes = model.bytes();
        let size = bytes.len() as u64;
        let file = SnapshotFile::open(Source::Bytes(bytes), "model", size).unwrap();
        for section in file.sections() {
            let (group, state) = (section.group().0, section.state_index());
            let kind = model.kind(state);
            let cell: Address = if kind.has_map_keys() { cell.clone() } else { (cell.0.clone(), cell.1.clone(), Vec::new()) };
            let found = section.find(hash(kind, &cell), &cell.0, &cell.1, &cell.2).unwrap();
            prop_assert_eq!(found == Found::Absent, !model.sections[&(group, state)].contains_key(&cell));
        }
    }

    #[test]
    fn a_files_length_is_known_ahead(model in model()) {
        let mut model = model;
        for cells in model.sections.values_mut() {
            cells.retain(|_, value| value.is_some());
        }
        let sizes: Vec<SectionSize> = model.sections.iter().map(|((group, state), cells)| {
            let shape = EntryShape::of(&model.states[*state as usize]);
            let bytes = |(cell, value): (&Address, &Option<Vec<u8>>)| {
                shape.encoded_bytes(cell.0.len(), cell.1.len(), cell.2.len(), value.as_ref().unwrap().len())
            };
            let mut maps: Vec<_> = cells.keys().map(|cell| (&cell.0, &cell.1)).collect();
            maps.dedup();
            SectionSize {
                state: *state,
                group: KeyGroup(*group),
                cells: cells.len() as u64,
                encoded_bytes: cells.iter().map(bytes).sum(),
                maps: maps.len() as u64,
            }
        }).collect();
        let mut writer = millpond_backend_fs::file::FileWriter::new(Vec::new(), &model.states).unwrap();
        for (((_, state), cells), size) in model.sections.iter().zip(&sizes) {
            writer.begin_section(*state, size.group, size.cells).unwrap();
            for (cell, value) in cells {
                let hashes = crate::sample::hashes(model.kind(*state), cell);
                writer.entry(hashes, &crate::sample::entry(cell, value.as_ref().unwrap())).unwrap();
            }
            let (cells, encoded_bytes) = (size.cells, size.encoded_bytes);
            writer.end_section(millpond_backend_fs::file::GroupTotals { cells, encoded_bytes }).unwrap();
        }
        let (bytes, _) = writer.finish().unwrap();
        prop_assert_eq!(bytes.len() as u64, file_bytes(&model.states, sizes.into_iter()));
    }
}

#[test]
fn a_map_that_was_not_written_has_no_run() {
    let mut model = Model::new(states());
    for key in 0..50_u8 {
        model.set(1, 2, (vec![key], vec![], vec![1]), Some(vec![key]));
    }
    let bytes = model.bytes();
    let size = bytes.len() as u64;
    let file = SnapshotFile::open(Source::Bytes(bytes), "model", size).unwrap();
    let section = file.section(2, KeyGroup(1)).unwrap();
    assert_eq!((section.state().kind, section.maps()), (StateKind::Map, 50));
    for key in 50..=255 {
        let map = cell_hash(millpond_backend_api::key_hash(&[key]), &[]);
        let run = section.map_run(map, &[key], &[], |found| panic!("{found:?}"));
        run.unwrap();
    }
}
