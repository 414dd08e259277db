//! The memory of an index: a power of two of words, in huge pages where there are many.
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

/// Words that begin as 0.
///
/// Invariant: `start` is an allocation of this module for `len` words, all initialised, which this value owns alone.
pub(super) struct Words {
    start: NonNull<u64>,
    len: usize,
}

// SAFETY: the words are owned like those of a box.
unsafe impl Send for Words {}
// SAFETY: through a shared reference words can only be read.
unsafe impl Sync for Words {}

impl Words {
    /// `len` words, a power of two, all 0.
    pub(super) fn new(len: usize) -> Self {
        debug_assert!(len.is_power_of_two(), "the pool has blocks of powers of two");
        let Ok(layout) = Layout::array::<u64>(len) else {
            // More than the address space: as if there was no memory for it.
            handle_alloc_error(Layout::new::<u64>())
        };
        let block = if layout.size() >= BLOCK_BYTES_MIN {
            pool::take(layout.size()).inspect(|block| {
                // SAFETY: the block has so many bytes and is nobody else's. It may have been used before.
                unsafe { block.write_bytes(0, layout.size()) };
            })
        } else {
            // SAFETY: a power of two is not 0, so neither is the size.
            NonNull::new(unsafe { alloc_zeroed(layout) })
        };
        match block {
            // Blocks of both sources are aligned to at least 8 bytes.
            Some(block) => Self {
                start: block.cast(),
                len,
            },
            None => handle_alloc_error(layout),
        }
    }
}

impl Deref for Words {
    type Target = [u64];

    #[inline(always)]
    fn deref(&self) -> &[u64] {
        // SAFETY: by the invariant there are `len` initialised words, which are written only through `&mut self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast_const(), self.len) }
    }
}

impl DerefMut for Words {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [u64] {
        // SAFETY: by the invariant there are `len` initialised words, and nobody else has them.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        let Ok(layout) = Layout::array::<u64>(self.len) else {
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
        f.debug_struct("Words").field("len", &self.len).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_begin_as_zero_also_where_they_were_used_before() {
        for len in [8, 4096, BLOCK_BYTES_MIN / 8, BLOCK_BYTES_MIN] {
            for round in 0..3 {
                let mut words = Words::new(len);
                assert_eq!(words.len(), len);
                assert!(words.iter().all(|word| *word == 0), "{len} {round}");
                words.fill(u64::MAX);
                assert_eq!(words.last(), Some(&u64::MAX));
            }
        }
    }
}
