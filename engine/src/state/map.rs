//! A map a key.

use super::context::KeyedContext;
use super::ttl::Expiry;
use crate::api::Data;
use crate::{Result, codec};
use millpond_backend_api::{Entry, StateId};
use std::marker::PhantomData;

/// A state that holds a map for each key, entry by entry: what is not touched is not read.
pub struct MapState<K, V> {
    pub(super) state: StateId,
    /// If entries expire.
    expiry: Option<Expiry>,
    entry: PhantomData<fn() -> (K, V)>,
}

impl<K: Data, V: Data> MapState<K, V> {
    pub(crate) fn new(state: StateId, expiry: Option<Expiry>) -> Self {
        Self {
            state,
            expiry,
            entry: PhantomData,
        }
    }

    /// The state's number.
    pub(super) fn id(&self) -> StateId {
        self.state
    }

    /// The value at `key` in the current key's map.
    ///
    /// # Errors
    /// The backend's, and when the stored bytes are no `V`.
    pub fn get(&self, context: &mut KeyedContext, key: &K) -> Result<Option<V>> {
        let key = codec::to_vec(key)?;
        match self.stored(context, &key)? {
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
        Ok(self.stored(context, &key)?.is_some())
    }

    /// Sets the entry at `key`.
    ///
    /// # Errors
    /// The backend's, and when serde refuses key or value.
    pub fn put(&self, context: &mut KeyedContext, key: &K, value: &V) -> Result<()> {
        let key = codec::to_vec(key)?;
        match self.expiry {
            Some(_) => context.put_timed(self.state, &key, value),
            None => context.put(self.state, &key, value),
        }
    }

    /// Removes the entry at `key`; whether there was one to be seen.
    ///
    /// # Errors
    /// The backend's.
    pub fn remove(&self, context: &mut KeyedContext, key: &K) -> Result<bool> {
        let key = codec::to_vec(key)?;
        match self.expiry {
            None => context.delete(self.state, &key),
            Some(expiry) => {
                let expiry = expiry.without_refresh();
                let is_seen = context.get_timed(self.state, &key, expiry)?.is_some();
                context.delete(self.state, &key)?;
                Ok(is_seen)
            }
        }
    }

    /// Whether the map has no entry; looks at one at most, unless that one has expired.
    ///
    /// # Errors
    /// The backend's.
    pub fn is_empty(&self, context: &mut KeyedContext) -> Result<bool> {
        let Some(expiry) = self.expiry else {
            return Ok(context.scan(self.state, 1)?.is_empty());
        };
        let now = context.ttl.now();
        let Some(first) = context.scan(self.state, 1)?.iter().next() else {
            return Ok(true);
        };
        let (time, _) = Expiry::split(first.value)?;
        if expiry.shows_expired || !expiry.has_expired(time, now) {
            return Ok(false);
        }
        Ok(self
            .seen(context, expiry.without_refresh(), |_| Ok(()))?
            .is_empty())
    }

    /// The stored bytes of a value, without its time, if it is to be seen.
    fn stored<'c>(&self, context: &'c mut KeyedContext, key: &[u8]) -> Result<Option<&'c [u8]>> {
        match self.expiry {
            Some(expiry) => context.get_timed(self.state, key, expiry),
            None => context.get(self.state, key),
        }
    }

    /// What `decode` makes of each entry that is to be seen, its value without time. What has expired is removed.
    fn seen<R>(
        &self,
        context: &mut KeyedContext,
        expiry: Expiry,
        decode: impl Fn(Entry<'_>) -> Result<R>,
    ) -> Result<Vec<R>> {
        let now = context.ttl.now();
        context.scan(self.state, 0)?;
        let entries = std::mem::take(&mut context.entries);
        let mut seen = Vec::new();
        for entry in entries.iter() {
            let (time, value) = Expiry::split(entry.value)?;
            if expiry.has_expired(time, now) {
                context.delete(self.state, entry.map_key)?;
                if !expiry.shows_expired {
                    continue;
                }
            } else if expiry.refreshes && time != now {
                context.refresh(self.state, entry.map_key, entry.value)?;
            }
            seen.push(decode(Entry { value, ..entry })?);
        }
        context.entries = entries;
        Ok(seen)
    }

    fn collect<R>(
        &self,
        context: &mut KeyedContext,
        decode: impl Fn(Entry<'_>) -> Result<R>,
    ) -> Result<Vec<R>> {
        match self.expiry {
            Some(expiry) => self.seen(context, expiry, decode),
            None => context.scan(self.state, 0)?.iter().map(decode).collect(),
        }
    }

    /// The entries as they are now, in no order. The map may be changed while they are gone through.
    ///
    /// # Errors
    /// The backend's, and when the stored bytes are no `K` and `V`.
    pub fn entries(&self, context: &mut KeyedContext) -> Result<Vec<(K, V)>> {
        self.collect(context, |entry| {
            Ok((codec::decode(entry.map_key)?, codec::decode(entry.value)?))
        })
    }

    /// The keys of the map, in no order.
    ///
    /// # Errors
    /// As [`entries`](Self::entries).
    pub fn keys(&self, context: &mut KeyedContext) -> Result<Vec<K>> {
        self.collect(context, |entry| Ok(codec::decode(entry.map_key)?))
    }

    /// The values of the map, in no order.
    ///
    /// # Errors
    /// As [`entries`](Self::entries).
    pub fn values(&self, context: &mut KeyedContext) -> Result<Vec<V>> {
        self.collect(context, |entry| Ok(codec::decode(entry.value)?))
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
