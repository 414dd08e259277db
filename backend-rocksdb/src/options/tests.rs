use super::*;
use millpond_backend_api::BackendErrorKind;

fn config(pairs: &[(&str, &str)]) -> BackendConfig {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn read(pairs: &[(&str, &str)]) -> Options {
    Options::read(&config(pairs)).unwrap()
}

#[test]
fn an_empty_configuration_gives_the_defaults() {
    let options = read(&[]);
    assert!(options.incremental);
    assert_eq!(options.transfer_threads, TransferThreads::PerSubtask(4));
    assert_eq!(options.write_batch_bytes, 2 << 20);
    assert_eq!((options.threads, options.files_open), (2, -1));
    assert_eq!(options.compaction, Compaction::Level);
    assert!(!options.dynamic_level_size);
    assert_eq!(
        (options.target_file_bytes, options.level_base_bytes),
        (64 << 20, 256 << 20)
    );
    assert_eq!(
        options.compression_per_level,
        [
            DBCompressionType::None,
            DBCompressionType::None,
            DBCompressionType::Lz4
        ]
    );
    assert_eq!(
        (options.memory.write_buffer_bytes, options.memory.write_buffers),
        (64 << 20, 2)
    );
    assert_eq!(options.write_buffers_to_merge, 1);
    assert_eq!(
        (options.block_bytes, options.metadata_block_bytes),
        (4 << 10, 4 << 10)
    );
    assert!(
        options
            .bloom_filter
            .is_some_and(|filter| filter.bits_per_key == 10.0)
    );
    assert_eq!(options.local_dirs, Vec::<PathBuf>::new());
    assert_eq!(options.timer_service, TimerService::RocksDb);
    assert_eq!(options.ttl_entries_per_clock, 1000);
    assert_eq!(options.ttl_compaction_age, Duration::from_secs(2_592_000));
    let log = Log {
        level: LogLevel::Info,
        dir: None,
        file_bytes_max: 25 << 20,
        files: 4,
    };
    assert_eq!(options.log, log);
}

#[test]
fn every_key_is_read() {
    let options = read(&[
        ("execution.checkpointing.incremental", "false"),
        ("state.backend.rocksdb.checkpoint.transfer.thread.num", "-3"),
        ("state.backend.rocksdb.write-batch-size", "0"),
        ("state.backend.rocksdb.localdir", "/a;/b"),
        ("state.backend.rocksdb.timer-service.factory", "heap"),
        (
            "state.backend.rocksdb.compaction.filter.query-time-after-num-entries",
            "50",
        ),
        (
            "state.backend.rocksdb.compaction.filter.periodic-compaction-time",
            "2 h",
        ),
        ("state.backend.rocksdb.thread.num", "7"),
        ("state.backend.rocksdb.files.open", "500"),
        ("state.backend.rocksdb.compaction.style", "universal"),
        ("state.backend.rocksdb.compaction.level.use-dynamic-size", "TRUE"),
        (
            "state.backend.rocksdb.compaction.level.target-file-size-base",
            "1 mb",
        ),
        (
            "state.backend.rocksdb.compaction.level.max-size-level-base",
            "2 mb",
        ),
        (
            "state.backend.rocksdb.compression.per.level",
            "NO_COMPRESSION;lz4_compression;ZSTD_COMPRESSION",
        ),
        ("state.backend.rocksdb.writebuffer.size", "3 mb"),
        ("state.backend.rocksdb.writebuffer.count", "5"),
        ("state.backend.rocksdb.writebuffer.number-to-merge", "2"),
        ("state.backend.rocksdb.block.blocksize", "16 kb"),
        ("state.backend.rocksdb.block.metadata-blocksize", "8 kb"),
        ("state.backend.rocksdb.use-bloom-filter", "true"),
        ("state.backend.rocksdb.bloom-filter.bits-per-key", "12.5"),
        ("state.backend.rocksdb.bloom-filter.block-based-mode", "true"),
        ("state.backend.rocksdb.log.level", "WARN_LEVEL"),
        ("state.backend.rocksdb.log.dir", "/logs"),
        ("state.backend.rocksdb.log.max-file-size", "1 mb"),
        ("state.backend.rocksdb.log.file-num", "9"),
    ]);
    assert!(!options.incremental);
    assert_eq!(options.transfer_threads, TransferThreads::Shared(3));
    assert_eq!(options.write_batch_bytes, 0);
    assert_eq!(options.local_dirs, [PathBuf::from("/a"), PathBuf::from("/b")]);
    assert_eq!((options.threads, options.files_open), (7, 500));
    assert_eq!(options.timer_service, TimerService::Heap);
    assert_eq!(options.ttl_entries_per_clock, 50);
    assert_eq!(options.ttl_compaction_age, Duration::from_secs(7200));
    assert_eq!(options.compaction, Compaction::Universal);
    assert!(options.dynamic_level_size);
    assert_eq!(
        (options.target_file_bytes, options.level_base_bytes),
        (1 << 20, 2 << 20)
    );
    let compressions = [
        DBCompressionType::None,
        DBCompressionType::Lz4,
        DBCompressionType::Zstd,
    ];
    assert_eq!(options.compression_per_level, compressions);
    assert_eq!(
        (options.memory.write_buffer_bytes, options.memory.write_buffers),
        (3 << 20, 5)
    );
    assert_eq!(options.write_buffers_to_merge, 2);
    assert_eq!(
        (options.block_bytes, options.metadata_block_bytes),
        (16 << 10, 8 << 10)
    );
    let filter = BloomFilter {
        bits_per_key: 12.5,
        block_based: true,
    };
    assert_eq!(options.bloom_filter, Some(filter));
    let log = Log {
        level: LogLevel::Warn,
        dir: Some(PathBuf::from("/logs")),
        file_bytes_max: 1 << 20,
        files: 9,
    };
    assert_eq!(options.log, log);
}

#[test]
fn old_names_are_read_and_the_new_ones_win() {
    let options = read(&[
        ("state.backend.incremental", "false"),
        ("state.backend.rocksdb.checkpointdir", "/old"),
    ]);
    assert!(!options.incremental);
    assert_eq!(options.local_dirs, [PathBuf::from("/old")]);
    let options = read(&[
        ("state.backend.incremental", "false"),
        ("execution.checkpointing.incremental", "true"),
        ("state.backend.rocksdb.checkpointdir", "/old"),
        ("state.backend.rocksdb.localdir", "/new"),
    ]);
    assert!(options.incremental);
    assert_eq!(options.local_dirs, [PathBuf::from("/new")]);
}

#[test]
fn the_predefined_sets_are_those_of_flink_and_explicit_keys_win() {
    const SET: &str = "state.backend.rocksdb.predefined-options";
    let spinning = read(&[(SET, "SPINNING_DISK_OPTIMIZED")]);
    assert_eq!((spinning.threads, spinning.dynamic_level_size), (4, true));
    assert_eq!(spinning.target_file_bytes, 64 << 20);
    let flash = read(&[(SET, "flash-ssd-optimized")]);
    assert_eq!((flash.threads, flash.dynamic_level_size), (4, false));

    let high = read(&[(SET, "SPINNING_DISK_OPTIMIZED_HIGH_MEM")]);
    assert_eq!((high.threads, high.dynamic_level_size), (4, true));
    assert_eq!(
        (high.target_file_bytes, high.level_base_bytes),
        (256 << 20, 1 << 30)
    );
    assert_eq!(
        (high.memory.write_buffer_bytes, high.memory.write_buffers),
        (64 << 20, 4)
    );
    assert_eq!((high.write_buffers_to_merge, high.block_bytes), (3, 128 << 10));
    let filter = high.bloom_filter.unwrap();
    assert_eq!((filter.bits_per_key, filter.block_based), (10.0, false));

    let changed = read(&[
        (SET, "SPINNING_DISK_OPTIMIZED_HIGH_MEM"),
        ("state.backend.rocksdb.thread.num", "1"),
        ("state.backend.rocksdb.use-bloom-filter", "false"),
        ("state.backend.rocksdb.writebuffer.count", "2"),
    ]);
    assert_eq!(
        (
            changed.threads,
            changed.bloom_filter,
            changed.memory.write_buffers
        ),
        (1, None, 2)
    );
    assert_eq!(changed.block_bytes, 128 << 10);
}

#[test]
fn a_bad_value_is_refused_with_key_value_and_what_was_expected() {
    for (name, value, expected) in [
        (
            "predefined-options",
            "FLASH_SDD_OPTIMIZED",
            "did you mean `FLASH_SSD_OPTIMIZED`?",
        ),
        ("compaction.style", "LEVELS", "did you mean `LEVEL`?"),
        ("log.level", "verbose", "one of `DEBUG`"),
        (
            "compression.per.level",
            "SNAPPY_COMPRESION",
            "did you mean `SNAPPY_COMPRESSION`?",
        ),
        (
            "compression.per.level",
            "ZLIB_COMPRESSION",
            "not part of this build",
        ),
        ("compression.per.level", "[]", "at least one compression"),
        ("memory.managed", "yes", "`true` or `false`"),
        ("memory.fixed-per-slot", "0", "more than 0"),
        ("memory.fixed-per-tm", "1.5 gb", "such as `64 mb`"),
        ("memory.write-buffer-ratio", "1.5", "a share from 0 to 1"),
        ("memory.high-prio-pool-ratio", "-1", "a share from 0 to 1"),
        ("checkpoint.transfer.thread.num", "0", "other than 0"),
        ("timer-service.factory", "HEEP", "did you mean `HEAP`?"),
        ("compaction.filter.query-time-after-num-entries", "-1", "from 0"),
        (
            "compaction.filter.periodic-compaction-time",
            "1 week",
            "such as `10 s`",
        ),
        ("thread.num", "0", "from 1"),
        ("files.open", "-2", "-1 or"),
        ("writebuffer.size", "0 mb", "more than 0"),
        ("bloom-filter.bits-per-key", "0", "more than 0"),
        ("localdir", "s3://bucket", "a folder of this machine"),
        ("localdir", "work/databases", "an absolute path"),
        ("memory.partitioned-index-filters", "yes", "`true` or `false`"),
        ("log.dir", "s3://bucket", "a folder of this machine"),
        ("metrics.estimate-num-keys", "on", "`true` or `false`"),
    ] {
        let key = format!("{PREFIX}{name}");
        let error = Options::read(&config(&[(&key, value)])).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Configuration, "{key}");
        let text = error.to_string();
        let start = format!("{key}: '{value}' is not valid, expected ");
        assert!(text.starts_with(&start) && text.contains(expected), "{text}");
    }
    let error = Options::read(&config(&[("taskmanager.memory.managed.size", "lots")])).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("taskmanager.memory.managed.size: 'lots'")
    );
}
