//! The keys of a batch, and how one is compared with an entry's.
#![expect(
    unsafe_code,
    reason = "an entry's bytes are read where they lie, by its address"
)]

use crate::table::entry::{FIXED_HEAD, KEY_LEN, same};
use millpond_backend_api::KeyBatch;

/// The keys of a batch.
pub(super) trait Keys {
    fn key(&self, index: usize) -> &[u8];

    /// Writes `key` to the start of `place`.
    fn put(key: &[u8], place: &mut [u8]);

    /// Whether the fixed-width entry at `entry`, with values of `width` bytes, has `key` and no namespace.
    ///
    /// # Safety
    /// From `entry` on, the bytes of an entry with that key are readable.
    unsafe fn is(key: &[u8], entry: *const u8, width: usize) -> bool;
}

/// The lengths of key and namespace as one number, without the flags.
///
/// # Safety
/// From `entry` on, 16 bytes are readable.
#[inline(always)]
unsafe fn lengths(entry: *const u8) -> u64 {
    // SAFETY: the lengths are the second 8 bytes.
    let bytes = unsafe { entry.wrapping_add(KEY_LEN).cast::<[u8; 8]>().read() };
    u64::from_le_bytes(bytes) & 0x00ff_ffff_ffff_ffff
}

/// Keys of 8 bytes, by far the commonest: one comparison.
pub(super) struct EightByteKeys<'a>(pub(super) &'a [[u8; 8]]);

impl Keys for EightByteKeys<'_> {
    #[inline(always)]
    fn key(&self, index: usize) -> &[u8] {
        self.0.get(index).unwrap_or(&[0; 8])
    }

    #[inline(always)]
    fn put(key: &[u8], place: &mut [u8]) {
        if let (Some(place), Some(key)) = (place.first_chunk_mut::<8>(), key.first_chunk()) {
            *place = *key;
        }
    }

    #[inline(always)]
    unsafe fn is(key: &[u8], entry: *const u8, width: usize) -> bool {
        // SAFETY: as the caller promises.
        let found_lengths = unsafe { lengths(entry) };
        let at = entry.wrapping_add(FIXED_HEAD + width);
        // SAFETY: as the caller promises; whatever these bytes are, they are readable.
        let found = unsafe { at.cast::<[u8; 8]>().read() };
        found_lengths == 8 && key.first_chunk() == Some(&found)
    }
}

/// Keys of any length.
pub(super) struct AnyKeys<'a>(pub(super) &'a KeyBatch<'a>);

impl Keys for AnyKeys<'_> {
    #[inline(always)]
    fn key(&self, index: usize) -> &[u8] {
        self.0.key(index)
    }

    #[inline(always)]
    fn put(key: &[u8], place: &mut [u8]) {
        if let Some(place) = place.get_mut(..key.len()) {
            place.copy_from_slice(key);
        }
    }

    #[inline(always)]
    unsafe fn is(key: &[u8], entry: *const u8, width: usize) -> bool {
        // SAFETY: as the caller promises.
        if unsafe { lengths(entry) } != key.len() as u64 {
            return false;
        }
        // SAFETY: as the caller promises.
        let found = unsafe { std::slice::from_raw_parts(entry.wrapping_add(FIXED_HEAD + width), key.len()) };
        same(found, key)
    }
}
