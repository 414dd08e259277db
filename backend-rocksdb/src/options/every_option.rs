//! Every option that is documented is read here, and has an effect: in RocksDB, as it says itself, or where another test sees it.

use super::{Memory, Options, PREFIX};
use crate::database::{Setup, with_filter};
use millpond_backend_api::BackendConfig;
use rocksdb::DB;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Where an option has its effect.
enum Effect {
    /// In the options that RocksDB was opened with, which have this line then.
    RocksDb(&'static str),
    /// In what the function of this name, in the file behind it, tests.
    Tested(&'static str, &'static str),
    /// None, for a reason that the page of options gives.
    Told,
}

use Effect::{RocksDb, Tested, Told};

const MEMORY: &str = "src/options/memory/tests.rs";
const LOCAL: &str = "src/options/local.rs";
const THIS: &str = "src/options/every_option.rs";

/// The end of each key, a value that is not the default, and what comes of it.
const ALL: &[(&str, &str, Effect)] = &[
    (
        "memory.managed",
        "false",
        RocksDb("cache_index_and_filter_blocks=false"),
    ),
    (
        "memory.fixed-per-slot",
        "7 mb",
        Tested(
            "fixed_for_a_slot_wins_over_managed_and_that_over_fixed_for_the_process",
            MEMORY,
        ),
    ),
    (
        "memory.fixed-per-tm",
        "7 mb",
        Tested(
            "fixed_for_a_slot_wins_over_managed_and_that_over_fixed_for_the_process",
            MEMORY,
        ),
    ),
    (
        "memory.write-buffer-ratio",
        "0.3",
        Tested(
            "the_cache_has_what_the_write_buffer_ratio_leaves_and_write_buffers_are_charged_to_it",
            MEMORY,
        ),
    ),
    (
        "memory.high-prio-pool-ratio",
        "0",
        RocksDb("cache_index_and_filter_blocks_with_high_priority=false"),
    ),
    (
        "memory.partitioned-index-filters",
        "true",
        RocksDb("partition_filters=true"),
    ),
    (
        "localdir",
        "/a",
        Tested(
            "subtasks_take_the_folders_in_turn_and_have_a_place_of_their_own_there",
            LOCAL,
        ),
    ),
    (
        "predefined-options",
        "FLASH_SSD_OPTIMIZED",
        RocksDb("max_background_jobs=4"),
    ),
    ("timer-service.factory", "HEAP", Told),
    (
        "checkpoint.transfer.thread.num",
        "-3",
        Tested(
            "all_subtasks_together_bring_no_more_at_once_than_they_share",
            "src/transfers.rs",
        ),
    ),
    ("thread.num", "7", RocksDb("max_background_jobs=7")),
    ("files.open", "77", RocksDb("max_open_files=77")),
    (
        "compaction.style",
        "UNIVERSAL",
        RocksDb("compaction_style=kCompactionStyleUniversal"),
    ),
    (
        "compaction.level.use-dynamic-size",
        "true",
        RocksDb("level_compaction_dynamic_level_bytes=true"),
    ),
    (
        "compaction.level.target-file-size-base",
        "1 mb",
        RocksDb("target_file_size_base=1048576"),
    ),
    (
        "compaction.level.max-size-level-base",
        "1 mb",
        RocksDb("max_bytes_for_level_base=1048576"),
    ),
    (
        "compression.per.level",
        "ZSTD_COMPRESSION",
        RocksDb("compression_per_level=kZSTD"),
    ),
    ("writebuffer.size", "1 mb", RocksDb("write_buffer_size=1048576")),
    ("writebuffer.count", "5", RocksDb("max_write_buffer_number=5")),
    (
        "writebuffer.number-to-merge",
        "2",
        RocksDb("min_write_buffer_number_to_merge=2"),
    ),
    ("block.blocksize", "16 kb", RocksDb("block_size=16384")),
    (
        "block.metadata-blocksize",
        "16 kb",
        RocksDb("metadata_block_size=16384"),
    ),
    (
        "block.cache-size",
        "1 mb",
        Tested("the_cache_of_a_subtask_has_the_size_that_is_set", THIS),
    ),
    (
        "write-batch-size",
        "64 mb",
        Tested(
            "the_more_is_sorted_at_once_the_fewer_files_there_are",
            "tests/canonical.rs",
        ),
    ),
    ("use-bloom-filter", "false", RocksDb("filter_policy=nullptr")),
    (
        "bloom-filter.bits-per-key",
        "12",
        RocksDb("filter_policy=bloomfilter:12:false"),
    ),
    ("bloom-filter.block-based-mode", "true", Told),
    (
        "compaction.filter.query-time-after-num-entries",
        "7",
        Tested(
            "a_compaction_looks_at_the_time_again_after_as_many_entries_as_are_set",
            "src/expiry/tests.rs",
        ),
    ),
    (
        "compaction.filter.periodic-compaction-time",
        "3 h",
        Tested("files_of_a_state_are_written_anew_at_the_age_that_is_set", THIS),
    ),
    ("log.level", "ERROR", RocksDb("info_log_level=ERROR_LEVEL")),
    (
        "log.dir",
        "/tmp",
        Tested("rocksdb_has_what_was_set", "src/options/native.rs"),
    ),
    ("log.max-file-size", "1 mb", RocksDb("max_log_file_size=1048576")),
    ("log.file-num", "9", RocksDb("keep_log_file_num=9")),
    (
        "metrics.num-snapshots",
        "true",
        Tested(
            "a_switch_turns_its_figure_on_or_off",
            "src/options/figures/tests.rs",
        ),
    ),
];

fn with(pairs: &[(&str, &str)]) -> Options {
    let pairs = pairs
        .iter()
        .map(|(name, value)| (format!("{PREFIX}{name}"), (*value).to_owned()));
    Options::read(&pairs.collect::<BackendConfig>()).unwrap()
}

/// The lines of the file in which RocksDB says what its options are.
fn as_opened(options: &Options) -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup {
        memory: Memory::of(&options.memory),
        options: Arc::new(options.clone()),
        expiries: Arc::default(),
    };
    let database = options.database(&setup.memory, folder.path());
    let all = options.column_family(&setup.memory);
    let family = with_filter(&all, "state:counts", &setup);
    drop(DB::open_cf_with_opts(&database, folder.path(), [("state:counts", family)]).unwrap());
    let files = std::fs::read_dir(folder.path()).unwrap();
    let last = files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("/OPTIONS-"))
        .max()
        .unwrap();
    let text = std::fs::read_to_string(last).unwrap();
    // The default column family has its own section before that of the state, whose name is escaped.
    let (database, families) = text.split_once("[CFOptions \"default\"]").unwrap();
    let state = families.split_once("[CFOptions \"state").unwrap().1;
    let lines = database.lines().chain(state.lines());
    lines.map(|line| line.trim().to_owned()).collect()
}

#[test]
fn every_documented_option_is_read_and_has_an_effect() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let defaults = as_opened(&with(&[]));
    for (name, value, effect) in ALL {
        match effect {
            RocksDb(line) => {
                let has = |lines: &BTreeSet<String>| lines.iter().any(|other| other.starts_with(line));
                assert!(!has(&defaults), "{name}: {line} is the default");
                // RocksDB merges fewer buffers than there may be.
                let needed = match *name {
                    "writebuffer.number-to-merge" => Some(("writebuffer.count", "5")),
                    _ => None,
                };
                let pairs: Vec<_> = needed.into_iter().chain([(*name, *value)]).collect();
                assert!(has(&as_opened(&with(&pairs))), "{name}: no {line}");
            }
            Tested(test, file) => {
                // One wins over another, so both of them are set.
                let managed = ("memory.managed", "false");
                assert_ne!(
                    with(&[(name, value), managed]),
                    with(&[managed]),
                    "{name} is not read"
                );
                let text = std::fs::read_to_string(root.join(file)).unwrap();
                assert!(
                    text.contains(&format!("fn {test}(")),
                    "{name}: no {test} in {file}"
                );
            }
            Told => {}
        }
    }
}

#[test]
fn the_cache_of_a_subtask_has_the_size_that_is_set() {
    let options = with(&[("memory.managed", "false"), ("block.cache-size", "3 mb")]);
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::of(&options.memory);
    let database = options.database(&memory, folder.path());
    let family = options.column_family(&memory);
    let db = DB::open_cf_with_opts(&database, folder.path(), [("state", family)]).unwrap();
    let capacity = db.property_int_value_cf(
        &db.cf_handle("state").unwrap(),
        rocksdb::properties::BLOCK_CACHE_CAPACITY,
    );
    assert_eq!(capacity.unwrap(), Some(3 << 20));
}

#[test]
fn files_of_a_state_are_written_anew_at_the_age_that_is_set() {
    let lines = as_opened(&with(&[("compaction.filter.periodic-compaction-time", "3 h")]));
    assert!(lines.contains("periodic_compaction_seconds=10800"), "{lines:?}");
}

#[test]
fn the_documented_options_are_all_there_are() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/OPTIONS.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page.lines().filter_map(|line| {
        let key = line.strip_prefix("| `")?.split_once('`')?.0;
        key.strip_prefix(PREFIX)
    });
    let documented: BTreeSet<_> = rows.map(|name| name.replace("<name>", "num-snapshots")).collect();
    let listed: BTreeSet<_> = ALL.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(listed, documented);
}
