//! The memory of the process for this backend: one budget for tables, blocks and write buffers.
//!
//! # How the budget is divided
//! As in Flink, all databases of a process share one block cache and one manager of write buffers, and write buffers are charged to the
//! cache. In Flink (`RocksDBMemoryControllerUtils`), with a budget `m` and a write-buffer ratio `r`, write buffers may overshoot their
//! manager's capacity by half, so that it is `2/3 r m`, and the cache's, which includes it, is `m - 1/3 r m`.
//!
//! Here what is written is collected in the tables in front of the database, and write buffers are hardly used. A sixth of the budget, as much as
//! Flink leaves by default, is for what nobody counts: what the allocator needs for blocks of many sizes, the tables of files, what is read and
//! sorted by the way. Some 56 MiB of that a process needs with any budget, so that it is these where they are more, up to two fifths. Of the rest the tables have the share `r`, and the cache, blocks with write buffers, has what is left. Whatever of that the
//! cache does not use the tables may use as well. Memory that the tables have given back and the process keeps for them counts as theirs. The capacity of the write buffers' manager is Flink's, and no more than that of the cache.

use super::predefined::Values;
use super::share::{Shares, TableShare};
use super::{PREFIX, machine, option, values};
use millpond_backend_api::{BackendConfig, BackendError, BackendErrorKind, BackendResult};
use rocksdb::{Cache, LruCacheOptions, WriteBufferManager};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Whose memory it is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Budget {
    /// So much for each worker thread. In a process there are as many as the largest parallelism, or as the second number if that
    /// is less.
    PerSlot(u64, Option<u32>),
    /// So much in the process.
    Process(u64),
    /// No bound for the process: write buffers and block caches of each state have the sizes that are set for them.
    Unmanaged,
}

/// The sizes and shares of memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemoryOptions {
    /// What all states of the process share.
    pub budget: Budget,
    write_buffer_ratio: f64,
    high_prio_pool_ratio: f64,
    pub(super) write_buffer_bytes: u64,
    pub(super) write_buffers: i32,
    block_cache_bytes: u64,
}

/// One part of so many of the budget is for what is not counted, at the least.
const UNCOUNTED_SHARE: u64 = 6;
/// What a process needs beside what is counted, with any budget; of small ones it gets two fifths.
const UNCOUNTED_BYTES: u64 = 56 << 20;

const MANAGED_SIZE: &str = "taskmanager.memory.managed.size";
const MANAGED_FRACTION: &str = "taskmanager.memory.managed.fraction";
const SLOTS: &str = "taskmanager.numberOfTaskSlots";

impl MemoryOptions {
    /// Reads the options, with what they are in a predefined set.
    ///
    /// A size fixed for each slot wins over managed memory, and that over a size fixed for the process, as in Flink.
    ///
    /// # Errors
    /// [`Configuration`](millpond_backend_api::BackendErrorKind::Configuration) for a value that is not valid, and for shares that come to more
    /// than all of the memory, also where they share none: as in Flink, a configuration is valid or not by itself.
    pub(super) fn read(config: &BackendConfig, set: &Values) -> BackendResult<Self> {
        let is_managed = option(config, "memory.managed", values::flag)?.unwrap_or(true);
        let per_slot = option(config, "memory.fixed-per-slot", values::positive_size)?;
        let per_process = option(config, "memory.fixed-per-tm", values::positive_size)?;
        let slots = values::find(config, &[SLOTS], values::count)?;
        let managed = values::find(config, &[MANAGED_SIZE], values::positive_size)?;
        let fraction = values::find(config, &[MANAGED_FRACTION], values::share)?.unwrap_or(0.4);
        let budget = match (per_slot, is_managed, per_process) {
            (Some(bytes), _, _) => Budget::PerSlot(bytes, slots.and_then(|slots| u32::try_from(slots).ok())),
            (None, true, _) => {
                Budget::Process(managed.unwrap_or_else(|| share_of(machine::memory_bytes(), fraction)))
            }
            (None, false, Some(bytes)) => Budget::Process(bytes),
            (None, false, None) => Budget::Unmanaged,
        };
        let write_buffer_ratio = option(config, "memory.write-buffer-ratio", values::share)?.unwrap_or(0.5);
        let high_prio_pool_ratio =
            option(config, "memory.high-prio-pool-ratio", values::share)?.unwrap_or(0.1);
        // Decimal fractions are not exact: 0.1 and 0.9 are all of it.
        if write_buffer_ratio + high_prio_pool_ratio > 1.0 + 1e-9 {
            return Err(more_than_all(write_buffer_ratio, high_prio_pool_ratio));
        }
        Ok(Self {
            budget,
            write_buffer_ratio,
            high_prio_pool_ratio,
            write_buffer_bytes: option(config, "writebuffer.size", values::positive_size)?
                .unwrap_or(set.write_buffer_bytes),
            write_buffers: option(config, "writebuffer.count", values::count)?.unwrap_or(set.write_buffers),
            block_cache_bytes: option(config, "block.cache-size", values::size)?
                .unwrap_or(set.block_cache_bytes),
        })
    }

    /// What tables and cache have of a budget of `bytes`.
    fn counted_bytes(bytes: u64) -> u64 {
        let needed = UNCOUNTED_BYTES.min(bytes / 5 * 2);
        bytes - needed.max(bytes / UNCOUNTED_SHARE)
    }

    /// The capacity of the cache, for blocks and write buffers together, of a budget of `bytes`.
    fn cache_bytes(&self, bytes: u64) -> u64 {
        share_of(Self::counted_bytes(bytes), 1.0 - self.write_buffer_ratio)
    }

    /// How far write buffers may grow before they are flushed, of a budget of `bytes`.
    fn write_buffer_manager_bytes(&self, bytes: u64) -> u64 {
        share_of(bytes, self.write_buffer_ratio * 2.0 / 3.0).min(self.cache_bytes(bytes))
    }

    /// The most that the tables of a state take where there is no budget: as much as its write buffers do in Flink.
    fn unmanaged_table_bytes(&self) -> u64 {
        let buffers = u64::try_from(self.write_buffers).unwrap_or(1);
        self.write_buffer_bytes.saturating_mul(buffers)
    }
}

/// The error for shares of the memory that come to more than all of it.
#[cold]
fn more_than_all(write_buffer_ratio: f64, high_prio_pool_ratio: f64) -> BackendError {
    BackendError::new(
        BackendErrorKind::Configuration,
        format!(
            "{PREFIX}memory.write-buffer-ratio ({write_buffer_ratio}) and {PREFIX}memory.high-prio-pool-ratio ({high_prio_pool_ratio}) come to more \
             than 1, expected shares of the same memory: lower one of them (they are 0.5 and 0.1 where they are not set)"
        ),
    )
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "sizes of memory are far below 2^53, and the share is from 0 to 1"
)]
fn share_of(bytes: u64, share: f64) -> u64 {
    (bytes as f64 * share) as u64
}

/// The memory of the process for this backend. Clones share it, and so do all that were made from the same options.
#[derive(Clone, Debug)]
pub struct Memory {
    options: MemoryOptions,
    pool: Option<Arc<Pool>>,
}

/// What the databases of a process share.
pub(super) struct Pool {
    options: MemoryOptions,
    budget: AtomicU64,
    pub(super) cache: Cache,
    pub(super) write_buffers: WriteBufferManager,
    pub(super) shares: Mutex<Shares>,
}

/// The pools that somebody uses.
static POOLS: Mutex<Vec<Weak<Pool>>> = Mutex::new(Vec::new());

impl Memory {
    /// The memory that `options` describe: that of somebody who uses the same, else a new one.
    #[must_use]
    pub fn of(options: &MemoryOptions) -> Self {
        let options = *options;
        let first = match options.budget {
            Budget::PerSlot(bytes, _) | Budget::Process(bytes) => bytes,
            Budget::Unmanaged => return Self { options, pool: None },
        };
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| pool.strong_count() > 0);
        // Sizes that are set for a state have no part in it.
        let is_same = |pool: &Arc<Pool>| {
            let other = &pool.options;
            (other.budget, other.write_buffer_ratio) == (options.budget, options.write_buffer_ratio)
        };
        let pool = pools.iter().filter_map(Weak::upgrade).find(is_same);
        let pool = pool.unwrap_or_else(|| {
            let pool = Arc::new(Pool::new(options, first));
            pools.push(Arc::downgrade(&pool));
            pool
        });
        Self {
            options,
            pool: Some(pool),
        }
    }

    /// The bytes for everything; `None` where there is no bound.
    #[must_use]
    pub fn budget_bytes(&self) -> Option<u64> {
        self.pool.as_ref().map(|pool| pool.budget_bytes())
    }

    /// The bytes that all tables of the process may take now: what the cache, blocks and write buffers, leaves of the budget's counted part. `None` where
    /// there is no bound.
    #[must_use]
    pub fn table_limit_bytes(&self) -> Option<u64> {
        self.pool.as_ref().map(|pool| pool.table_limit_bytes())
    }

    /// Takes part in it with the tables of one keyed state, of an operator with `parallelism` subtasks, until the share is dropped.
    #[must_use]
    pub fn open_tables(&self, parallelism: u32) -> TableShare {
        match &self.pool {
            Some(pool) => {
                pool.widen(parallelism);
                TableShare::of_pool(Arc::clone(pool))
            }
            None => TableShare::alone(self.options.unmanaged_table_bytes()),
        }
    }

    /// The cache of blocks for a database: that of the process, or one of its own. `None`: none.
    pub(super) fn block_cache(&self) -> Option<Cache> {
        match &self.pool {
            Some(pool) => Some(pool.cache.clone()),
            None => usize::try_from(self.options.block_cache_bytes)
                .ok()
                .filter(|bytes| *bytes > 0)
                .map(new_cache),
        }
    }

    /// What bounds the write buffers of all databases.
    pub(super) fn write_buffers(&self) -> Option<&WriteBufferManager> {
        self.pool.as_ref().map(|pool| &pool.write_buffers)
    }

    /// Whether index and filter blocks stay in the cache longer than others. How much longer is not for us to say: RocksDB's interface
    /// for C, and so for Rust, has its default of half of the cache for them and no way to change it.
    pub(super) fn prefers_index_blocks(&self) -> bool {
        self.options.high_prio_pool_ratio > 0.0
    }
}

/// The least that a part of a cache has. Parts have locks of their own, and a block that is larger than one is not cached at all: the filter of a full
/// file has a few MiB, and would be read again for every look-up.
const CACHE_PART_BYTES_MIN: usize = 64 << 20;
/// The most parts of a cache, as a power of two.
const CACHE_PART_BITS_MAX: u32 = 4;

/// A cache of blocks of `bytes`.
fn new_cache(bytes: usize) -> Cache {
    let parts = (bytes / CACHE_PART_BYTES_MIN)
        .max(1)
        .ilog2()
        .min(CACHE_PART_BITS_MAX);
    let mut options = LruCacheOptions::default();
    options.set_capacity(bytes);
    options.set_num_shard_bits(i32::try_from(parts).unwrap_or(0));
    Cache::new_lru_cache_opts(&options)
}

impl Pool {
    fn new(options: MemoryOptions, bytes: u64) -> Self {
        let cache = new_cache(to_usize(options.cache_bytes(bytes)));
        let write_buffers = WriteBufferManager::new_write_buffer_manager_with_cache(
            to_usize(options.write_buffer_manager_bytes(bytes)),
            false,
            cache.clone(),
        );
        Self {
            options,
            budget: AtomicU64::new(bytes),
            cache,
            write_buffers,
            shares: Mutex::default(),
        }
    }

    pub(super) fn budget_bytes(&self) -> u64 {
        self.budget.load(Ordering::Relaxed)
    }

    pub(super) fn table_limit_bytes(&self) -> u64 {
        MemoryOptions::counted_bytes(self.budget_bytes()).saturating_sub(self.cache.get_usage() as u64)
    }

    /// Takes note of an operator with `parallelism` subtasks: the more worker threads, the larger a budget that is given for each.
    fn widen(&self, parallelism: u32) {
        let Budget::PerSlot(bytes, slots) = self.options.budget else {
            return;
        };
        let threads = slots.map_or(parallelism, |slots| slots.min(parallelism)).max(1);
        let wanted = bytes.saturating_mul(u64::from(threads));
        // Who holds the lock changes all three sizes.
        let _shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if self.budget.fetch_max(wanted, Ordering::Relaxed) < wanted {
            self.cache
                .clone()
                .set_capacity(to_usize(self.options.cache_bytes(wanted)));
            self.write_buffers
                .set_buffer_size(to_usize(self.options.write_buffer_manager_bytes(wanted)));
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("budget", &self.budget)
            .field("cache_usage", &self.cache.get_usage())
            .finish_non_exhaustive()
    }
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
