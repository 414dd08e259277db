//! Pages: blocks of memory that hold entries, and the addresses of entries in them.
//!
//! A page is written by the one thread that owns the table. Once it is part of a snapshot it is written by nobody, or only where no snapshot looks:
//! whoever writes has made sure of that (`Arena::own`).
#![expect(
    unsafe_code,
    reason = "pages are raw blocks, since a snapshot's thread reads them while the owner still holds them"
)]

use super::pool;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The size of a full page; those of a small table are smaller, those of large entries larger.
pub const PAGE_BYTES: usize = 1 << 16;

/// What a page begins with, before its first entry: nothing, so that no entry is at 0. As large as the commonest entry, so that entries keep to cache lines.
pub(crate) const PAGE_HEADER_BYTES: usize = 32;

const ALIGN: usize = 64;

/// The bytes of all pages of the process.
static BYTES_IN_USE: AtomicUsize = AtomicUsize::new(0);

/// The bytes of all pages of the process's tables, those included that only snapshots still hold. Indexes and sorted maps have no pages. Costs one
/// read of a number that pages count in when they come and go.
#[must_use]
pub fn pages_in_use_bytes() -> usize {
    BYTES_IN_USE.load(Ordering::Relaxed)
}

/// Where an entry lies: number of the page (32 bits) and offset in it (16 bits, a multiple of 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Location(u64);

impl Location {
    /// No entry: a page begins with its header, so no entry has this location.
    pub const NONE: Self = Self(0);
    /// The bits that a location takes.
    const MASK: u64 = (1 << 48) - 1;
    /// The low bits that are 0 in each.
    pub(super) const ZERO_BITS: u32 = 3;

    pub(crate) fn new(page: usize, offset: usize) -> Self {
        Self(((page as u64) << 16 | offset as u64) & Self::MASK)
    }

    /// The location in the low 48 bits of `word`.
    #[inline]
    pub(crate) fn from_word(word: u64) -> Self {
        Self(word & Self::MASK)
    }

    /// The location as a number below 2^48.
    #[inline]
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) fn page(self) -> usize {
        super::index_of(self.0 >> 16)
    }

    #[inline]
    pub(crate) fn offset(self) -> usize {
        super::index_of(self.0 & 0xffff)
    }

    /// Whether this is [`Location::NONE`].
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// A page and what its owner knows about it.
///
/// Invariants: `block` is an allocation of this module of `size` bytes, or dangling where that is 0; `used` is at most the size.
pub(crate) struct Page {
    block: NonNull<u8>,
    /// Beside the block, whose first line is long out of the cache when an entry is added to its end.
    size: u32,
    /// The arena's epoch in which the page was last made the owner's alone.
    pub(super) epoch: u32,
    /// The epoch in which an entry of the page was last changed, or may have been.
    pub(super) changed: u32,
    used: u32,
}

// SAFETY: a page owns its block alone (`FrozenPage` borrows it under the rules given there), so it may move between threads.
unsafe impl Send for Page {}
// SAFETY: through a shared reference a page can only be read.
unsafe impl Sync for Page {}

fn layout(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes, ALIGN).ok()
}

/// A block of `bytes`, all of them initialised: from the pool if it is that of a full page.
fn take_block(bytes: usize) -> NonNull<u8> {
    let Some(layout) = layout(bytes) else {
        // More than the address space: as if there was no memory for it.
        handle_alloc_error(Layout::new::<u64>())
    };
    let block = if bytes == PAGE_BYTES {
        pool::take(PAGE_BYTES).map(|block| block.start)
    } else {
        // SAFETY: the layout's size is not 0.
        NonNull::new(unsafe { alloc_zeroed(layout) })
    };
    match block {
        Some(block) => {
            BYTES_IN_USE.fetch_add(bytes, Ordering::Relaxed);
            block
        }
        None => handle_alloc_error(layout),
    }
}

impl Page {
    /// A page of `bytes` (at least the header's) with nothing in use but the header.
    pub(crate) fn new(bytes: usize, epoch: u32) -> Self {
        let bytes = bytes.max(PAGE_HEADER_BYTES);
        Self {
            block: take_block(bytes),
            size: super::len32(bytes),
            epoch,
            changed: epoch,
            used: super::len32(PAGE_HEADER_BYTES),
        }
    }

    /// A page with `used` bytes in use, the header's among them, to be filled; from the pool if it is not much smaller than a full one.
    pub(super) fn with_bytes(used: usize) -> Self {
        let bytes = if used <= PAGE_BYTES / 2 {
            used.next_multiple_of(ALIGN)
        } else {
            used.max(PAGE_BYTES)
        };
        let mut page = Self::new(bytes, 0);
        page.used = super::len32(used.max(PAGE_HEADER_BYTES));
        page
    }

    /// The place of a page that is no longer there; it has no bytes.
    pub(crate) fn gone() -> Self {
        Self {
            block: NonNull::dangling(),
            size: 0,
            epoch: 0,
            changed: 0,
            used: 0,
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.used == 0
    }

    /// The size of the page's block, 0 if it is gone.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.size as usize
    }

    /// Takes `bytes` more into use and returns the offset at which they start, if there is room.
    pub(crate) fn take(&mut self, bytes: usize) -> Option<usize> {
        let from = self.used as usize;
        let to = from.checked_add(bytes)?;
        if to > self.size() {
            return None;
        }
        self.used = u32::try_from(to).ok()?;
        Some(from)
    }

    /// The bytes from `offset` to the end of what is in use.
    #[inline]
    pub(crate) fn read_at(&self, offset: usize) -> &[u8] {
        let Some(len) = (self.used as usize).checked_sub(offset) else {
            return &[];
        };
        // SAFETY: `offset + len` is `used`, which lies in the block; only the owner writes, and it holds `&self`.
        unsafe { std::slice::from_raw_parts(self.block.as_ptr().wrapping_add(offset).cast_const(), len) }
    }

    /// The same bytes for writing. The caller has made sure that no snapshot shares the page.
    #[inline]
    pub(super) fn write_at(&mut self, offset: usize) -> &mut [u8] {
        let Some(len) = (self.used as usize).checked_sub(offset) else {
            return &mut [];
        };
        // SAFETY: `offset + len` is `used`, which lies in the block; the caller is the owner and the page is not shared.
        unsafe { std::slice::from_raw_parts_mut(self.block.as_ptr().wrapping_add(offset), len) }
    }

    /// The `len` bytes in use at `offset` for writing, as for [`write_at`](Self::write_at); fewer if there are not so many.
    #[inline]
    pub(super) fn place_mut(&mut self, offset: usize, len: usize) -> &mut [u8] {
        let len = len.min((self.used as usize).saturating_sub(offset));
        // SAFETY: `offset + len` is at most `used`, unless `len` is 0; the caller is the owner and nobody else accesses these bytes.
        unsafe { std::slice::from_raw_parts_mut(self.block.as_ptr().wrapping_add(offset), len) }
    }

    /// Says that the page is the owner's alone from `epoch` on, and that it is changed.
    pub(super) fn own_from(&mut self, epoch: u32) {
        self.epoch = epoch;
        self.changed = epoch;
    }

    /// The address of `offset`; where it is not in use, only to be prefetched.
    #[inline]
    pub(super) fn address(&self, offset: usize) -> *const u8 {
        self.block.as_ptr().wrapping_add(offset).cast_const()
    }

    /// The address of `len` bytes in use at `offset`. They may be accessed while the page is there and not shared, and no
    /// reference to them is alive.
    #[inline]
    pub(super) fn place(&self, offset: usize, len: usize) -> Option<*mut u8> {
        (offset + len <= self.used as usize).then(|| self.block.as_ptr().wrapping_add(offset))
    }

    /// A copy of the page with a block of its own.
    pub(crate) fn copy(&self, epoch: u32) -> Self {
        let size = self.size();
        if size == 0 {
            return Self::gone();
        }
        let block = take_block(size);
        // SAFETY: both blocks have `size` bytes, which are initialised in the original, and the new one is nobody else's.
        unsafe { block.copy_from_nonoverlapping(self.block, size) };
        Self {
            block,
            size: self.size,
            epoch,
            changed: epoch,
            used: self.used,
        }
    }

    /// How many bytes are in use, the header's among them.
    pub(super) fn used(&self) -> u32 {
        self.used
    }

    /// The page as a snapshot sees it.
    pub(super) fn frozen(&self) -> FrozenPage {
        FrozenPage {
            block: self.block,
            used: self.used,
            epoch: self.changed,
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let size = self.size();
        BYTES_IN_USE.fetch_sub(size, Ordering::Relaxed);
        if size == PAGE_BYTES {
            // SAFETY: `take_block` took a block of this size from the pool, and nobody else gives it back.
            unsafe { pool::give_back(self.block, PAGE_BYTES) }
        } else if size > 0
            && let Some(layout) = layout(size)
        {
            // SAFETY: the block was allocated with this layout and nobody else frees it.
            unsafe { dealloc(self.block.as_ptr(), layout) }
        }
    }
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Page")
            .field("epoch", &self.epoch)
            .field("used", &self.used)
            .finish_non_exhaustive()
    }
}

/// A page as it was at a snapshot.
///
/// Invariant, kept by `frozen`: it lies in a `FrozenPages`, which keeps the block alive and whose existence keeps the owner from writing
/// to the `used` bytes, or lets it write only to what it has kept in an `Undo`.
#[derive(Clone, Copy)]
pub(super) struct FrozenPage {
    block: NonNull<u8>,
    used: u32,
    epoch: u32,
}

// SAFETY: the block is only read, and by the invariant neither written nor freed meanwhile.
unsafe impl Send for FrozenPage {}
// SAFETY: as above.
unsafe impl Sync for FrozenPage {}

impl FrozenPage {
    /// The epoch in which the page was last changed.
    pub(super) fn epoch(self) -> u32 {
        self.epoch
    }

    /// How many bytes are in use, the header's among them.
    pub(super) fn used(self) -> u32 {
        self.used
    }

    /// Copies the bytes `from .. to` to the same place of another page, as far as both have them in use.
    ///
    /// # Safety
    /// The `FrozenPages` that the page lies in is alive, and nobody writes to these bytes meanwhile.
    pub(super) unsafe fn copy_to(self, page: &mut Page, from: usize, to: usize) {
        let to = to.min(self.used as usize);
        if let Some(len) = to.checked_sub(from)
            && let Some(place) = page.write_at(from).get_mut(..len)
        {
            let bytes = self.block.as_ptr().wrapping_add(from);
            // SAFETY: the bytes up to `used` lie in the block, which is there; the caller promises that they are not written.
            unsafe { place.as_mut_ptr().copy_from_nonoverlapping(bytes, len) };
        }
    }

    /// The entries of the page.
    ///
    /// # Safety
    /// The `FrozenPages` that the page lies in lives at least as long as `'a`.
    pub(super) unsafe fn entries<'a>(self) -> &'a [u8] {
        let Some(len) = (self.used as usize).checked_sub(PAGE_HEADER_BYTES) else {
            return &[];
        };
        // SAFETY: the bytes up to `used` lie in the block, which by the invariant is there and not written.
        unsafe {
            std::slice::from_raw_parts(
                self.block.as_ptr().wrapping_add(PAGE_HEADER_BYTES).cast_const(),
                len,
            )
        }
    }
}

/// A block that is filled from its start by one thread, while others read what is there already.
pub(super) struct Chunk(Page);

impl Chunk {
    /// A chunk of `bytes`, the header's among them.
    pub(super) fn new(bytes: usize) -> Self {
        Self(Page::with_bytes(bytes))
    }

    /// Its size.
    pub(super) fn len(&self) -> usize {
        self.0.used as usize
    }

    /// Writes `bytes` at `offset`, if there is room for them.
    ///
    /// # Safety
    /// Meanwhile nobody accesses these bytes, and `offset` is not in the header.
    #[inline]
    pub(super) unsafe fn write(&self, offset: usize, bytes: &[u8]) {
        if let Some(place) = self.0.place(offset, bytes.len()) {
            // SAFETY: the place lies in the block, whose bytes are all initialised; the caller promises that nobody accesses it.
            unsafe { place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        }
    }

    /// The `len` bytes at `offset`, none if there are not so many.
    ///
    /// # Safety
    /// They were written, that has happened before, and they are not written again.
    #[inline]
    pub(super) unsafe fn read(&self, offset: usize, len: usize) -> &[u8] {
        match self.0.place(offset, len) {
            // SAFETY: the place lies in the block, and by the caller's promise it is only read.
            Some(place) => unsafe { std::slice::from_raw_parts(place.cast_const(), len) },
            None => &[],
        }
    }

    /// Fetches the line at `offset`, for what will be written there.
    #[inline]
    pub(super) fn fetch(&self, offset: usize) {
        super::fetch::fetch_to_write(self.0.address(offset));
    }
}
