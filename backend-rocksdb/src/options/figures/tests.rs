use super::*;
use crate::options::{Memory, Options};
use std::collections::{BTreeMap, BTreeSet};

fn config(pairs: &[(&str, &str)]) -> BackendConfig {
    pairs
        .iter()
        .map(|(name, value)| (format!("{PREFIX}metrics.{name}"), (*value).to_owned()))
        .collect()
}

#[test]
fn names_are_told_apart_and_have_the_form_of_metrics() {
    let switches: BTreeSet<_> = ALL.iter().map(|figure| figure.switch).collect();
    let metrics: BTreeSet<_> = ALL.iter().map(|figure| figure.metric).collect();
    assert_eq!((switches.len(), metrics.len()), (ALL.len(), ALL.len()));
    for metric in metrics {
        let is_snake = |letter: char| letter.is_ascii_lowercase() || letter == '_';
        assert!(
            metric.starts_with("rocksdb_") && metric.chars().all(is_snake),
            "{metric}"
        );
    }
}

#[test]
fn figures_tell_what_a_database_did() {
    let all: Vec<_> = ALL.iter().map(|figure| (figure.switch, "true")).collect();
    let options = Options::read(&config(&all)).unwrap();
    let memory = Memory::of(&options.memory);
    let folder = tempfile::tempdir().unwrap();
    let database = options.database(&memory, folder.path());
    let families = ["a", "b"].map(|name| (name, options.column_family(&memory)));
    let db = DB::open_cf_with_opts(&database, folder.path(), families).unwrap();
    let families = ["a", "b"].map(|name| db.cf_handle(name).unwrap());
    for (family, entries) in families.iter().zip([30_u32, 12]) {
        for number in 0..entries {
            db.put_cf_opt(family, number.to_be_bytes(), [7; 100], &Options::write())
                .unwrap();
        }
    }
    let figures = || -> BTreeMap<String, f64> {
        options
            .figures
            .of(&db, &families, &database)
            .into_iter()
            .collect()
    };
    let before = figures();
    // One name for each level; and RocksDB knows all of the others.
    assert_eq!(before.len(), ALL.len() - 1 + LEVELS, "{before:?}");
    assert_eq!(before["rocksdb_estimated_keys"], 42.0);
    assert_eq!(before["rocksdb_active_mem_table_entries"], 42.0);
    assert!(before["rocksdb_mem_table_bytes"] > 4200.0);
    assert!(before["rocksdb_written_bytes"] > 4200.0);
    assert_eq!(before["rocksdb_files_at_level_0"], 0.0);

    for family in &families {
        db.flush_cf(family).unwrap();
        assert!(db.get_cf(family, 3_u32.to_be_bytes()).unwrap().is_some());
    }
    let after = figures();
    assert_eq!(after["rocksdb_files_at_level_0"], 2.0);
    assert_eq!(after["rocksdb_active_mem_table_entries"], 0.0);
    assert!(after["rocksdb_sst_file_bytes"] > 0.0);
    assert!(after["rocksdb_block_cache_misses"] > 0.0);
    assert_eq!(after["rocksdb_read_bytes"], 200.0);
}

#[test]
fn a_switch_turns_its_figure_on_or_off() {
    let figures = |pairs: &[(&str, &str)]| Figures::read(&config(pairs)).unwrap();
    let has = |figures: &Figures, switch: &str| figures.asked().any(|figure| figure.switch == switch);
    let default = figures(&[]);
    assert!(default.need_statistics());
    assert!(has(&default, "estimate-num-keys") && !has(&default, "total-sst-files-size"));
    let other = figures(&[("estimate-num-keys", "false"), ("total-sst-files-size", "true")]);
    assert!(!has(&other, "estimate-num-keys") && has(&other, "total-sst-files-size"));

    // Nothing is counted for nobody.
    let off: Vec<_> = ALL.iter().map(|figure| (figure.switch, "false")).collect();
    assert!(!figures(&off).need_statistics());
}
