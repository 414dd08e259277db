//! The options as RocksDB takes them. What Flink sets whatever the configuration says (`RocksDBResourceContainer`) is set here too.

use super::{Compaction, Memory, Options};
use crate::unsynced;
use rocksdb::statistics::StatsLevel;
use rocksdb::{BlockBasedIndexType, BlockBasedOptions, DBCompactionStyle, FifoCompactOptions, WriteOptions};
use std::path::Path;

/// The longest name of a file, less what RocksDB puts behind the name of a log.
const LOG_NAME_BYTES_MAX: usize = 255 - "_LOG.old.1234567890123456".len();

/// How long a manifest gets before RocksDB begins a new one. Each file that is brought in makes it longer, and each checkpoint brings it anew.
const MANIFEST_BYTES: usize = 64 << 10;

impl Options {
    /// The options of the database in `folder`.
    #[must_use]
    pub fn database(&self, memory: &Memory, folder: &Path) -> rocksdb::Options {
        let mut options = base();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        // Nothing is read back from local files after a crash: checkpoints are where state is safe.
        options.set_use_fsync(false);
        options.set_max_manifest_file_size(MANIFEST_BYTES);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options.set_max_background_jobs(self.threads);
        options.set_max_open_files(self.files_open);
        options.set_log_level(self.log.level);
        options.set_max_log_file_size(self.log.file_bytes_max);
        options.set_keep_log_file_num(self.log.files);
        // In a folder of logs RocksDB names a file by the whole path of the database; where that is too long, no database could be opened.
        if let Some(dir) = &self.log.dir
            && folder.as_os_str().len() <= LOG_NAME_BYTES_MAX
        {
            options.set_db_log_dir(dir);
        }
        if let Some(buffers) = memory.write_buffers() {
            options.set_write_buffer_manager(buffers);
        }
        if self.figures.need_statistics() {
            options.enable_statistics();
            options.set_statistics_level(StatsLevel::ExceptHistogramOrTimers);
        }
        options
    }

    /// The options of a column family. Where memory is not managed, each call makes a block cache, which clones of the options share.
    #[must_use]
    pub fn column_family(&self, memory: &Memory) -> rocksdb::Options {
        let mut options = unsynced::options();
        match self.compaction {
            Compaction::Level => options.set_compaction_style(DBCompactionStyle::Level),
            Compaction::Universal => options.set_compaction_style(DBCompactionStyle::Universal),
            Compaction::Fifo => {
                options.set_compaction_style(DBCompactionStyle::Fifo);
                // RocksDB drops the oldest files beyond this: state that nobody deleted.
                let mut fifo = FifoCompactOptions::default();
                fifo.set_max_table_files_size(u64::MAX);
                options.set_fifo_compaction_options(&fifo);
            }
            // The style of this name is RocksDB's way to say that.
            Compaction::None => options.set_disable_auto_compactions(true),
        }
        options.set_level_compaction_dynamic_level_bytes(self.dynamic_level_size);
        options.set_target_file_size_base(self.target_file_bytes);
        options.set_max_bytes_for_level_base(self.level_base_bytes);
        options.set_compression_per_level(&self.compression_per_level);
        options.set_write_buffer_size(usize::try_from(self.memory.write_buffer_bytes).unwrap_or(usize::MAX));
        options.set_max_write_buffer_number(self.memory.write_buffers);
        options.set_min_write_buffer_number_to_merge(self.write_buffers_to_merge);
        options.set_block_based_table_factory(&self.blocks(memory));
        crate::lists::set_operator(&mut options);
        options
    }

    /// The options of files that are made to be brought into a column family with the options `column_family`. They come into the first
    /// levels, and RocksDB would compress them as those of the last.
    #[must_use]
    pub fn new_files(&self, column_family: &rocksdb::Options) -> rocksdb::Options {
        let mut options = column_family.clone();
        let first = self.compression_per_level.first();
        options.set_compression_per_level(first.map(std::slice::from_ref).unwrap_or_default());
        options
    }

    /// The options of writes: without a log, since what a crash takes comes back from a checkpoint.
    #[must_use]
    pub fn write() -> WriteOptions {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        options
    }

    fn blocks(&self, memory: &Memory) -> BlockBasedOptions {
        let mut options = BlockBasedOptions::default();
        options.set_block_size(usize::try_from(self.block_bytes).unwrap_or(usize::MAX));
        options.set_metadata_block_size(usize::try_from(self.metadata_block_bytes).unwrap_or(usize::MAX));
        match memory.block_cache() {
            Some(cache) => options.set_block_cache(&cache),
            None => options.disable_cache(),
        }
        if memory.budget_bytes().is_some() {
            // Index and filter blocks count as memory, too, and are the last to go.
            options.set_cache_index_and_filter_blocks(true);
            options.set_cache_index_and_filter_blocks_with_high_priority(memory.prefers_index_blocks());
            options.set_pin_l0_filter_and_index_blocks_in_cache(true);
        }
        if self.partitions_indexes {
            options.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
            options.set_partition_filters(true);
            // What finds the parts is small, and needed for every look-up.
            options.set_pin_top_level_index_and_filter(true);
        }
        if let Some(filter) = self.bloom_filter {
            options.set_bloom_filter(filter.bits_per_key, filter.block_based);
        }
        options
    }
}

/// RocksDB's defaults, but nothing is synced, nor written when a database is closed: whoever closes it throws it away.
fn base() -> rocksdb::Options {
    let mut plain = unsynced::options();
    plain
        .get_options_from_string("avoid_flush_during_shutdown=true")
        .unwrap_or(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::PREFIX;
    use rocksdb::DB;

    fn options(pairs: &[(&str, &str)]) -> Options {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (format!("{PREFIX}{name}"), (*value).to_owned()));
        Options::read(&pairs.collect()).unwrap()
    }

    /// What RocksDB itself says its options are, after it was opened with them and closed again.
    fn as_opened(options: &Options, folder: &Path) -> String {
        let memory = Memory::of(&options.memory);
        let database = options.database(&memory, folder);
        let family = options.column_family(&memory);
        let db = DB::open_cf_with_opts(&database, folder, [("state", family)]).unwrap();
        let family = db.cf_handle("state").unwrap();
        db.put_cf_opt(&family, b"key", b"value", &Options::write())
            .unwrap();
        drop(family);
        drop(db);
        let files = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let last = files
            .filter(|path| {
                path.file_name()
                    .unwrap()
                    .to_string_lossy()
                    .starts_with("OPTIONS-")
            })
            .max()
            .unwrap();
        let text = std::fs::read_to_string(last).unwrap();
        // The default column family has its own section before that of the state.
        let (database, families) = text.split_once("[CFOptions \"default\"]").unwrap();
        let state = families.split_once("[CFOptions \"state\"]").unwrap().1;
        format!("{database}{state}")
    }

    fn assert_has(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(
                text.lines().any(|other| other.trim() == *line),
                "no {line} in:\n{text}"
            );
        }
    }

    #[test]
    fn rocksdb_has_the_defaults_and_the_fixed_settings() {
        let folder = tempfile::tempdir().unwrap();
        let text = as_opened(&options(&[]), folder.path());
        assert_has(
            &text,
            &[
                "max_background_jobs=2",
                "max_open_files=-1",
                "keep_log_file_num=4",
                "max_log_file_size=26214400",
                "info_log_level=INFO_LEVEL",
                "use_fsync=false",
                "stats_dump_period_sec=0",
                "avoid_flush_during_shutdown=true",
                "compaction_style=kCompactionStyleLevel",
                "compression_per_level=kNoCompression:kNoCompression:kLZ4Compression",
                "level_compaction_dynamic_level_bytes=false",
                "target_file_size_base=67108864",
                "max_bytes_for_level_base=268435456",
                "write_buffer_size=67108864",
                "max_write_buffer_number=2",
                "min_write_buffer_number_to_merge=1",
                "disable_auto_compactions=false",
                "block_size=4096",
                "cache_index_and_filter_blocks=true",
                "cache_index_and_filter_blocks_with_high_priority=true",
                "pin_l0_filter_and_index_blocks_in_cache=true",
            ],
        );
        assert!(text.contains("filter_policy=bloomfilter"), "{text}");
        // Closing wrote nothing: what was put went neither to a log nor to a file.
        let names: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .collect();
        assert!(
            names
                .iter()
                .all(|entry| !entry.file_name().to_string_lossy().ends_with(".sst"))
        );
        let logs = names
            .iter()
            .filter(|entry| entry.path().extension().is_some_and(|end| end == "log"));
        assert!(logs.map(|entry| entry.metadata().unwrap().len()).sum::<u64>() == 0);
    }

    #[test]
    fn rocksdb_has_what_was_set() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("logs");
        std::fs::create_dir(&logs).unwrap();
        let options = options(&[
            ("memory.managed", "false"),
            ("thread.num", "5"),
            ("files.open", "77"),
            ("compaction.style", "UNIVERSAL"),
            ("compaction.level.target-file-size-base", "1 mb"),
            ("compaction.level.max-size-level-base", "3 mb"),
            (
                "compression.per.level",
                "NO_COMPRESSION;LZ4_COMPRESSION;ZSTD_COMPRESSION",
            ),
            ("writebuffer.size", "2 mb"),
            ("writebuffer.count", "6"),
            ("writebuffer.number-to-merge", "2"),
            ("block.blocksize", "32 kb"),
            ("block.metadata-blocksize", "8 kb"),
            ("use-bloom-filter", "false"),
            ("log.level", "DEBUG"),
            ("log.dir", logs.to_str().unwrap()),
            ("log.max-file-size", "1 mb"),
            ("log.file-num", "3"),
        ]);
        let text = as_opened(&options, &folder.path().join("db"));
        assert_has(
            &text,
            &[
                "max_background_jobs=5",
                "max_open_files=77",
                "keep_log_file_num=3",
                "max_log_file_size=1048576",
                "info_log_level=DEBUG_LEVEL",
                "compaction_style=kCompactionStyleUniversal",
                "compression_per_level=kNoCompression:kLZ4Compression:kZSTD",
                "target_file_size_base=1048576",
                "max_bytes_for_level_base=3145728",
                "write_buffer_size=2097152",
                "max_write_buffer_number=6",
                "min_write_buffer_number_to_merge=2",
                "block_size=32768",
                "metadata_block_size=8192",
                "cache_index_and_filter_blocks=false",
            ],
        );
        assert!(text.contains("filter_policy=nullptr"), "{text}");
        assert!(std::fs::read_dir(&logs).unwrap().count() > 0);
    }

    #[test]
    fn styles_that_would_drop_state_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let text = as_opened(
            &options(&[("compaction.style", "FIFO")]),
            &folder.path().join("fifo"),
        );
        assert_has(&text, &["compaction_style=kCompactionStyleFIFO"]);
        assert!(
            text.contains("max_table_files_size=18446744073709551615"),
            "{text}"
        );
        let text = as_opened(
            &options(&[
                ("compaction.style", "NONE"),
                ("compaction.level.use-dynamic-size", "true"),
            ]),
            &folder.path().join("none"),
        );
        assert_has(
            &text,
            &[
                "disable_auto_compactions=true",
                "level_compaction_dynamic_level_bytes=true",
            ],
        );
    }

    #[test]
    fn a_path_too_long_for_the_name_of_a_log_leaves_the_log_beside_the_database() {
        let root = tempfile::tempdir().unwrap();
        let logs = root.path().join("logs");
        std::fs::create_dir(&logs).unwrap();
        let folder = root.path().join("x".repeat(200)).join("y".repeat(40));
        std::fs::create_dir_all(&folder).unwrap();
        let options = options(&[("log.dir", logs.to_str().unwrap())]);
        as_opened(&options, &folder);
        assert!(folder.join("LOG").exists());
        assert_eq!(std::fs::read_dir(&logs).unwrap().count(), 0);
    }
}
