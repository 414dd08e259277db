//! Where full pages and large indexes come from: pools of the process that keep freed blocks for what comes next.
//!
//! While a snapshot is written, pages that are changed are copied, or what was there is kept in pages of a log; all of it is freed when it ends. Through
//! the system's allocator each such round would give the memory back and fault it in again, page by page of the kernel. A pool takes memory in regions,
//! asks for huge pages, which also makes random access cheaper, and hands freed blocks out again, those of the lowest region first. Of free
//! blocks the memory of as many is kept as is worth a quarter of what is in use, and a little; the system gets back that of the others. A
//! region without blocks in use is given back once there are more free blocks than blocks in use. The system is asked for the memory that
//! will be needed next beside the thread that needs it, an eighth of what is in use ahead: that thread would otherwise wait for it at each first touch, while it is
//! cleared, and in a virtual machine fetched from the host. There is a pool for each power of two from [`BLOCK_BYTES_MIN`] on, the first of them for pages.
#![expect(
    unsafe_code,
    reason = "takes blocks back by their address, and hands memory out that may move between threads"
)]

use super::page::PAGE_BYTES;
use memmap2::{MmapMut, MmapRaw};
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The smallest block that pools have.
pub(super) const BLOCK_BYTES_MIN: usize = PAGE_BYTES;

/// The bytes of a region, unless a single block has more.
const REGION_BYTES: usize = 32 << 20;

/// Memory for one part of so many of what is in use is made ready ahead.
const READY_SHARE: usize = 8;

/// Free pages of so many bytes keep their memory however little is in use. Larger blocks come and go more rarely.
const KEPT_BYTES: usize = 8 << 20;

/// The same for each size of larger blocks.
const KEPT_LARGER_BYTES: usize = 1 << 20;

/// The bytes of all free blocks that keep their memory.
static BYTES_KEPT: AtomicUsize = AtomicUsize::new(0);

/// The bytes of memory that the process's tables have given back and that are kept for what they take next: beside what they have, this
/// is memory of the process, too.
#[must_use]
pub fn free_bytes_kept() -> usize {
    BYTES_KEPT.load(Ordering::Relaxed)
}

/// Gives memory that tables have given back and that is kept for what they take next to the system, about `bytes` of it or all that there is; returns how much it
/// was. Takes some 10 microseconds for each 64 KiB, and whoever takes a block meanwhile waits.
pub fn release_free_bytes(bytes: usize) -> usize {
    let mut released = 0;
    for pool in &POOLS {
        if released >= bytes || free_bytes_kept() == 0 {
            break;
        }
        let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
        released += pool.release(bytes - released);
    }
    released
}

/// How much of a region is made ready in one call, during which the process maps nothing else, and the least that is worth a thread: a huge page.
const READY_BYTES: usize = 2 << 20;

/// Pools of blocks of [`BLOCK_BYTES_MIN`], twice as many bytes, and so on; the last one's are larger than any memory.
static POOLS: [Mutex<Pool>; POOL_COUNT] = [const { Mutex::new(Pool::EMPTY) }; POOL_COUNT];

const POOL_COUNT: usize = 32;

/// The memory of the process's blocks of one size.
struct Pool {
    /// The size of a block, known when one is taken first.
    block_bytes: usize,
    /// The blocks of a region.
    region_blocks: usize,
    /// Regions by their address.
    regions: BTreeMap<usize, Region>,
    /// Regions below this address have no free block.
    full_below: usize,
    /// How many regions have all of their blocks free.
    unused: usize,
    /// How many blocks are handed out.
    in_use: usize,
    /// How many blocks of the regions are not handed out.
    free: usize,
    /// How many of those have memory.
    kept: usize,
}

/// Consecutive blocks in one mapping.
struct Region {
    memory: Arc<MmapRaw>,
    /// The indexes of the blocks that are not handed out and have memory, which they had been handed out with.
    kept: Vec<u16>,
    /// The indexes of the blocks that are not handed out and get their memory when they are touched, all 0.
    bare: Vec<u16>,
    /// How far the memory is ready, or is being made so.
    ready_to: usize,
}

/// The pool of blocks of `bytes`, if there is one.
fn pool(bytes: usize) -> Option<MutexGuard<'static, Pool>> {
    if !bytes.is_power_of_two() {
        return None;
    }
    let number = bytes
        .trailing_zeros()
        .checked_sub(BLOCK_BYTES_MIN.trailing_zeros())?;
    let mut pool = POOLS
        .get(number as usize)?
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if pool.block_bytes == 0 {
        *pool = Pool::new(bytes);
    }
    Some(pool)
}

/// A block of a pool, aligned to at least 64, all bytes of which are initialised.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) start: NonNull<u8>,
    /// Whether all bytes are 0, since nobody has used the block.
    pub(super) is_zero: bool,
}

/// A block of `bytes`, a power of two from [`BLOCK_BYTES_MIN`] on. `None` where the system has no memory.
pub(super) fn take(bytes: usize) -> Option<Block> {
    pool(bytes)?.take()
}

/// Gives a block back.
///
/// # Safety
/// `block` came from [`take`] with the same `bytes`, was not given back since, and nobody accesses it any more.
pub(super) unsafe fn give_back(block: NonNull<u8>, bytes: usize) {
    let unused = pool(bytes).and_then(|mut pool| pool.give_back(block));
    // Unmapped outside of the lock.
    drop(unused);
}

impl Pool {
    const EMPTY: Self = Self {
        block_bytes: 0,
        region_blocks: 0,
        regions: BTreeMap::new(),
        full_below: 0,
        unused: 0,
        in_use: 0,
        free: 0,
        kept: 0,
    };

    fn new(block_bytes: usize) -> Self {
        Self {
            block_bytes,
            region_blocks: (REGION_BYTES / block_bytes).max(1),
            ..Self::EMPTY
        }
    }

    /// How many free blocks keep their memory however few are in use.
    fn least_kept(&self) -> usize {
        let bytes = if self.block_bytes == PAGE_BYTES {
            KEPT_BYTES
        } else {
            KEPT_LARGER_BYTES
        };
        bytes / self.block_bytes
    }

    fn take(&mut self) -> Option<Block> {
        if self.free == 0 {
            let region = Region::map(self.region_blocks, self.block_bytes)?;
            let start = region.memory.as_ptr().addr();
            self.free += self.region_blocks;
            self.unused += 1;
            self.full_below = self.full_below.min(start);
            self.regions.insert(start, region);
        }
        let wants_kept = self.kept > 0;
        let mut from_lowest = self.regions.range_mut(self.full_below..);
        let (start, region) = from_lowest.find(|(_, region)| match wants_kept {
            true => !region.kept.is_empty(),
            false => !region.bare.is_empty(),
        })?;
        if !wants_kept {
            self.full_below = *start;
        }
        self.unused -= usize::from(region.free() == self.region_blocks);
        let ahead = self.in_use * self.block_bytes / READY_SHARE / READY_BYTES * READY_BYTES;
        let index = if wants_kept {
            self.kept -= 1;
            BYTES_KEPT.fetch_sub(self.block_bytes, Ordering::Relaxed);
            region.kept.pop()
        } else {
            let index = region.bare.pop();
            region.stay_ahead(usize::from(index?) * self.block_bytes, ahead);
            index
        };
        let index = usize::from(index?);
        self.free -= 1;
        self.in_use += 1;
        // The index is below the region's number of blocks.
        let start = NonNull::new(region.memory.as_mut_ptr().wrapping_add(index * self.block_bytes))?;
        Some(Block {
            start,
            is_zero: !wants_kept,
        })
    }

    /// Gives the memory of free blocks back, of the last regions first, until it is `bytes` or more, or there is none; returns how much it was.
    fn release(&mut self, bytes: usize) -> usize {
        let mut released = 0;
        for region in self.regions.values_mut().rev() {
            while released < bytes
                && let Some(index) = region.kept.last().copied()
                && region.give_up(usize::from(index) * self.block_bytes, self.block_bytes)
            {
                region.kept.pop();
                region.bare.push(index);
                self.kept -= 1;
                BYTES_KEPT.fetch_sub(self.block_bytes, Ordering::Relaxed);
                released += self.block_bytes;
            }
        }
        released
    }

    /// Takes a block back; returns a region if one is to be unmapped.
    fn give_back(&mut self, block: NonNull<u8>) -> Option<Region> {
        let address = block.as_ptr().addr();
        let least_kept = self.least_kept();
        let (start, region) = self.regions.range_mut(..=address).next_back()?;
        let index = u16::try_from((address - start) / self.block_bytes).ok()?;
        self.in_use -= 1;
        self.free += 1;
        if self.kept < self.in_use / 4 + least_kept || !region.give_up(address - start, self.block_bytes) {
            self.kept += 1;
            BYTES_KEPT.fetch_add(self.block_bytes, Ordering::Relaxed);
            region.kept.push(index);
        } else {
            region.bare.push(index);
        }
        self.full_below = self.full_below.min(*start);
        self.unused += usize::from(region.free() == self.region_blocks);
        if self.unused == 0 || self.free <= self.in_use + self.region_blocks {
            return None;
        }
        let mut regions = self.regions.iter();
        let (start, region) = regions.find(|(_, region)| region.free() == self.region_blocks)?;
        let start = *start;
        self.kept -= region.kept.len();
        BYTES_KEPT.fetch_sub(region.kept.len() * self.block_bytes, Ordering::Relaxed);
        self.unused -= 1;
        self.free -= self.region_blocks;
        self.regions.remove(&start)
    }
}

impl Region {
    fn map(blocks: usize, block_bytes: usize) -> Option<Self> {
        let memory = MmapMut::map_anon(blocks.checked_mul(block_bytes)?).ok()?;
        // A kernel without huge pages does as well without.
        #[cfg(target_os = "linux")]
        let _ = memory.advise(memmap2::Advice::HugePage);
        Some(Self {
            memory: Arc::new(memory.into()),
            kept: Vec::new(),
            bare: (0..u16::try_from(blocks).ok()?).rev().collect(),
            ready_to: 0,
        })
    }

    /// How many blocks are not handed out.
    fn free(&self) -> usize {
        self.kept.len() + self.bare.len()
    }

    /// Gives the memory of a block that nobody uses back to the system; whether that was done.
    fn give_up(&self, from: usize, len: usize) -> bool {
        #[cfg(target_os = "linux")]
        {
            // SAFETY: the block lies in the mapping, which is private and anonymous, so it reads as 0 afterwards. By the contract of `give_back` nobody accesses it any more.
            unsafe {
                self.memory
                    .unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, from, len)
            }
            .is_ok()
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (from, len);
            false
        }
    }

    /// Notes that the block at `position` is touched now, and sees to it that about `ahead` bytes behind it, a multiple of [`READY_BYTES`], are ready.
    fn stay_ahead(&mut self, position: usize, ahead: usize) {
        let len = self.memory.len();
        if ahead == 0 || self.ready_to >= len || position + ahead / 2 < self.ready_to {
            return;
        }
        // The block itself is touched before a thread could come to it.
        let from = self.ready_to.max((position / READY_BYTES + 1) * READY_BYTES);
        self.ready_to = (from + ahead).min(len);
        self.make_ready(from, self.ready_to);
    }

    /// Has the system provide the memory of a part, in a thread of its own. Without one, or on an older kernel, it comes when it is touched.
    fn make_ready(&self, from: usize, to: usize) {
        #[cfg(target_os = "linux")]
        {
            let memory = Arc::clone(&self.memory);
            let ready = move || {
                for from in (from..to).step_by(READY_BYTES) {
                    let len = READY_BYTES.min(to - from);
                    // Who is alone with the region needs no more of it.
                    if Arc::strong_count(&memory) == 1
                        || memory
                            .advise_range(memmap2::Advice::PopulateWrite, from, len)
                            .is_err()
                    {
                        return;
                    }
                }
            };
            let thread = std::thread::Builder::new().name("millpond-memory".to_owned());
            drop(thread.spawn(ready));
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (from, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_do_not_overlap_and_are_handed_out_again() {
        let mut pool = Pool::new(PAGE_BYTES);
        let mut blocks: Vec<_> = (0..1500).map(|_| pool.take().unwrap().start).collect();
        blocks.sort_unstable();
        let apart = |pair: &[NonNull<u8>]| pair[1].as_ptr().addr() - pair[0].as_ptr().addr() >= PAGE_BYTES;
        assert!(blocks.windows(2).all(apart));
        assert!(
            blocks
                .iter()
                .all(|block| block.as_ptr().addr().is_multiple_of(64))
        );
        assert_eq!((pool.in_use, pool.free, pool.regions.len()), (1500, 36, 3));
        for block in &blocks[..700] {
            assert!(pool.give_back(*block).is_none(), "less is free than in use");
        }
        for _ in 0..700 {
            let block = pool.take().unwrap().start;
            assert!(!blocks[700..].contains(&block));
        }
        assert_eq!(pool.regions.len(), 3);
    }

    #[test]
    fn memory_of_free_blocks_is_given_back_when_asked_and_is_there_again_for_the_next_block() {
        let mut pool = Pool::new(PAGE_BYTES);
        let blocks: Vec<_> = (0..700).map(|_| pool.take().unwrap().start).collect();
        for block in &blocks[100..] {
            // SAFETY: the block was taken just now.
            unsafe { block.write_bytes(1, PAGE_BYTES) };
            drop(pool.give_back(*block));
        }
        let kept = pool.kept;
        assert!(kept > 20, "{kept}");
        assert_eq!(pool.release(10 * PAGE_BYTES - 1), 10 * PAGE_BYTES);
        assert_eq!((pool.kept, pool.in_use), (kept - 10, 100));
        assert_eq!(pool.release(usize::MAX), (kept - 10) * PAGE_BYTES);
        assert_eq!((pool.kept, pool.release(1)), (0, 0));
        for _ in 100..700 {
            let block = pool.take().unwrap().start;
            assert!(!blocks[..100].contains(&block));
            // SAFETY: as above; memory that was given back reads as 0.
            assert_eq!(unsafe { block.read() }, 0);
        }
        assert_eq!((pool.in_use, pool.regions.len()), (700, 2));
    }

    #[test]
    fn memory_is_ready_an_eighth_ahead_of_what_is_in_use_and_no_further() {
        let mut pool = Pool::new(PAGE_BYTES);
        let mut ready_ahead = 0;
        for taken in 1..=3000 {
            let block = pool.take().unwrap().start;
            let (start, region) = pool.regions.range(..=block.as_ptr().addr()).next_back().unwrap();
            let position = block.as_ptr().addr() - start;
            let ahead = region.ready_to.saturating_sub(position);
            let most = taken * PAGE_BYTES / READY_SHARE * 3 / 2 + READY_BYTES;
            assert!(ahead <= most, "{taken}: {ahead}");
            assert!(region.ready_to <= region.memory.len());
            ready_ahead += usize::from(ahead > PAGE_BYTES);
        }
        // The first 16 MiB are not worth it.
        assert!(ready_ahead > 2000, "{ready_ahead}");
    }

    #[test]
    fn few_free_blocks_keep_their_memory_and_the_others_come_back_as_zeros() {
        let mut pool = Pool::new(PAGE_BYTES);
        let blocks: Vec<_> = (0..1400).map(|_| pool.take().unwrap().start).collect();
        for block in &blocks {
            // SAFETY: a block that was taken and not given back.
            unsafe { block.write_bytes(0xff, PAGE_BYTES) };
        }
        for (number, block) in blocks[..1000].iter().enumerate() {
            drop(pool.give_back(*block));
            let most = (1399 - number) / 4 + KEPT_BYTES / PAGE_BYTES;
            assert!(
                pool.kept <= most.max((number + 1).min(350 + KEPT_BYTES / PAGE_BYTES)),
                "{number}"
            );
        }
        let kept = pool.kept;
        assert!((100..=478).contains(&kept), "{kept}");
        let again: Vec<_> = (0..1000).map(|_| pool.take().unwrap().start).collect();
        // SAFETY: as above.
        let first_of = |block: &NonNull<u8>| unsafe { block.read() };
        let zeros = again.iter().filter(|block| first_of(block) == 0).count();
        assert_eq!(
            zeros,
            1000 - kept,
            "those that were kept come first, and as they were"
        );
        assert!(again[..kept].iter().all(|block| first_of(block) == 0xff));
        assert!(!again.iter().any(|block| blocks[1000..].contains(block)));
    }

    #[test]
    fn memory_goes_back_to_the_system_when_more_is_free_than_in_use() {
        let mut pool = Pool::new(PAGE_BYTES);
        let blocks: Vec<_> = (0..10 * pool.region_blocks)
            .map(|_| pool.take().unwrap().start)
            .collect();
        for (number, block) in blocks.iter().enumerate() {
            drop(pool.give_back(*block));
            let unused = pool
                .regions
                .values()
                .filter(|region| region.free() == pool.region_blocks);
            assert_eq!(unused.count(), pool.unused);
            assert!(
                pool.unused == 0 || pool.free <= pool.in_use + pool.region_blocks,
                "{number}"
            );
        }
        assert_eq!(pool.in_use, 0);
        assert!(pool.regions.len() <= 1);
    }
}
