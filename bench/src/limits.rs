//! What the machine gives without an engine: the limits that workloads are held against.

use crate::args::{Limit, LimitArgs};
use crate::bench::{Bench, print};
use crate::disk::plain_write;
use crate::report::{progress, round};
use crate::work::Work;
use millpond_engine::Result;

/// Runs each limit and prints a JSON line for it; whether all results were right.
///
/// # Errors
/// Those of the limits.
pub(crate) fn run(args: &LimitArgs) -> Result<bool> {
    let (records, keys) = (args.records, args.keys);
    let mut all_right = true;
    let is_wanted = |limit| args.only.contains(&limit);
    for (limit, work) in [
        (Limit::Exchange, Work::Exchange { records, keys }),
        (Limit::KeyedCount, Work::KeyedCount { records, keys }),
    ] {
        if !is_wanted(limit) {
            continue;
        }
        let bench = Bench::new(args.run(), work).warmed_up_by(records / 10);
        all_right &= bench.only_limit().run()?;
    }
    let folder = crate::scratch::new_folder(args.dir.as_deref())?;
    for run in 1..=args.runs {
        #[cfg(feature = "rocksdb")]
        if is_wanted(Limit::Rocksdb) {
            progress(&format!("bare RocksDB: run {run} of {}", args.runs));
            all_right &= bare_rocksdb::run(args, run, &folder.path().join("rocksdb"))?;
        }
        if !is_wanted(Limit::Write) {
            continue;
        }
        progress(&format!("plain write: run {run} of {}", args.runs));
        let bytes = args.write_mb * 1_000_000;
        let took = plain_write(folder.path(), bytes)?.as_secs_f64();
        print(&serde_json::json!({
            "engine": "plain write",
            "workload": "write",
            "run": run,
            "bytes": bytes,
            "wall_s": round(took, 1e4),
            "mb_per_s": round(megabytes(bytes) / took.max(1e-9), 1e1),
        }))?;
    }
    Ok(all_right)
}

#[expect(clippy::cast_precision_loss, reason = "nobody writes 2^53 bytes")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// The same counts in a loop over RocksDB: a get and a put a record, one thread, no log.
#[cfg(feature = "rocksdb")]
mod bare_rocksdb {
    use super::print;
    use crate::args::LimitArgs;
    use crate::generate::{Tally, key_of};
    use crate::probe::Probe;
    use crate::process;
    use crate::report::{Cost, ResultFields};
    use crate::work::Work;
    use millpond_engine::{Error, ErrorKind, Result};
    use rocksdb::{BlockBasedOptions, Cache, DB, Options, WriteOptions};
    use std::path::Path;

    /// Memory for blocks, and for write buffers.
    const CACHE_BYTES: usize = 512 << 20;
    const WRITE_BUFFER_BYTES: usize = 64 << 20;

    pub(super) fn run(args: &LimitArgs, run: u32, folder: &Path) -> Result<bool> {
        let failed =
            |error: rocksdb::Error| Error::new(ErrorKind::JobFailed, format!("bare RocksDB: {error}"));
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES));
        blocks.set_bloom_filter(10.0, false);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_write_buffer_size(WRITE_BUFFER_BYTES);
        options.set_max_write_buffer_number(4);
        options.increase_parallelism(2);
        options.set_block_based_table_factory(&blocks);
        let mut write = WriteOptions::default();
        write.disable_wal(true);
        let db = DB::open(&options, folder).map_err(failed)?;
        let probe = Probe::new();
        process::reset_peak();
        probe.started();
        let mut tally = Tally::default();
        for index in 0..args.rocksdb_records {
            let key = key_of(index, args.keys);
            let bytes = key.to_le_bytes();
            let before = db.get_pinned(bytes).map_err(failed)?;
            let before = before.and_then(|value| value.first_chunk::<8>().copied());
            let count = u64::from_le_bytes(before.unwrap_or_default()) + 1;
            db.put_opt(bytes, count.to_le_bytes(), &write).map_err(failed)?;
            tally.add(key, count);
        }
        probe.wrote(tally);
        let measured = probe.measured();
        let vm_hwm_mb = process::peak_mb();
        drop(db);
        let work = Work::KeyedCount {
            records: args.rocksdb_records,
            keys: args.keys,
        };
        let expected = if args.verify { work.expected()? } else { None };
        let result = ResultFields::of(measured.tally, expected);
        let is_right = result.verified != Some(false);
        // What is in the way of the next run goes.
        let _ = DB::destroy(&Options::default(), folder);
        print(&Line {
            engine: "rocksdb",
            workload: "keyed-count",
            run,
            parallelism: 1,
            keys: args.keys,
            records: args.rocksdb_records,
            cost: Cost::of(&measured, args.rocksdb_records),
            vm_hwm_mb,
            result,
        })?;
        Ok(is_right)
    }

    #[derive(serde::Serialize)]
    struct Line {
        engine: &'static str,
        workload: &'static str,
        run: u32,
        parallelism: u32,
        keys: u64,
        records: u64,
        #[serde(flatten)]
        cost: Cost,
        vm_hwm_mb: u64,
        #[serde(flatten)]
        result: ResultFields,
    }
}
