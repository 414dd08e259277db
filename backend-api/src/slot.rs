//! Slots: the value bytes of fixed-width states, in place.
//!
//! A slot spares the hot path a call and a copy an update: the backend says once a batch where each key's value lies, and the engine reads
//! and writes it there. The layout is `[flags: u8][value: width bytes]`, and the slot's address is that of the value, so a backend may
//! align values as it likes. Bit 0 of the flags tells whether there is a value ([`Slot::PRESENT`]); the other bits belong to the backend.
#![expect(
    unsafe_code,
    reason = "a slot is an address that another library gave out; its few accesses are here"
)]

use abi_stable::StableAbi;

/// The place of one fixed-width value: its address. The byte in front of it holds the flags.
///
/// A slot is good from the call of [`slots`](crate::KeyedState::slots) that gave it out to the
/// [`end_batch`](crate::KeyedState::end_batch) that takes it back, and only on the thread that owns the keyed state; for longer where the
/// backend says so ([`stable_slots`](crate::Capabilities::stable_slots)) and until it says otherwise
/// ([`slot_generation`](crate::KeyedState::slot_generation)).
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(*mut u8);

impl Slot {
    /// The flag of a slot that has a value.
    pub const PRESENT: u8 = 1;

    /// The [`slot_generation`](crate::KeyedState::slot_generation) of a state whose slots stay where they are.
    pub const STAY: u64 = 0;

    /// A slot that leads nowhere: what an array of slots is filled with before the backend fills it.
    pub const NULL: Self = Self(std::ptr::null_mut());

    /// A slot whose value starts at `value`.
    ///
    /// # Safety
    /// Until the batch is ended, `value` must be valid for reads and writes of the state's value width, and the byte in front of it for
    /// reads and writes of the flags; nobody else may access those bytes. They may have any alignment.
    #[inline]
    #[must_use]
    pub unsafe fn new(value: *mut u8) -> Self {
        Self(value)
    }

    /// Whether the slot has a value.
    ///
    /// # Safety
    /// The slot was given out by a backend for the current batch.
    #[inline]
    #[must_use]
    pub unsafe fn is_present(self) -> bool {
        // SAFETY: the backend promised that the byte in front of the value is readable (`Slot::new`).
        let flags = unsafe { *self.0.wrapping_sub(1) };
        flags & Self::PRESENT != 0
    }

    /// Says that the slot has a value, or has none any more.
    ///
    /// # Safety
    /// As for [`Slot::is_present`].
    #[inline]
    pub unsafe fn set_present(self, present: bool) {
        // SAFETY: the backend promised that the byte in front of the value is writable (`Slot::new`).
        let flags = unsafe { &mut *self.0.wrapping_sub(1) };
        // Mostly the flag stands as it should, and a store less is a store less.
        if (*flags & Self::PRESENT != 0) != present {
            *flags ^= Self::PRESENT;
        }
    }

    /// The value's bytes.
    ///
    /// # Safety
    /// The slot was given out by a backend for the current batch of a state whose values have `width` bytes, and no other reference to
    /// the same slot's bytes is alive: two records with one key share their slot.
    #[inline]
    #[must_use]
    pub unsafe fn value<'a>(self, width: usize) -> &'a mut [u8] {
        // SAFETY: the backend promised `width` accessible bytes (`Slot::new`), the caller that no other reference is alive.
        unsafe { std::slice::from_raw_parts_mut(self.0, width) }
    }

    /// Whether the slot leads nowhere.
    #[inline]
    #[must_use]
    pub fn is_null(self) -> bool {
        self.0.is_null()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::multiple_unsafe_ops_per_block,
        reason = "one argument covers them all"
    )]
    fn a_slot_reads_and_writes_the_value_and_only_its_own_flag() {
        let mut cell = [0b1010_u8, 1, 2, 3];
        // SAFETY: the cell has a flag byte and three value bytes and outlives the slot.
        let slot = unsafe { Slot::new(cell.as_mut_ptr().wrapping_add(1)) };
        // SAFETY: made above from a live cell, one reference at a time.
        unsafe {
            assert!(!slot.is_present());
            slot.set_present(true);
            slot.value(3).copy_from_slice(&[7, 8, 9]);
            assert!(slot.is_present());
            slot.set_present(false);
        }
        assert_eq!(cell, [0b1010, 7, 8, 9]);
    }
}
