//! Where full pages come from: a pool of the process that keeps freed ones for the next snapshot.
//!
//! While a snapshot is written, pages that are changed are copied, or what was there is kept in pages of a log; all of it is freed when it ends. Through
//! the system's allocator each such round would give the memory back and fault it in again, page by page of the kernel. The pool takes memory in regions,
//! asks for huge pages, which also makes random access cheaper, and hands freed pages out again, those of the lowest region first. A
//! region without pages in use is given back once there are more free pages than pages in use, so the pool has at most twice what is in use, and a
//! region.
#![expect(
    unsafe_code,
    reason = "takes blocks back by their address, and hands memory out that may move between threads"
)]

use super::page::PAGE_BYTES;
use memmap2::MmapMut;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The pages of a region.
const REGION_PAGES: usize = 512;

static POOL: Mutex<Pool> = Mutex::new(Pool::EMPTY);

/// The memory of the process's full pages.
struct Pool {
    /// Regions by their address.
    regions: BTreeMap<usize, Region>,
    /// Regions below this address have no free page.
    full_below: usize,
    /// How many regions have all of their pages free.
    unused: usize,
    /// How many pages are handed out.
    in_use: usize,
    /// How many pages of the regions are not handed out.
    free: usize,
}

/// Consecutive pages in one mapping.
struct Region {
    memory: MmapMut,
    /// The indexes of the pages that are not handed out.
    free: Vec<u16>,
}

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A block of [`PAGE_BYTES`] bytes, aligned to at least 64, all of which are initialised. `None` where the system has no memory.
pub(super) fn take() -> Option<NonNull<u8>> {
    pool().take()
}

/// Gives a block back.
///
/// # Safety
/// `block` came from [`take`], was not given back since, and nobody accesses it any more.
pub(super) unsafe fn give_back(block: NonNull<u8>) {
    // Unmapped outside of the lock.
    drop(pool().give_back(block));
}

impl Pool {
    const EMPTY: Self = Self {
        regions: BTreeMap::new(),
        full_below: 0,
        unused: 0,
        in_use: 0,
        free: 0,
    };

    fn take(&mut self) -> Option<NonNull<u8>> {
        if self.free == 0 {
            let region = Region::map()?;
            let start = region.memory.as_ptr().addr();
            self.free += REGION_PAGES;
            self.unused += 1;
            self.full_below = self.full_below.min(start);
            self.regions.insert(start, region);
        }
        let mut from_lowest = self.regions.range_mut(self.full_below..);
        let (start, region) = from_lowest.find(|(_, region)| !region.free.is_empty())?;
        self.full_below = *start;
        self.unused -= usize::from(region.free.len() == REGION_PAGES);
        let index = usize::from(region.free.pop()?);
        self.free -= 1;
        self.in_use += 1;
        // The index is below the region's number of pages.
        NonNull::new(region.memory.as_mut_ptr().wrapping_add(index * PAGE_BYTES))
    }

    /// Takes a block back; returns a region if one is to be unmapped.
    fn give_back(&mut self, block: NonNull<u8>) -> Option<Region> {
        let address = block.as_ptr().addr();
        let (start, region) = self.regions.range_mut(..=address).next_back()?;
        region
            .free
            .push(u16::try_from((address - start) / PAGE_BYTES).ok()?);
        self.full_below = self.full_below.min(*start);
        self.unused += usize::from(region.free.len() == REGION_PAGES);
        self.in_use -= 1;
        self.free += 1;
        if self.unused == 0 || self.free <= self.in_use + REGION_PAGES {
            return None;
        }
        let mut regions = self.regions.iter();
        let (start, _) = regions.find(|(_, region)| region.free.len() == REGION_PAGES)?;
        let start = *start;
        self.unused -= 1;
        self.free -= REGION_PAGES;
        self.regions.remove(&start)
    }
}

impl Region {
    fn map() -> Option<Self> {
        let memory = MmapMut::map_anon(REGION_PAGES * PAGE_BYTES).ok()?;
        // A kernel without huge pages does as well without.
        #[cfg(target_os = "linux")]
        let _ = memory.advise(memmap2::Advice::HugePage);
        let free = (0..u16::try_from(REGION_PAGES).ok()?).rev().collect();
        Some(Self { memory, free })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_do_not_overlap_and_are_handed_out_again() {
        let mut pool = Pool::EMPTY;
        let mut blocks: Vec<_> = (0..1500).map(|_| pool.take().unwrap()).collect();
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
            let block = pool.take().unwrap();
            assert!(!blocks[700..].contains(&block));
        }
        assert_eq!(pool.regions.len(), 3);
    }

    #[test]
    fn memory_goes_back_to_the_system_when_more_is_free_than_in_use() {
        let mut pool = Pool::EMPTY;
        let blocks: Vec<_> = (0..10 * REGION_PAGES).map(|_| pool.take().unwrap()).collect();
        for (number, block) in blocks.iter().enumerate() {
            drop(pool.give_back(*block));
            let unused = pool
                .regions
                .values()
                .filter(|region| region.free.len() == REGION_PAGES);
            assert_eq!(unused.count(), pool.unused);
            assert!(
                pool.unused == 0 || pool.free <= pool.in_use + REGION_PAGES,
                "{number}"
            );
        }
        assert_eq!(pool.in_use, 0);
        assert!(pool.regions.len() <= 1);
    }
}
