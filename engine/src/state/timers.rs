//! Timers: ordered, free of duplicates, split by key group, and part of keyed state.
//!
//! Timers live in two sorted maps of the backend, one for event time and one for processing time; each key group has a map of its own
//! under the empty key, whose map keys are `time (8 bytes, order-preserving) | key`. The time of each group's first timer is kept in
//! memory, so that a watermark that fires nothing costs nothing. As in Flink (`InternalTimerServiceImpl`), registering
//! twice fires once, deleting what is not there is nothing, and timers fire in the order of their times.

use crate::Result;
use crate::api::TimestampMs;
use crate::backend::KeyedBackend;
use millpond_backend_api::{
    Cell, EntryBuffer, KeyGroup, KeyGroupRange, StateDescriptor, StateId, StateKind, key_hash,
};
use std::collections::BTreeSet;

/// Which clock a timer goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimerDomain {
    /// Watermarks.
    EventTime,
    /// The wall clock.
    ProcessingTime,
}

/// The timers of one subtask.
#[derive(Debug)]
pub(crate) struct Timers {
    event: Queue,
    processing: Queue,
    range: KeyGroupRange,
    /// What is stored with the queues of the key.
    codec: Vec<u8>,
}

#[derive(Debug)]
struct Queue {
    name: &'static str,
    /// Registered when the first timer is, or at open where there are restored ones.
    state: Option<StateId>,
    /// The first timer of each group that has one, in the order of time.
    heads: BTreeSet<(TimestampMs, KeyGroup)>,
    /// The same by group.
    head_of: Vec<Option<TimestampMs>>,
}

/// A timer that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DueTimer {
    pub(crate) time: TimestampMs,
    pub(crate) group: KeyGroup,
    pub(crate) key: Vec<u8>,
}

impl Queue {
    fn new(name: &'static str, groups: usize) -> Self {
        Self {
            name,
            state: None,
            heads: BTreeSet::new(),
            head_of: vec![None; groups],
        }
    }

    fn state(&mut self, backend: &mut KeyedBackend, codec: &[u8]) -> Result<StateId> {
        if let Some(state) = self.state {
            return Ok(state);
        }
        let mut descriptor = StateDescriptor::new(self.name, StateKind::SortedMap, 0);
        descriptor.codec = codec.to_vec().into();
        let state = backend.register(&descriptor)?;
        self.state = Some(state);
        Ok(state)
    }

    fn set_head(&mut self, index: usize, group: KeyGroup, head: Option<TimestampMs>) {
        let Some(place) = self.head_of.get_mut(index) else {
            return;
        };
        if let Some(old) = std::mem::replace(place, head) {
            self.heads.remove(&(old, group));
        }
        if let Some(new) = head {
            self.heads.insert((new, group));
        }
    }

    /// Looks up the first timer of a group.
    fn read_head(
        &mut self,
        backend: &mut KeyedBackend,
        state: StateId,
        range: KeyGroupRange,
        group: KeyGroup,
    ) -> Result<()> {
        let mut entries = EntryBuffer::new();
        backend.scan(state, &cell(group, &[]), &[], 1, &mut entries)?;
        let head = entries
            .iter()
            .next()
            .and_then(|entry| split(entry.map_key))
            .map(|(time, _)| time);
        self.set_head(group.index() - range.first.index(), group, head);
        Ok(())
    }
}

impl Timers {
    pub(crate) fn new(backend: &KeyedBackend) -> Self {
        let range = backend.key_groups();
        Self {
            event: Queue::new("_timers/event-time", range.len()),
            processing: Queue::new("_timers/processing-time", range.len()),
            range,
            codec: Vec::new(),
        }
    }

    fn queue(&mut self, domain: TimerDomain) -> (&mut Queue, &[u8]) {
        let queue = match domain {
            TimerDomain::EventTime => &mut self.event,
            TimerDomain::ProcessingTime => &mut self.processing,
        };
        (queue, &self.codec)
    }

    /// Finds the timers that were restored. `codec` is stored with timers, so that their keys are never taken for others.
    pub(crate) fn open(&mut self, backend: &mut KeyedBackend, codec: Vec<u8>) -> Result<()> {
        self.codec = codec;
        let names: Vec<String> = backend
            .states()?
            .into_iter()
            .map(|state| state.name.to_string())
            .collect();
        let range = self.range;
        for domain in [TimerDomain::EventTime, TimerDomain::ProcessingTime] {
            let (queue, codec) = self.queue(domain);
            if names.iter().any(|name| name == queue.name) {
                let state = queue.state(backend, codec)?;
                for group in range.iter() {
                    queue.read_head(backend, state, range, group)?;
                }
            }
        }
        Ok(())
    }

    /// The time of the first timer.
    pub(crate) fn first(&self, domain: TimerDomain) -> Option<TimestampMs> {
        let queue = match domain {
            TimerDomain::EventTime => &self.event,
            TimerDomain::ProcessingTime => &self.processing,
        };
        queue.heads.first().map(|(time, _)| *time)
    }

    pub(crate) fn register(
        &mut self,
        backend: &mut KeyedBackend,
        domain: TimerDomain,
        time: TimestampMs,
        group: KeyGroup,
        key: &[u8],
    ) -> Result<()> {
        let index = group.index() - self.range.first.index();
        let (queue, codec) = self.queue(domain);
        let state = queue.state(backend, codec)?;
        backend.put(state, &cell(group, &map_key(time, key)), &[])?;
        let head = queue.head_of.get(index).copied().flatten();
        if head.is_none_or(|head| time < head) {
            queue.set_head(index, group, Some(time));
        }
        Ok(())
    }

    pub(crate) fn delete(
        &mut self,
        backend: &mut KeyedBackend,
        domain: TimerDomain,
        time: TimestampMs,
        group: KeyGroup,
        key: &[u8],
    ) -> Result<()> {
        let range = self.range;
        let (queue, codec) = self.queue(domain);
        let state = queue.state(backend, codec)?;
        if backend.delete(state, &cell(group, &map_key(time, key)))? {
            let head = queue
                .head_of
                .get(group.index() - range.first.index())
                .copied()
                .flatten();
            if head == Some(time) {
                queue.read_head(backend, state, range, group)?;
            }
        }
        Ok(())
    }

    /// Removes and returns the first timer if its time is at most `until`.
    pub(crate) fn pop_due(
        &mut self,
        backend: &mut KeyedBackend,
        domain: TimerDomain,
        until: TimestampMs,
    ) -> Result<Option<DueTimer>> {
        let range = self.range;
        let (queue, codec) = self.queue(domain);
        let Some((_, group)) = queue.heads.first().copied().filter(|(time, _)| *time <= until) else {
            return Ok(None);
        };
        let state = queue.state(backend, codec)?;
        let mut entries = EntryBuffer::new();
        backend.scan(state, &cell(group, &[]), &[], 2, &mut entries)?;
        let mut firsts = entries.iter();
        let due = firsts
            .next()
            .and_then(|entry| split(entry.map_key))
            .map(|(time, key)| DueTimer {
                time,
                group,
                key: key.to_vec(),
            });
        let next = firsts
            .next()
            .and_then(|entry| split(entry.map_key))
            .map(|(time, _)| time);
        queue.set_head(group.index() - range.first.index(), group, next);
        if let Some(due) = &due {
            backend.delete(state, &cell(group, &map_key(due.time, &due.key)))?;
        }
        Ok(due)
    }
}

fn cell(group: KeyGroup, map_key: &[u8]) -> Cell<'_> {
    Cell::of_key(key_hash(&[]), group, &[]).with_map_key(map_key)
}

/// `time | key`, such that the order of the bytes is that of the times.
fn map_key(time: TimestampMs, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + key.len());
    bytes.extend_from_slice(&(time.cast_unsigned() ^ (1 << 63)).to_be_bytes());
    bytes.extend_from_slice(key);
    bytes
}

fn split(map_key: &[u8]) -> Option<(TimestampMs, &[u8])> {
    let (time, key) = map_key.split_first_chunk::<8>()?;
    Some(((u64::from_be_bytes(*time) ^ (1 << 63)).cast_signed(), key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_map_keys_is_that_of_times() {
        let times = [i64::MIN, -5, -1, 0, 1, 700, i64::MAX];
        let keys: Vec<_> = times.iter().map(|time| map_key(*time, b"k")).collect();
        assert!(keys.is_sorted());
        for (time, key) in times.iter().zip(&keys) {
            assert_eq!(split(key), Some((*time, &b"k"[..])));
        }
    }
}
