//! Options of the RocksDB backend. Names and defaults are those of Flink, and through it of RocksDB. The backend, which may be a library, reads
//! them by itself; here they are checked before a job starts, and described.

use std::time::Duration;

use super::options;
use crate::config::{
    CompactionStyle, ConfigOption, MemorySize, PredefinedOptions, RocksDbLogLevel, TimerServiceFactory,
};

/// RocksDB's names of the compressions that the backend has.
const COMPRESSIONS: &[&str] = &[
    "NO_COMPRESSION",
    "SNAPPY_COMPRESSION",
    "LZ4_COMPRESSION",
    "LZ4HC_COMPRESSION",
    "ZSTD_COMPRESSION",
];

fn are_compressions(names: &[String]) -> bool {
    let known = |name: &str| COMPRESSIONS.iter().any(|known| known.eq_ignore_ascii_case(name));
    !names.is_empty() && names.iter().all(|name| known(name))
}

fn is_share(share: &f64) -> bool {
    (0.0..=1.0).contains(share)
}

fn is_positive(size: &MemorySize) -> bool {
    size.0 > 0
}

const SHARE: &str = "a share from 0 to 1";
const AT_LEAST_ONE: &str = "a whole number of at least 1";
const POSITIVE_SIZE: &str = "a size of more than 0";

options! {
    "RocksDB";

    /// Whether everything that the backend keeps in memory in a process, which is tables, blocks and write buffers, shares the managed memory. Without
    /// this and the two below, each state has write buffers and tables of the sizes below, and nothing bounds their sum.
    MEMORY_MANAGED: bool = "state.backend.rocksdb.memory.managed".with_default("true");

    /// Memory for the backend in each worker thread; wins over managed memory.
    MEMORY_FIXED_PER_SLOT: MemorySize = "state.backend.rocksdb.memory.fixed-per-slot"
        .accepting(is_positive, POSITIVE_SIZE);

    /// Memory for the backend in the process; used if it is neither managed nor fixed for each worker thread.
    MEMORY_FIXED_PER_PROCESS: MemorySize = "state.backend.rocksdb.memory.fixed-per-tm"
        .accepting(is_positive, POSITIVE_SIZE);

    /// Share of the memory, but for a sixth (56 MiB and up to two fifths of small ones), that is kept for what is written: the tables in front of the databases. Blocks and write buffers have the rest, and
    /// what they leave of it goes to the tables as well. With the share of index and filter blocks (`high-prio-pool-ratio`) it must not come to more than 1.
    MEMORY_WRITE_BUFFER_RATIO: f64 = "state.backend.rocksdb.memory.write-buffer-ratio"
        .with_default("0.5")
        .accepting(is_share, SHARE);

    /// Share of the block cache for index and filter blocks; 0 treats them as other blocks. Any other share is read as half: the interface of RocksDB
    /// that is used has no way to set it.
    MEMORY_HIGH_PRIO_POOL_RATIO: f64 = "state.backend.rocksdb.memory.high-prio-pool-ratio"
        .with_default("0.1")
        .accepting(is_share, SHARE);

    /// Whether indexes and filters are cut into blocks, of which only those that are needed are in memory. For little memory beside much state.
    MEMORY_PARTITIONED_INDEX_FILTERS: bool = "state.backend.rocksdb.memory.partitioned-index-filters"
        .with_default("false");

    /// Local folders of the databases, by absolute paths; subtasks take several in turn. Unset: the folders for temporary files.
    LOCAL_DIR: Vec<String> = "state.backend.rocksdb.localdir"
        .with_old_keys(&["state.backend.rocksdb.checkpointdir"]);

    /// A set of options for a kind of disk. Options that are set one by one win.
    PREDEFINED_OPTIONS: PredefinedOptions = "state.backend.rocksdb.predefined-options".with_default("DEFAULT");

    /// Where timers are kept. Both are the same here: in the tables in front of the database, as far as they fit, and below.
    TIMER_SERVICE_FACTORY: TimerServiceFactory = "state.backend.rocksdb.timer-service.factory".with_default("ROCKSDB");

    /// Threads that bring files to and from checkpoint storage, for each subtask; a negative number shares one pool.
    TRANSFER_THREADS: i32 = "state.backend.rocksdb.checkpoint.transfer.thread.num"
        .with_default("4")
        .accepting(|count| *count != 0, "a whole number other than 0");

    /// Threads that flush and compact.
    THREADS: u32 = "state.backend.rocksdb.thread.num"
        .with_default("2")
        .accepting(|count| *count >= 1, AT_LEAST_ONE);

    /// Files that a database keeps open; -1 is no limit.
    FILES_OPEN: i32 = "state.backend.rocksdb.files.open"
        .with_default("-1")
        .accepting(|count| *count == -1 || *count >= 1, "-1 or a whole number of at least 1");

    /// How files are merged. `FIFO` does not drop old files here, since that would be state.
    COMPACTION_STYLE: CompactionStyle = "state.backend.rocksdb.compaction.style".with_default("LEVEL");

    /// Whether the sizes of the levels follow the size of the last one.
    COMPACTION_DYNAMIC_LEVEL_SIZE: bool = "state.backend.rocksdb.compaction.level.use-dynamic-size"
        .with_default("false");

    /// Size of a file in the first level.
    COMPACTION_TARGET_FILE_SIZE: MemorySize = "state.backend.rocksdb.compaction.level.target-file-size-base"
        .with_default("64 mb")
        .accepting(is_positive, POSITIVE_SIZE);

    /// Size of all files in the first level.
    COMPACTION_MAX_LEVEL_SIZE: MemorySize = "state.backend.rocksdb.compaction.level.max-size-level-base"
        .with_default("256 mb")
        .accepting(is_positive, POSITIVE_SIZE);

    /// Compression of each level; the last one given holds for the levels below it.
    COMPRESSION_PER_LEVEL: Vec<String> = "state.backend.rocksdb.compression.per.level"
        .with_default("NO_COMPRESSION;NO_COMPRESSION;LZ4_COMPRESSION")
        .accepting(
            |names| are_compressions(names),
            "a list of compressions of RocksDB, such as `LZ4_COMPRESSION`, `ZSTD_COMPRESSION` or `NO_COMPRESSION`",
        );

    /// Size of a write buffer.
    WRITE_BUFFER_SIZE: MemorySize = "state.backend.rocksdb.writebuffer.size"
        .with_default("64 mb")
        .accepting(is_positive, POSITIVE_SIZE);

    /// Write buffers of a state.
    WRITE_BUFFER_COUNT: u32 = "state.backend.rocksdb.writebuffer.count"
        .with_default("2")
        .accepting(|count| *count >= 1, AT_LEAST_ONE);

    /// Write buffers that are merged before they are flushed.
    WRITE_BUFFERS_TO_MERGE: u32 = "state.backend.rocksdb.writebuffer.number-to-merge"
        .with_default("1")
        .accepting(|count| *count >= 1, AT_LEAST_ONE);

    /// Size of a block of data.
    BLOCK_SIZE: MemorySize = "state.backend.rocksdb.block.blocksize"
        .with_default("4 kb")
        .accepting(is_positive, POSITIVE_SIZE);

    /// Size of a block of an index or a filter, where these are partitioned.
    METADATA_BLOCK_SIZE: MemorySize = "state.backend.rocksdb.block.metadata-blocksize"
        .with_default("4 kb")
        .accepting(is_positive, POSITIVE_SIZE);

    /// Block cache of each subtask, where memory is not bounded by one of the options above; 0: none.
    BLOCK_CACHE_SIZE: MemorySize = "state.backend.rocksdb.block.cache-size".with_default("8 mb");

    /// Size of what is sorted at once where state that came in the canonical form is brought into the databases: the larger, the fewer files
    /// overlap. 0 is as much as a file has.
    WRITE_BATCH_SIZE: MemorySize = "state.backend.rocksdb.write-batch-size".with_default("2 mb");

    /// Whether files have bloom filters. Without, a key is looked for in a block of each file that may have it.
    USE_BLOOM_FILTER: bool = "state.backend.rocksdb.use-bloom-filter".with_default("true");

    /// Bits of a bloom filter for each key.
    BLOOM_FILTER_BITS_PER_KEY: f64 = "state.backend.rocksdb.bloom-filter.bits-per-key"
        .with_default("10.0")
        .accepting(|bits| *bits > 0.0, "a number of more than 0");

    /// Whether bloom filters are of the old kind, one a block. RocksDB does not write that kind any more.
    BLOOM_FILTER_BLOCK_BASED: bool = "state.backend.rocksdb.bloom-filter.block-based-mode".with_default("false");

    /// Entries that a compaction drops or keeps by their time to live before it looks at the clock again.
    TTL_QUERY_TIME_AFTER_ENTRIES: u64 = "state.backend.rocksdb.compaction.filter.query-time-after-num-entries"
        .with_default("1000");

    /// Files older than this are rewritten, so that entries past their time to live go; 0 switches it off.
    TTL_PERIODIC_COMPACTION: Duration = "state.backend.rocksdb.compaction.filter.periodic-compaction-time"
        .with_default("30 d");

    /// How much RocksDB writes to its own log.
    LOG_LEVEL: RocksDbLogLevel = "state.backend.rocksdb.log.level".with_default("INFO");

    /// Folder of RocksDB's own log, which stays there. Unset: beside the database, and gone with it.
    LOG_DIR: String = "state.backend.rocksdb.log.dir";

    /// Size at which RocksDB begins a new file of its log; 0 never does.
    LOG_MAX_FILE_SIZE: MemorySize = "state.backend.rocksdb.log.max-file-size".with_default("25 mb");

    /// Files of its log that RocksDB keeps.
    LOG_FILES: u32 = "state.backend.rocksdb.log.file-num"
        .with_default("4")
        .accepting(|count| *count >= 1, AT_LEAST_ONE);

    /// Whether a property or counter of RocksDB is a metric, by its name in Flink (`estimate-num-keys`, `block-cache-hit`, ...).
    /// Flink's default is false.
    METRICS: bool = "state.backend.rocksdb.metrics.<name>".with_default("true");
}
