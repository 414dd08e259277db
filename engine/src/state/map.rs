//! A map a key.

use super::context::KeyedContext;
use crate::api::Data;
use crate::{Result, codec};
use millpond_backend_api::StateId;
use std::marker::PhantomData;

/// A state that holds a map for each key, entry by entry: what is not touched is not read.
pub struct MapState<K, V> {
    state: StateId,
    entry: PhantomData<fn() -> (K, V)>,
}

impl<K: Data, V: Data> MapState<K, V> {
    pub(crate) fn new(state: StateId) -> Self {
        Self {
            state,
            entry: PhantomData,
        }
    }

    /// The value at `key` in the current key's map.
    ///
    /// # Errors
    /// The backend's, and when the stored bytes are no `V`.
    pub fn get(&self, context: &mut KeyedContext, key: &K) -> Result<Option<V>> {
        let key = codec::to_vec(key)?;
        match context.get(self.state, &key)? {
            Some(bytes) => Ok(Some(codec::decode(bytes)?)),
            None => Ok(None),
        }
    }

    /// Whether there is an entry at `key`.
    ///
    /// # Errors
    /// The backend's.
    pub fn contains(&self, context: &mut KeyedContext, key: &K) -> Result<bool> {
        let key = codec::to_vec(key)?;
        Ok(context.get(self.state, &key)?.is_some())
    }

    /// Sets the entry at `key`.
    ///
    /// # Errors
    /// The backend's, and when serde refuses key or value.
    pub fn put(&self, context: &mut KeyedContext, key: &K, value: &V) -> Result<()> {
        let key = codec::to_vec(key)?;
        context.put(self.state, &key, value)
    }

    /// Removes the entry at `key`; whether there was one.
    ///
    /// # Errors
    /// The backend's.
    pub fn remove(&self, context: &mut KeyedContext, key: &K) -> Result<bool> {
        let key = codec::to_vec(key)?;
        context.delete(self.state, &key)
    }

    /// Whether the map has no entry; looks at one at most.
    ///
    /// # Errors
    /// The backend's.
    pub fn is_empty(&self, context: &mut KeyedContext) -> Result<bool> {
        Ok(context.scan(self.state, 1)?.is_empty())
    }

    /// The entries as they are now, in no order. The map may be changed while they are gone through.
    ///
    /// # Errors
    /// The backend's, and when the stored bytes are no `K` and `V`.
    pub fn entries(&self, context: &mut KeyedContext) -> Result<Vec<(K, V)>> {
        let decode = |entry: millpond_backend_api::Entry<'_>| {
            Ok((codec::decode(entry.map_key)?, codec::decode(entry.value)?))
        };
        context.scan(self.state, 0)?.iter().map(decode).collect()
    }

    /// The keys of the map, in no order.
    ///
    /// # Errors
    /// As [`entries`](Self::entries).
    pub fn keys(&self, context: &mut KeyedContext) -> Result<Vec<K>> {
        context
            .scan(self.state, 0)?
            .iter()
            .map(|entry| Ok(codec::decode(entry.map_key)?))
            .collect()
    }

    /// The values of the map, in no order.
    ///
    /// # Errors
    /// As [`entries`](Self::entries).
    pub fn values(&self, context: &mut KeyedContext) -> Result<Vec<V>> {
        context
            .scan(self.state, 0)?
            .iter()
            .map(|entry| Ok(codec::decode(entry.value)?))
            .collect()
    }

    /// Removes the map of the current key.
    ///
    /// # Errors
    /// The backend's.
    pub fn clear(&self, context: &mut KeyedContext) -> Result<()> {
        context.clear_map(self.state).map(drop)
    }
}

impl<K, V> Clone for MapState<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for MapState<K, V> {}

impl<K, V> std::fmt::Debug for MapState<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MapState").field(&self.state.0).finish()
    }
}
