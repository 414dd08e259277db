//! The slots of one fixed-width state for the records of a batch: state access without a call.
#![expect(
    unsafe_code,
    reason = "slots are addresses that the backend gave out; they are read and written here only"
)]

use super::keys::KeyColumn;
use super::running::RunningFold;
use super::slot_cache::{AskedKeys, SlotCache};
use super::ttl::Expiry;
use crate::api::Data;
use crate::backend::KeyedBackend;
use crate::{Result, codec};
use millpond_backend_api::{Slot, StateId, ttl::TIME_BYTES};

/// The slots of a state, from some record of the batch to its last.
///
/// Between [`fetch`](Self::fetch) and [`end_batch`](Self::end_batch) each slot is either one that the backend gave out for the running batch,
/// or one from the [`SlotCache`], which the backend keeps good until the next snapshot or removal, which empty the cache, and for as long as its
/// generation stays: that is asked before slots of the cache are used, and cannot change before the end of the batch, since `slots` opens the batch also where
/// the cache knew all keys, unless the backend said that nothing ever moves. That is what makes the accesses below sound, together with these: the column and the backend belong to one context on one thread, the column is not used
/// after the backend is gone, and no reference to a slot's bytes outlives a call of this module.
#[derive(Debug)]
pub(crate) struct SlotColumn {
    state: StateId,
    width: usize,
    /// The record that the first slot belongs to.
    from: usize,
    slots: Vec<Slot>,
    /// What the backend was asked for, where that is not the batch as it is.
    asked: Option<AskedKeys>,
    /// How many slots have no value, each counted once however many records of the batch have it. While it is 0 nobody has to look.
    absent: u64,
    cache: Option<SlotCache>,
}

// SAFETY: slots are used only by the thread that owns the context; the context is made there and never sent while it has any.
unsafe impl Send for SlotColumn {}

impl SlotColumn {
    /// No slots yet. `is_stable` is the backend's word that slots may be kept.
    pub(crate) fn new(state: StateId, width: usize, is_stable: bool) -> Self {
        Self {
            state,
            width,
            from: 0,
            slots: Vec::new(),
            asked: None,
            absent: 0,
            cache: is_stable.then(SlotCache::new),
        }
    }

    /// The state.
    pub(crate) fn state(&self) -> StateId {
        self.state
    }

    /// Whether there are slots for the current batch.
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        !self.slots.is_empty()
    }

    /// Whether there is a slot for `record`.
    #[inline]
    pub(crate) fn has(&self, record: usize) -> bool {
        record < self.slots.len()
    }

    /// Gets the slots of every record from `at` on: those of hot keys from the cache, the others from the backend.
    pub(crate) fn fetch(
        &mut self,
        backend: &mut KeyedBackend,
        keys: &mut KeyColumn,
        at: usize,
    ) -> Result<()> {
        self.from = keys.batch_start(at);
        self.slots.clear();
        // Records before the first one that is looked at have no slot, and need none.
        self.slots.resize(keys.len(), Slot::NULL);
        let slots = self.slots.get_mut(self.from..).unwrap_or_default();
        let is_cached = self.cache.as_mut().is_some_and(SlotCache::is_worth_it);
        let result = if is_cached
            && let (Some(cache), Some(eight)) = (&mut self.cache, keys.eight_byte_keys(self.from))
        {
            let generation = match backend.slot_generation(self.state) {
                Ok(generation) => generation,
                Err(error) => {
                    self.slots.clear();
                    return Err(error);
                }
            };
            cache.begin(generation);
            let asked = self.asked.get_or_insert_default();
            asked.clear();
            cache.look_up(eight, slots, asked);
            asked.ask(backend, self.state, keys, self.from, slots, cache)
        } else {
            self.asked = None;
            keys.complete();
            backend.slots(self.state, &keys.batch(self.from), slots)
        };
        let given = match &self.asked {
            Some(asked) => asked.slots(),
            None => self.slots.get(self.from..).unwrap_or_default(),
        };
        match result {
            // A null slot would be a broken promise of the backend; it is told here and never followed.
            Ok(absent) if !given.iter().any(|slot| slot.is_null()) => {
                self.absent = absent;
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

    /// Gives the slots of the batch back. Those that have no value are freed, and then no slot is kept.
    pub(crate) fn end_batch(&mut self, backend: &mut KeyedBackend, keys: &mut KeyColumn) -> Result<()> {
        let mut any_absent = false;
        // Those of keys that the backend was not asked for in this batch.
        let mut lost = Vec::new();
        if self.absent > 0 {
            for (index, slot) in self.slots.iter().enumerate().skip(self.from) {
                // SAFETY: a slot of the current batch, see the type.
                if unsafe { slot.is_present() } {
                    continue;
                }
                any_absent = true;
                if let Some(asked) = &self.asked
                    && !asked.has_asked(index - self.from)
                {
                    lost.push(index);
                    // The backend gave it out with a value, and learns in a batch of its own that there is none any more: a slot that it finds without
                    // a value is one of a key that is not there.
                    // SAFETY: as above.
                    unsafe { slot.set_present(true) };
                }
            }
        }
        match &self.asked {
            None => {
                let slots = self.slots.get(self.from..).unwrap_or_default();
                backend.end_batch(self.state, &keys.batch(self.from), slots, any_absent)?;
            }
            Some(asked) if asked.is_open() => {
                backend.end_batch(self.state, &asked.batch(), asked.slots(), any_absent)?;
            }
            Some(_) => {}
        }
        self.slots.clear();
        if any_absent {
            self.forget();
            if let Some(asked) = self.asked.as_mut().filter(|_| !lost.is_empty()) {
                asked.clear();
                for record in lost {
                    asked.push_key(keys.key(record), record);
                }
                asked.ask_again(backend, self.state, keys)?;
                for slot in asked.slots().iter().filter(|slot| !slot.is_null()) {
                    // SAFETY: slots that the backend gave out just now for a batch of these keys.
                    unsafe { slot.set_present(false) };
                }
                backend.end_batch(self.state, &asked.batch(), asked.slots(), true)?;
            }
        }
        Ok(())
    }

    /// Keeps no slot: a snapshot is taken, or cells are removed.
    pub(crate) fn forget(&mut self) {
        if let Some(cache) = &mut self.cache {
            cache.clear();
        }
    }

    #[inline]
    fn slot(&self, record: usize) -> Option<Slot> {
        self.slots.get(record).copied()
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
        self.has_value(slot);
        Ok(())
    }

    /// Sets the value at `record` to what `change` makes of it; returns the new one. `None`: there are no slots for this record yet.
    #[inline]
    pub(crate) fn modify<T: Data>(
        &mut self,
        record: usize,
        change: impl FnOnce(Option<T>) -> T,
    ) -> Option<Result<T>> {
        let slot = self.slot(record)?;
        // SAFETY: a slot of the current batch, see the type.
        let is_present = unsafe { slot.is_present() };
        // SAFETY: as above; the state's values have `width` bytes, and the reference ends with this call. `change` cannot reach the slot.
        let bytes = unsafe { slot.value(self.width) };
        let before = match is_present.then(|| codec::decode(bytes)).transpose() {
            Ok(before) => before,
            Err(error) => return Some(Err(error.into())),
        };
        let after = change(before);
        if let Err(error) = codec::encode_fixed(&after, bytes) {
            return Some(Err(error.into()));
        }
        if !is_present {
            self.has_value(slot);
        }
        Some(Ok(after))
    }

    /// Folds `records`, the first of which is number `from` of the batch, each into the value at its key, and appends the results to `results`. Tells how many records
    /// had a slot; the first one without ends it.
    pub(crate) fn fold<T, U, F: RunningFold<T, U>>(
        &mut self,
        from: usize,
        records: impl ExactSizeIterator<Item = T>,
        fold: &F,
        results: &mut Vec<U>,
    ) -> Result<usize> {
        let before = results.len();
        results.reserve(records.len());
        let slots = self.slots.get(from..).unwrap_or_default();
        let (mut written, mut appeared, mut outcome) = (0, 0, Ok(()));
        // Where there are as many places as records, nothing of the vector has to be looked at or changed for each.
        for ((slot, record), place) in slots.iter().zip(records).zip(results.spare_capacity_mut()) {
            // SAFETY: a slot of the current batch, see the type.
            let is_present = unsafe { slot.is_present() };
            // SAFETY: as above; the state's values have `width` bytes, and the reference ends with this round. `fold` cannot reach the slot.
            let bytes = unsafe { slot.value(self.width) };
            let stored = is_present.then(|| codec::decode(bytes)).transpose();
            let step = stored.and_then(|stored| {
                fold.fold(stored, record, |after| {
                    codec::encode_fixed(after, bytes)?;
                    if !is_present {
                        appeared += 1;
                        // SAFETY: as above.
                        unsafe { slot.set_present(true) };
                    }
                    Ok(())
                })
            });
            match step {
                Ok(result) => place.write(result),
                Err(error) => {
                    outcome = Err(error.into());
                    break;
                }
            };
            written += 1;
        }
        self.absent = self.absent.saturating_sub(appeared);
        // SAFETY: so many places behind the `before` records were written, one after the other, and there was room for them.
        unsafe { results.set_len(before + written) };
        outcome.map(|()| written)
    }

    /// The value at `record` of a state with a TTL, if it is to be seen at `now`. What has expired is removed.
    #[inline]
    pub(crate) fn get_timed<T: Data>(
        &mut self,
        record: usize,
        expiry: Expiry,
        now: u64,
    ) -> Result<Option<T>> {
        let Some(slot) = self.slot(record) else {
            return Ok(None);
        };
        // SAFETY: a slot of the current batch, see the type.
        if !unsafe { slot.is_present() } {
            return Ok(None);
        }
        // SAFETY: as above; the state's values have `width` bytes, and the reference ends with this call.
        let stored = unsafe { slot.value(self.width) };
        let (time, value) = Expiry::split(stored)?;
        if expiry.has_expired(time, now) {
            let shown = expiry.shows_expired.then(|| codec::decode(value)).transpose()?;
            self.clear(record);
            return Ok(shown);
        }
        let value = codec::decode(value)?;
        if expiry.refreshes
            && let Some(place) = stored.first_chunk_mut::<TIME_BYTES>()
        {
            *place = now.to_le_bytes();
        }
        Ok(Some(value))
    }

    /// Sets the value at `record` of a state with a TTL.
    #[inline]
    pub(crate) fn put_timed<T: Data>(&mut self, record: usize, now: u64, value: &T) -> Result<()> {
        let Some(slot) = self.slot(record) else {
            return Ok(());
        };
        // SAFETY: a slot of the current batch, see the type; the reference ends before the next use of the slot.
        let stored = unsafe { slot.value(self.width) };
        write_timed(stored, now, value)?;
        self.has_value(slot);
        Ok(())
    }

    /// Sets the value at `record` of a state with a TTL to what `change` makes of the one that is seen at `now`; returns the new one. `None`: there are no slots for
    /// this record yet.
    #[inline]
    pub(crate) fn modify_timed<T: Data>(
        &mut self,
        record: usize,
        expiry: Expiry,
        now: u64,
        change: impl FnOnce(Option<T>) -> T,
    ) -> Option<Result<T>> {
        let slot = self.slot(record)?;
        // SAFETY: a slot of the current batch, see the type.
        let is_present = unsafe { slot.is_present() };
        // SAFETY: as above; the state's values have `width` bytes, and the reference ends before the next use of the slot. `change` cannot reach the slot.
        let stored = unsafe { slot.value(self.width) };
        let modified = modify_timed(stored, is_present, expiry, now, change);
        if modified.is_ok() && !is_present {
            self.has_value(slot);
        }
        Some(modified)
    }

    /// Removes the value at `record`.
    pub(crate) fn clear(&mut self, record: usize) {
        if let Some(slot) = self.slot(record) {
            // SAFETY: a slot of the current batch, see the type.
            let is_present = unsafe { slot.is_present() };
            self.absent += u64::from(is_present);
            // SAFETY: as above.
            unsafe { slot.set_present(false) };
        }
    }

    /// A value was written to a slot of the current batch.
    #[inline]
    fn has_value(&mut self, slot: Slot) {
        // SAFETY: a slot of the current batch, see the type.
        let is_present = unsafe { slot.is_present() };
        self.absent = self.absent.saturating_sub(u64::from(!is_present));
        // SAFETY: as above.
        unsafe { slot.set_present(true) };
    }
}

/// Writes time and value to a place that has room for just them.
#[inline]
fn write_timed<T: Data>(place: &mut [u8], now: u64, value: &T) -> Result<()> {
    if let Some((time, place)) = place.split_first_chunk_mut::<TIME_BYTES>() {
        codec::encode_fixed(value, place)?;
        *time = now.to_le_bytes();
    }
    Ok(())
}

#[inline]
fn modify_timed<T: Data>(
    place: &mut [u8],
    is_present: bool,
    expiry: Expiry,
    now: u64,
    change: impl FnOnce(Option<T>) -> T,
) -> Result<T> {
    let mut before = None;
    if is_present {
        let (time, value) = Expiry::split(place)?;
        if expiry.shows_expired || !expiry.has_expired(time, now) {
            before = Some(codec::decode(value)?);
        }
    }
    let after = change(before);
    write_timed(place, now, &after)?;
    Ok(after)
}
