//! What RocksDB tells of itself, as metrics of a keyed state.
//!
//! Each figure has a switch, `state.backend.rocksdb.metrics.<name>`, under its name in Flink. Flink has all of them off. Here those are on
//! that cost next to nothing; the others wait for locks that reads take, or go through the files one by one.

use super::{PREFIX, values};
use millpond_backend_api::{BackendConfig, BackendResult};
use rocksdb::properties::{self, PropName};
use rocksdb::statistics::Ticker;
use rocksdb::{AsColumnFamilyRef, DB};

/// What RocksDB is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// For each of [`ALL`] whether it is asked for.
    on: Vec<bool>,
}

/// A figure.
struct Figure {
    /// Its name in the configuration.
    switch: &'static str,
    /// Its name as a metric: the unit is last.
    metric: &'static str,
    source: Source,
    by_default: bool,
}

/// Where a figure comes from.
enum Source {
    /// A property of each column family; that of the database is the sum.
    Sum(&'static PropName),
    /// A property that is the same for all column families.
    Any(&'static PropName),
    /// The number of files in each level; the level stands behind the name.
    Levels,
    /// A counter of the database.
    Counter(Ticker),
}

/// The levels of a database.
const LEVELS: usize = 7;

use Source::{Any, Counter, Levels, Sum};

/// A row for each figure: its switch and its metric, where it comes from, and whether it is on if nobody says.
macro_rules! figures {
    ($($switch:literal => $metric:literal, $source:expr, $by_default:literal;)+) => {
        const ALL: &[Figure] = &[$(Figure {
            switch: $switch,
            metric: $metric,
            source: $source,
            by_default: $by_default,
        }),+];
    };
}

figures! {
    "num-immutable-mem-table" => "rocksdb_immutable_mem_tables", Sum(properties::NUM_IMMUTABLE_MEM_TABLE), true;
    "mem-table-flush-pending" => "rocksdb_flushes_pending", Sum(properties::MEM_TABLE_FLUSH_PENDING), true;
    "compaction-pending" => "rocksdb_compactions_pending", Sum(properties::COMPACTION_PENDING), true;
    "background-errors" => "rocksdb_background_errors", Any(properties::BACKGROUND_ERRORS), true;
    "cur-size-active-mem-table" => "rocksdb_active_mem_table_bytes", Sum(properties::CUR_SIZE_ACTIVE_MEM_TABLE), true;
    "cur-size-all-mem-tables" => "rocksdb_mem_table_bytes", Sum(properties::CUR_SIZE_ALL_MEM_TABLES), true;
    "size-all-mem-tables" => "rocksdb_mem_table_with_pinned_bytes", Sum(properties::SIZE_ALL_MEM_TABLES), true;
    "num-entries-active-mem-table" => "rocksdb_active_mem_table_entries", Sum(properties::NUM_ENTRIES_ACTIVE_MEM_TABLE), false;
    "num-entries-imm-mem-tables" => "rocksdb_immutable_mem_table_entries", Sum(properties::NUM_ENTRIES_IMM_MEM_TABLES), false;
    "num-deletes-active-mem-table" => "rocksdb_active_mem_table_deletes", Sum(properties::NUM_DELETES_ACTIVE_MEM_TABLE), false;
    "num-deletes-imm-mem-tables" => "rocksdb_immutable_mem_table_deletes", Sum(properties::NUM_DELETES_IMM_MEM_TABLES), false;
    "estimate-num-keys" => "rocksdb_estimated_keys", Sum(properties::ESTIMATE_NUM_KEYS), true;
    "estimate-table-readers-mem" => "rocksdb_table_reader_bytes", Sum(properties::ESTIMATE_TABLE_READERS_MEM), false;
    "num-snapshots" => "rocksdb_snapshots", Any(properties::NUM_SNAPSHOTS), false;
    "num-live-versions" => "rocksdb_live_versions", Sum(properties::NUM_LIVE_VERSIONS), false;
    "estimate-live-data-size" => "rocksdb_estimated_live_data_bytes", Sum(properties::ESTIMATE_LIVE_DATA_SIZE), false;
    "total-sst-files-size" => "rocksdb_all_sst_file_bytes", Sum(properties::TOTAL_SST_FILES_SIZE), false;
    "live-sst-files-size" => "rocksdb_sst_file_bytes", Sum(properties::LIVE_SST_FILES_SIZE), true;
    "estimate-pending-compaction-bytes" => "rocksdb_compaction_pending_bytes", Sum(properties::ESTIMATE_PENDING_COMPACTION_BYTES), true;
    "num-running-compactions" => "rocksdb_compactions_running", Any(properties::NUM_RUNNING_COMPACTIONS), true;
    "num-running-flushes" => "rocksdb_flushes_running", Any(properties::NUM_RUNNING_FLUSHES), true;
    "actual-delayed-write-rate" => "rocksdb_delayed_write_rate_bytes", Any(properties::ACTUAL_DELAYED_WRITE_RATE), true;
    "is-write-stopped" => "rocksdb_write_stopped", Any(properties::IS_WRITE_STOPPED), true;
    "block-cache-capacity" => "rocksdb_block_cache_capacity_bytes", Any(properties::BLOCK_CACHE_CAPACITY), true;
    "block-cache-usage" => "rocksdb_block_cache_bytes", Any(properties::BLOCK_CACHE_USAGE), true;
    "block-cache-pinned-usage" => "rocksdb_block_cache_pinned_bytes", Any(properties::BLOCK_CACHE_PINNED_USAGE), true;
    "num-files-at-level" => "rocksdb_files_at_level", Levels, true;
    "block-cache-hit" => "rocksdb_block_cache_hits", Counter(Ticker::BlockCacheHit), true;
    "block-cache-miss" => "rocksdb_block_cache_misses", Counter(Ticker::BlockCacheMiss), true;
    "bloom-filter-useful" => "rocksdb_bloom_filter_useful", Counter(Ticker::BloomFilterUseful), true;
    "bloom-filter-full-positive" => "rocksdb_bloom_filter_positives", Counter(Ticker::BloomFilterFullPositive), true;
    "bloom-filter-full-true-positive" => "rocksdb_bloom_filter_true_positives", Counter(Ticker::BloomFilterFullTruePositive), true;
    "bytes-read" => "rocksdb_read_bytes", Counter(Ticker::BytesRead), true;
    "iter-bytes-read" => "rocksdb_iterator_read_bytes", Counter(Ticker::IterBytesRead), true;
    "bytes-written" => "rocksdb_written_bytes", Counter(Ticker::BytesWritten), true;
    "compaction-read-bytes" => "rocksdb_compaction_read_bytes", Counter(Ticker::CompactReadBytes), true;
    "compaction-write-bytes" => "rocksdb_compaction_written_bytes", Counter(Ticker::CompactWriteBytes), true;
    "stall-micros" => "rocksdb_stalled_micros", Counter(Ticker::StallMicros), true;
}

impl Figures {
    /// Reads the switches.
    ///
    /// # Errors
    /// For a value that is neither `true` nor `false`.
    pub(super) fn read(config: &BackendConfig) -> BackendResult<Self> {
        let on = ALL.iter().map(|figure| {
            let key = format!("{PREFIX}metrics.{}", figure.switch);
            let set = values::find(config, &[&key], values::flag)?;
            Ok(set.unwrap_or(figure.by_default))
        });
        Ok(Self {
            on: on.collect::<BackendResult<_>>()?,
        })
    }

    fn asked(&self) -> impl Iterator<Item = &'static Figure> + '_ {
        ALL.iter()
            .zip(&self.on)
            .filter(|(_, on)| **on)
            .map(|(figure, _)| figure)
    }

    /// Whether the database must count.
    #[must_use]
    pub(super) fn need_statistics(&self) -> bool {
        self.asked().any(|figure| matches!(figure.source, Counter(_)))
    }

    /// The figures of `db` with its column families `families`, which was opened with `options`. What RocksDB does not tell is left out.
    ///
    /// A cache that is shared tells what all databases of the process have in it.
    #[must_use]
    pub fn of(
        &self,
        db: &DB,
        families: &[impl AsColumnFamilyRef],
        options: &rocksdb::Options,
    ) -> Vec<(String, f64)> {
        let mut figures = Vec::new();
        for figure in self.asked() {
            let name = figure.metric.to_owned();
            let value = match &figure.source {
                Sum(property) => sum(db, families, property),
                Any(property) => families.first().and_then(|family| one(db, family, property)),
                Counter(ticker) => Some(options.get_ticker_count(*ticker)),
                Levels => {
                    for level in 0..LEVELS {
                        let property = properties::num_files_at_level(level);
                        let files = sum(db, families, &property);
                        figures.extend(files.map(|files| (format!("{name}_{level}"), number(files))));
                    }
                    None
                }
            };
            figures.extend(value.map(|value| (name, number(value))));
        }
        figures
    }
}

fn one(db: &DB, family: &impl AsColumnFamilyRef, property: &PropName) -> Option<u64> {
    db.property_int_value_cf(family, property).ok().flatten()
}

/// `None` where no column family has the property.
fn sum(db: &DB, families: &[impl AsColumnFamilyRef], property: &PropName) -> Option<u64> {
    families
        .iter()
        .filter_map(|family| one(db, family, property))
        .reduce(u64::saturating_add)
}

#[expect(clippy::cast_precision_loss, reason = "metrics are numbers of this kind")]
fn number(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests;
