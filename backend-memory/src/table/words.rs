//! The memory of an index: a power of two of words, in lines of the cache, and in huge pages where there are many.
//!
//! Probing goes all over an index. Where it is larger than the cache, a miss of the translation buffer would come on top of nearly every miss of the cache,
//! unless it lies in huge pages, as it does in blocks of the [pool](super::pool). Small ones come from the allocator.
#![expect(
    unsafe_code,
    reason = "a slice over a block of the pool, which has no owner that Rust knows"
)]

use super::pool::{self, BLOCK_BYTES_MIN};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// The words that share a line of the cache.
pub(super) type Line = [u64; LINE_WORDS];

/// How many words a line has.
pub(super) const LINE_WORDS: usize = super::fetch::LINE / 8;

/// Lines of words that begin as 0.
///
/// Invariant: `start` is an allocation of this module for `lines` lines, all initialised, which this value owns alone.
pub(super) struct Words {
    start: NonNull<Line>,
    lines: usize,
}

// SAFETY: the words are owned like those of a box.
unsafe impl Send for Words {}
// SAFETY: through a shared reference words can only be read.
unsafe impl Sync for Words {}

impl Words {
    /// `lines` lines, a power of two, all 0.
    pub(super) fn new(lines: usize) -> Self {
        debug_assert!(lines.is_power_of_two(), "the pool has blocks of powers of two");
        let Some(layout) = layout(lines) else {
            // More than the address space: as if there was no memory for it.
            handle_alloc_error(Layout::new::<u64>())
        };
        let block = if layout.size() >= BLOCK_BYTES_MIN {
            pool::take(layout.size()).map(|block| {
                if !block.is_zero {
                    // SAFETY: the block has so many bytes and is nobody else's.
                    unsafe { block.start.write_bytes(0, layout.size()) };
                }
                block.start
            })
        } else {
            // SAFETY: a power of two is not 0, so neither is the size.
            NonNull::new(unsafe { alloc_zeroed(layout) })
        };
        match block {
            // Blocks of both sources are aligned to lines.
            Some(block) => Self {
                start: block.cast(),
                lines,
            },
            None => handle_alloc_error(layout),
        }
    }
}

/// The layout of `lines` lines, if they fit the address space.
fn layout(lines: usize) -> Option<Layout> {
    Layout::array::<Line>(lines)
        .ok()?
        .align_to(size_of::<Line>())
        .ok()
}

impl Deref for Words {
    type Target = [Line];

    #[inline(always)]
    fn deref(&self) -> &[Line] {
        // SAFETY: by the invariant there are `lines` initialised lines, which are written only through `&mut self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast_const(), self.lines) }
    }
}

impl DerefMut for Words {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [Line] {
        // SAFETY: by the invariant there are `lines` initialised lines, and nobody else has them.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.lines) }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        let Some(layout) = layout(self.lines) else {
            return;
        };
        if layout.size() >= BLOCK_BYTES_MIN {
            // SAFETY: `new` took a block of this size, and nobody else gives it back.
            unsafe { pool::give_back(self.start.cast(), layout.size()) }
        } else {
            // SAFETY: `new` allocated with this layout, and nobody else frees it.
            unsafe { dealloc(self.start.as_ptr().cast(), layout) }
        }
    }
}

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Words").field("lines", &self.lines).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_begin_as_zero_also_where_they_were_used_before() {
        let line = size_of::<Line>();
        for lines in [1, 512, BLOCK_BYTES_MIN / line, 4 * BLOCK_BYTES_MIN / line] {
            for round in 0..3 {
                let mut words = Words::new(lines);
                assert_eq!(words.len(), lines);
                assert_eq!(words.as_ptr().addr() % line, 0, "lines of the cache");
                assert!(words.iter().flatten().all(|word| *word == 0), "{lines} {round}");
                words.fill([u64::MAX; LINE_WORDS]);
                assert_eq!(words.last(), Some(&[u64::MAX; LINE_WORDS]));
            }
        }
    }
}
