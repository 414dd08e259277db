//! What the configuration says to this backend: the options of RocksDB under the names that Flink gives them, the memory of the
//! process, folders of databases, and figures.
//!
//! - [`Options`]: the configuration, read; `values` are Flink's rules for values, [`PredefinedOptions`] its sets of options.
//! - [`Memory`]: the one budget for tables, blocks and write buffers of a process; a [`TableShare`] is the part of one keyed state.
//! - `native`: the options as RocksDB takes them; `local`: where databases lie; [`figures`]: what RocksDB tells of itself.

pub mod figures;
mod local;
mod machine;
mod memory;
mod native;
mod predefined;
mod share;
mod values;

pub use memory::{Budget, Memory, MemoryOptions};
pub use predefined::PredefinedOptions;
pub use share::TableShare;

use figures::Figures;
use millpond_backend_api::{BackendConfig, BackendResult};
use rocksdb::{DBCompressionType, LogLevel};
use std::path::PathBuf;
use std::time::Duration;

/// How RocksDB merges its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compaction {
    /// In levels that grow by a factor.
    Level,
    /// In sorted runs of similar size.
    Universal,
    /// Not at all; RocksDB would drop the oldest files of a state beyond a size, which is not given.
    Fifo,
    /// Not at all.
    None,
}

/// Threads that bring files to and from checkpoint storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransferThreads {
    /// So many for each subtask.
    PerSubtask(usize),
    /// So many for all subtasks of the process that say the same.
    Shared(usize),
}

/// Where timers are. The tables in front of the database are memory already, so both are the same here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimerService {
    /// In RocksDB, as other state.
    RocksDb,
    /// In memory.
    Heap,
}

/// RocksDB's own log.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    level: LogLevel,
    /// `None`: beside the database.
    dir: Option<PathBuf>,
    /// 0: without limit.
    file_bytes_max: usize,
    files: usize,
}

/// Compression where nothing else is set: none in the levels that are written again and again and hold all of a small state, a fast one below.
/// (Flink has Snappy everywhere; a look-up then takes twice the time.)
const COMPRESSION: [DBCompressionType; 3] = [
    DBCompressionType::None,
    DBCompressionType::None,
    DBCompressionType::Lz4,
];

/// The options of the RocksDB backend.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The sizes and shares of memory.
    pub memory: MemoryOptions,
    /// Snapshots name files of earlier ones.
    pub incremental: bool,
    /// Threads that bring files to and from checkpoint storage.
    pub transfer_threads: TransferThreads,
    /// The bytes that are sorted at once where a canonical snapshot is brought in; 0: as many as a file has.
    pub write_batch_bytes: u64,
    /// What RocksDB is asked about itself.
    pub figures: Figures,
    /// Where timers are.
    pub timer_service: TimerService,
    /// The entries that a compaction drops or keeps by their time to live before it looks at the clock again, for states that do not say it
    /// themselves.
    pub ttl_entries_per_clock: u64,
    /// The age at which a file with a time to live is written anew; zero: never.
    pub ttl_compaction_age: Duration,
    /// Folders of databases; empty: the engine's folder for working files.
    local_dirs: Vec<PathBuf>,
    threads: i32,
    files_open: i32,
    compaction: Compaction,
    dynamic_level_size: bool,
    target_file_bytes: u64,
    level_base_bytes: u64,
    compression_per_level: Vec<DBCompressionType>,
    write_buffers_to_merge: i32,
    block_bytes: u64,
    metadata_block_bytes: u64,
    partitions_indexes: bool,
    bloom_filter: Option<BloomFilter>,
    log: Log,
}

/// Filters that tell which keys a file does not have.
#[derive(Clone, Copy, Debug, PartialEq)]
struct BloomFilter {
    bits_per_key: f64,
    block_based: bool,
}

const COMPACTIONS: [(&str, Compaction); 4] = [
    ("LEVEL", Compaction::Level),
    ("UNIVERSAL", Compaction::Universal),
    ("FIFO", Compaction::Fifo),
    ("NONE", Compaction::None),
];

const TIMER_SERVICES: [(&str, TimerService); 2] =
    [("ROCKSDB", TimerService::RocksDb), ("HEAP", TimerService::Heap)];

const TTL_COMPACTION_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// RocksDB's compressions, those that this build of it has not among them.
const COMPRESSIONS: [(&str, Option<DBCompressionType>); 8] = [
    ("NO_COMPRESSION", Some(DBCompressionType::None)),
    ("SNAPPY_COMPRESSION", Some(DBCompressionType::Snappy)),
    ("LZ4_COMPRESSION", Some(DBCompressionType::Lz4)),
    ("LZ4HC_COMPRESSION", Some(DBCompressionType::Lz4hc)),
    ("ZSTD_COMPRESSION", Some(DBCompressionType::Zstd)),
    ("ZLIB_COMPRESSION", None),
    ("BZLIB2_COMPRESSION", None),
    ("XPRESS_COMPRESSION", None),
];

const LOG_LEVELS: [(&str, LogLevel); 12] = [
    ("DEBUG", LogLevel::Debug),
    ("INFO", LogLevel::Info),
    ("WARN", LogLevel::Warn),
    ("ERROR", LogLevel::Error),
    ("FATAL", LogLevel::Fatal),
    ("HEADER", LogLevel::Header),
    ("DEBUG_LEVEL", LogLevel::Debug),
    ("INFO_LEVEL", LogLevel::Info),
    ("WARN_LEVEL", LogLevel::Warn),
    ("ERROR_LEVEL", LogLevel::Error),
    ("FATAL_LEVEL", LogLevel::Fatal),
    ("HEADER_LEVEL", LogLevel::Header),
];

/// What the names of most options begin with.
const PREFIX: &str = "state.backend.rocksdb.";

/// An option below [`PREFIX`].
fn option<T>(
    config: &BackendConfig,
    name: &str,
    parse: impl FnOnce(&str) -> values::Parsed<T>,
) -> BackendResult<Option<T>> {
    values::find(config, &[&format!("{PREFIX}{name}")], parse)
}

impl Options {
    /// The length at which files of sorted entries end.
    #[must_use]
    pub fn target_file_bytes(&self) -> u64 {
        self.target_file_bytes
    }

    /// Reads the options from `config`.
    ///
    /// # Errors
    /// [`Configuration`](millpond_backend_api::BackendErrorKind::Configuration) for a value that is not valid, naming key, value and what
    /// was expected.
    pub fn read(config: &BackendConfig) -> BackendResult<Self> {
        let predefined = option(config, "predefined-options", |text| {
            values::named(text, &predefined::NAMES)
        })?;
        let set = predefined.unwrap_or_default().values();
        let memory = MemoryOptions::read(config, &set)?;
        Ok(Self {
            memory,
            incremental: values::find(config, &INCREMENTAL, values::flag)?.unwrap_or(true),
            transfer_threads: option(config, "checkpoint.transfer.thread.num", transfer_threads)?
                .unwrap_or(TransferThreads::PerSubtask(4)),
            write_batch_bytes: option(config, "write-batch-size", values::size)?.unwrap_or(2 << 20),
            figures: Figures::read(config)?,
            timer_service: option(config, "timer-service.factory", |text| {
                values::named(text, &TIMER_SERVICES)
            })?
            .unwrap_or(TimerService::RocksDb),
            ttl_entries_per_clock: option(
                config,
                "compaction.filter.query-time-after-num-entries",
                values::number,
            )?
            .unwrap_or(1000),
            ttl_compaction_age: option(
                config,
                "compaction.filter.periodic-compaction-time",
                values::duration,
            )?
            .unwrap_or(TTL_COMPACTION_AGE),
            local_dirs: values::find(config, &LOCAL_DIR, local::folders)?.unwrap_or_default(),
            threads: option(config, "thread.num", values::count)?.unwrap_or(set.threads),
            files_open: option(config, "files.open", files_open)?.unwrap_or(-1),
            compaction: option(config, "compaction.style", |text| {
                values::named(text, &COMPACTIONS)
            })?
            .unwrap_or(Compaction::Level),
            dynamic_level_size: option(config, "compaction.level.use-dynamic-size", values::flag)?
                .unwrap_or(set.dynamic_level_size),
            target_file_bytes: option(
                config,
                "compaction.level.target-file-size-base",
                values::positive_size,
            )?
            .unwrap_or(set.target_file_bytes),
            level_base_bytes: option(
                config,
                "compaction.level.max-size-level-base",
                values::positive_size,
            )?
            .unwrap_or(set.level_base_bytes),
            compression_per_level: option(config, "compression.per.level", compressions)?
                .unwrap_or_else(|| COMPRESSION.to_vec()),
            write_buffers_to_merge: option(config, "writebuffer.number-to-merge", values::count)?
                .unwrap_or(set.write_buffers_to_merge),
            block_bytes: option(config, "block.blocksize", values::positive_size)?.unwrap_or(set.block_bytes),
            metadata_block_bytes: option(config, "block.metadata-blocksize", values::positive_size)?
                .unwrap_or(4 << 10),
            partitions_indexes: option(config, "memory.partitioned-index-filters", values::flag)?
                .unwrap_or(false),
            bloom_filter: bloom_filter(config, set.use_bloom_filter)?,
            log: Log::read(config)?,
        })
    }
}

const INCREMENTAL: [&str; 2] = ["execution.checkpointing.incremental", "state.backend.incremental"];

/// The second name is the first one of all; it never meant a folder of checkpoints.
const LOCAL_DIR: [&str; 2] = [
    "state.backend.rocksdb.localdir",
    "state.backend.rocksdb.checkpointdir",
];

fn transfer_threads(text: &str) -> values::Parsed<TransferThreads> {
    let number: i32 = text.parse().unwrap_or(0);
    let threads = usize::try_from(number.unsigned_abs()).unwrap_or(1);
    match number {
        0 => Err(
            "a whole number other than 0; a negative one is a pool of so many threads for all subtasks"
                .to_owned(),
        ),
        1.. => Ok(TransferThreads::PerSubtask(threads)),
        _ => Ok(TransferThreads::Shared(threads)),
    }
}

fn files_open(text: &str) -> values::Parsed<i32> {
    match text.parse() {
        Ok(number) if number == -1 || number >= 1 => Ok(number),
        _ => Err("-1 or a whole number of at least 1".to_owned()),
    }
}

fn compressions(text: &str) -> values::Parsed<Vec<DBCompressionType>> {
    let names = values::items(text);
    if names.is_empty() {
        return Err("at least one compression, such as `LZ4_COMPRESSION`".to_owned());
    }
    let one = |name: &str| {
        values::named(name, &COMPRESSIONS)?.ok_or_else(|| {
            format!(
                "`NO_COMPRESSION`, `SNAPPY_COMPRESSION`, `LZ4_COMPRESSION`, `LZ4HC_COMPRESSION` or `ZSTD_COMPRESSION` \
                 ({name} is not part of this build of RocksDB)"
            )
        })
    };
    names.into_iter().map(one).collect()
}

fn bloom_filter(config: &BackendConfig, by_default: bool) -> BackendResult<Option<BloomFilter>> {
    let use_it = option(config, "use-bloom-filter", values::flag)?.unwrap_or(by_default);
    let filter = BloomFilter {
        bits_per_key: option(config, "bloom-filter.bits-per-key", values::positive)?.unwrap_or(10.0),
        block_based: option(config, "bloom-filter.block-based-mode", values::flag)?.unwrap_or(false),
    };
    Ok(use_it.then_some(filter))
}

impl Log {
    fn read(config: &BackendConfig) -> BackendResult<Self> {
        let file_bytes_max = option(config, "log.max-file-size", values::size)?.unwrap_or(25 << 20);
        let files = option(config, "log.file-num", values::count)?.unwrap_or(4);
        Ok(Self {
            level: option(config, "log.level", |text| values::named(text, &LOG_LEVELS))?
                .unwrap_or(LogLevel::Info),
            dir: option(config, "log.dir", local::absolute)?,
            file_bytes_max: usize::try_from(file_bytes_max).unwrap_or(usize::MAX),
            files: usize::try_from(files).unwrap_or(1),
        })
    }
}

#[cfg(test)]
mod every_option;
#[cfg(test)]
mod tests;
