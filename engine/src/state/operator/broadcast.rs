//! Maps that are the same in all subtasks.

use super::table::{Elements, Table};
use crate::api::Data;
use crate::{Result, codec};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// The broadcast states of one subtask, which handles find theirs in.
#[derive(Default)]
pub struct BroadcastStates {
    pub(super) table: Table,
}

impl fmt::Debug for BroadcastStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BroadcastStates")
            .field(&self.table.names())
            .finish()
    }
}

pub(super) struct Entries<K, V>(pub(super) BTreeMap<K, V>);

impl<K: Data + Ord, V: Data> Elements for Entries<K, V> {
    fn encode(&self, bytes: &mut Vec<u8>, ends: &mut Vec<u64>) -> Result<()> {
        ends.reserve(self.0.len());
        for entry in &self.0 {
            codec::encode_into(&entry, bytes)?;
            ends.push(bytes.len() as u64);
        }
        Ok(())
    }
}

/// A handle to a broadcast state: a map, in the order of its keys.
///
/// It is the same in every subtask because the program sees to it: it is changed only by what all subtasks see alike, that is, by the records of a broadcast stream,
/// and in the same way. The engine takes it as given when it hands out copies at a restore.
pub struct BroadcastState<K, V> {
    number: usize,
    entry: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for BroadcastState<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for BroadcastState<K, V> {}

impl<K, V> fmt::Debug for BroadcastState<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BroadcastState").field(&self.number).finish()
    }
}

impl<K: Data + Ord, V: Data> BroadcastState<K, V> {
    pub(super) fn new(number: usize) -> Self {
        Self {
            number,
            entry: PhantomData,
        }
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// [`ErrorKind::State`](crate::ErrorKind::State) when `states` are those of another operator.
    pub fn get<'s>(&self, states: &'s BroadcastStates, key: &K) -> Result<Option<&'s V>> {
        Ok(self.entries(states)?.get(key))
    }

    /// Whether `key` has a value.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn contains(&self, states: &BroadcastStates, key: &K) -> Result<bool> {
        Ok(self.entries(states)?.contains_key(key))
    }

    /// All keys and values, in the order of the keys.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn entries<'s>(&self, states: &'s BroadcastStates) -> Result<&'s BTreeMap<K, V>> {
        states
            .table
            .get::<Entries<K, V>>(self.number)
            .map(|entries| &entries.0)
    }

    /// Sets the value of `key` and returns the one before.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn put(&self, states: &mut BroadcastStates, key: K, value: V) -> Result<Option<V>> {
        Ok(self.entries_mut(states)?.insert(key, value))
    }

    /// Removes `key` and returns its value.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn remove(&self, states: &mut BroadcastStates, key: &K) -> Result<Option<V>> {
        Ok(self.entries_mut(states)?.remove(key))
    }

    /// Removes everything.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn clear(&self, states: &mut BroadcastStates) -> Result<()> {
        self.entries_mut(states)?.clear();
        Ok(())
    }

    fn entries_mut<'s>(&self, states: &'s mut BroadcastStates) -> Result<&'s mut BTreeMap<K, V>> {
        states
            .table
            .get_mut::<Entries<K, V>>(self.number)
            .map(|entries| &mut entries.0)
    }
}
