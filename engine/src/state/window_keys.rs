//! Which keys of a key group have state in a window: lists by window, and a timer for each list.

use super::context::KeyedContext;
use super::descriptor::StateRegistry;
use super::keys::KeyColumn;
use super::timers::TimerDomain;
use crate::api::TimestampMs;
use crate::{Error, ErrorKind, Result};
use millpond_backend_api::{Cell, KeyGroup, StateDescriptor, StateId, StateKind, key_hash};
use std::collections::HashSet;

/// The state of the lists. Each is under the key `window start (8 bytes, little-endian)` in each key group that has keys in the window; its elements are
/// encoded keys, with their length as a little-endian `u32` in front where keys have no fixed width.
const NAME: &str = "_windows/keys";

/// The lists of one subtask.
#[derive(Debug)]
pub(crate) struct WindowKeys {
    state: StateId,
    /// The bytes of every key, if they all have the same number and at least one.
    width: Option<usize>,
    /// Windows and groups whose timer is known to be there. Those of before a restore are added when a key is.
    armed: HashSet<(TimestampMs, KeyGroup)>,
    scratch: Vec<u8>,
}

impl WindowKeys {
    /// Registers the state. `width` is the bytes of every key, if they all have the same number.
    pub(crate) fn register(states: &mut StateRegistry<'_>, width: Option<usize>) -> Result<Self> {
        let context = states.context();
        let descriptor = StateDescriptor::new(NAME, StateKind::List, 0);
        Ok(Self {
            state: context.register(&descriptor)?,
            width: width.filter(|width| *width > 0),
            armed: HashSet::new(),
            scratch: Vec::new(),
        })
    }

    /// Adds the keys of `records` of the batch, which are in `group` and have `start` in front, and sets a timer of event time for `max_timestamp` if
    /// there is none yet.
    pub(crate) fn add(
        &mut self,
        context: &mut KeyedContext,
        start: TimestampMs,
        group: KeyGroup,
        max_timestamp: TimestampMs,
        records: impl Iterator<Item = usize>,
    ) -> Result<()> {
        let start_bytes = start.to_le_bytes();
        self.scratch.clear();
        for record in records {
            let key = context.keys.key(record);
            let key = key.get(start_bytes.len()..).unwrap_or_default();
            if self.width.is_none() {
                let len = u32::try_from(key.len()).unwrap_or(u32::MAX);
                self.scratch.extend_from_slice(&len.to_le_bytes());
            }
            self.scratch.extend_from_slice(key);
        }
        let KeyedContext { backend, timers, .. } = context;
        backend.append(self.state, &cell(group, &start_bytes), &self.scratch)?;
        if self.armed.insert((start, group)) {
            timers.register(
                backend,
                TimerDomain::EventTime,
                max_timestamp,
                group,
                &start_bytes,
            )?;
        }
        Ok(())
    }

    /// Removes the list of a window and group and returns it, for [`push_some`](Self::push_some).
    pub(crate) fn take(
        &mut self,
        context: &mut KeyedContext,
        start: TimestampMs,
        group: KeyGroup,
    ) -> Result<Vec<u8>> {
        self.armed.remove(&(start, group));
        let start_bytes = start.to_le_bytes();
        let cell = cell(group, &start_bytes);
        let list = context
            .backend
            .get(self.state, &cell)?
            .map(<[u8]>::to_vec)
            .unwrap_or_default();
        context.backend.delete(self.state, &cell)?;
        Ok(list)
    }

    /// Moves at most `limit` keys from the beginning of `list` to `keys`, with `start` in front; returns how many.
    pub(crate) fn push_some(
        &self,
        list: &mut &[u8],
        limit: usize,
        start: TimestampMs,
        group: KeyGroup,
        keys: &mut KeyColumn,
    ) -> Result<usize> {
        let start = start.to_le_bytes();
        let mut count = 0;
        while count < limit && !list.is_empty() {
            let len = match self.width {
                Some(width) => width,
                None => {
                    let (len, rest) = list.split_first_chunk::<4>().ok_or_else(torn)?;
                    *list = rest;
                    u32::from_le_bytes(*len) as usize
                }
            };
            let (key, rest) = list.split_at_checked(len).ok_or_else(torn)?;
            keys.push_scoped(&start, key, group);
            *list = rest;
            count += 1;
        }
        Ok(count)
    }
}

fn cell(group: KeyGroup, start: &[u8]) -> Cell<'_> {
    Cell::of_key(key_hash(start), group, start)
}

fn torn() -> Error {
    Error::new(
        ErrorKind::State,
        "a list of the keys of a window ends within a key: its bytes are not what was written",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys_of(width: Option<usize>, list: &[u8]) -> Result<Vec<Vec<u8>>> {
        let keys = WindowKeys {
            state: StateId(0),
            width,
            armed: HashSet::new(),
            scratch: Vec::new(),
        };
        let mut column = KeyColumn::new(width.map(|width| width + 8), 128);
        let (mut rest, mut found) = (list, Vec::new());
        while !rest.is_empty() {
            let count = keys.push_some(&mut rest, 2, 5, KeyGroup(7), &mut column)?;
            for index in 0..count {
                assert_eq!(column.group(index), KeyGroup(7));
                let (start, key) = column.key(index).split_at(8);
                assert_eq!(start, 5_i64.to_le_bytes());
                found.push(key.to_vec());
            }
            column.clear();
        }
        Ok(found)
    }

    #[test]
    fn a_list_gives_back_its_keys_a_few_at_a_time() {
        assert_eq!(keys_of(Some(2), b"aabbcc").unwrap(), [b"aa", b"bb", b"cc"]);
        let varying = [&[1, 0, 0, 0, b'a'][..], &[0; 4], &[2, 0, 0, 0, b'b', b'c']].concat();
        assert_eq!(keys_of(None, &varying).unwrap(), [&b"a"[..], b"", b"bc"]);
    }

    #[test]
    fn a_torn_list_is_an_error() {
        for (width, list) in [
            (Some(2), &b"aab"[..]),
            (None, &[1, 0]),
            (None, &[9, 0, 0, 0, b'a']),
        ] {
            let error = keys_of(width, list).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::State, "{error}");
        }
    }
}
