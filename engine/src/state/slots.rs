//! The slots of one fixed-width state for the records of a batch: state access without a call.
#![expect(
    unsafe_code,
    reason = "slots are addresses that the backend gave out; they are read and written here only"
)]

use crate::api::Data;
use crate::{Result, codec};
use millpond_backend_api::{Slot, StateId};

/// The slots of a state, from some record of the batch to its last.
///
/// Between [`set`](Self::set) and [`take`](Self::take) the slots are those that the backend gave out for the current batch, which is
/// what makes the accesses below sound: the backend keeps the memory in place until `end_batch`, which is called with what `take` gives
/// back; the column and the backend belong to one context on one thread; and no reference to a slot's bytes outlives a call of this module.
#[derive(Debug)]
pub(crate) struct SlotColumn {
    pub(crate) state: StateId,
    width: usize,
    /// The record that the first slot belongs to.
    pub(crate) from: usize,
    slots: Vec<Slot>,
    /// Some slot may be without a value at the end of the batch.
    any_absent: bool,
}

// SAFETY: the slots are only there while a batch is being processed, which happens on one thread; between batches the column is plain data.
unsafe impl Send for SlotColumn {}

impl SlotColumn {
    pub(crate) fn new(state: StateId, width: usize) -> Self {
        Self {
            state,
            width,
            from: 0,
            slots: Vec::new(),
            any_absent: false,
        }
    }

    /// Whether there are slots for the current batch.
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        !self.slots.is_empty()
    }

    /// Has `fill` put in the slots of `len` records from record `from` on; it returns how many are without a value.
    pub(crate) fn set(
        &mut self,
        from: usize,
        len: usize,
        fill: impl FnOnce(&mut [Slot]) -> Result<u64>,
    ) -> Result<()> {
        self.slots.clear();
        self.slots.resize(len, Slot::NULL);
        self.from = from;
        match fill(&mut self.slots) {
            // A null slot would be a broken promise of the backend; it is told here and never followed.
            Ok(absent) if !self.slots.iter().any(|slot| slot.is_null()) => {
                self.any_absent = absent > 0;
                Ok(())
            }
            Ok(_) => {
                self.slots.clear();
                Err(crate::Error::new(
                    crate::ErrorKind::State,
                    "the state backend left a slot empty: it breaks the contract of `slots`",
                ))
            }
            Err(error) => {
                self.slots.clear();
                Err(error)
            }
        }
    }

    /// Hands the slots to `give_back`, with whether some may be without a value.
    pub(crate) fn take(&mut self, give_back: impl FnOnce(&[Slot], bool) -> Result<()>) -> Result<()> {
        let result = give_back(&self.slots, self.any_absent);
        self.slots.clear();
        result
    }

    #[inline]
    fn slot(&self, record: usize) -> Option<Slot> {
        self.slots.get(record.wrapping_sub(self.from)).copied()
    }

    /// The value at `record`.
    #[inline]
    pub(crate) fn get<T: Data>(&self, record: usize) -> Result<Option<T>> {
        let Some(slot) = self.slot(record) else {
            return Ok(None);
        };
        // SAFETY: a slot of the current batch, see the type.
        if !unsafe { slot.is_present() } {
            return Ok(None);
        }
        // SAFETY: as above; the state's values have `width` bytes, and the reference ends with this call.
        let bytes = unsafe { slot.value(self.width) };
        Ok(Some(codec::decode(bytes)?))
    }

    /// Sets the value at `record`. Without effect, and an error, if the value has another width than the state.
    #[inline]
    pub(crate) fn put<T: Data>(&mut self, record: usize, value: &T) -> Result<()> {
        let Some(slot) = self.slot(record) else {
            return Ok(());
        };
        // SAFETY: a slot of the current batch, see the type; the reference ends with the next line.
        let bytes = unsafe { slot.value(self.width) };
        codec::encode_fixed(value, bytes)?;
        // SAFETY: as above.
        unsafe { slot.set_present(true) };
        Ok(())
    }

    /// Removes the value at `record`.
    pub(crate) fn clear(&mut self, record: usize) {
        if let Some(slot) = self.slot(record) {
            // SAFETY: a slot of the current batch, see the type.
            unsafe { slot.set_present(false) };
            self.any_absent = true;
        }
    }
}
