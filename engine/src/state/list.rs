//! A list a key.

use super::context::KeyedContext;
use super::ttl::{Expiry, damaged_element};
use crate::api::Data;
use crate::{Result, codec};
use millpond_backend_api::StateId;
use millpond_backend_api::ttl::TimedElements;
use std::marker::PhantomData;

/// A state that holds a list for each key. Empty and absent are the same.
pub struct ListState<T> {
    pub(super) state: StateId,
    /// If elements expire.
    expiry: Option<Expiry>,
    element: PhantomData<fn() -> T>,
}

impl<T: Data> ListState<T> {
    pub(crate) fn new(state: StateId, expiry: Option<Expiry>) -> Self {
        Self {
            state,
            expiry,
            element: PhantomData,
        }
    }

    /// The state's number.
    pub(super) fn id(&self) -> StateId {
        self.state
    }

    /// Removes the list and gives it as it is stored.
    pub(super) fn take_bytes(&self, context: &mut KeyedContext) -> Result<Option<Vec<u8>>> {
        let bytes = context.get(self.state, &[])?.map(<[u8]>::to_vec);
        if bytes.is_some() {
            self.clear(context)?;
        }
        Ok(bytes)
    }

    /// Appends elements as they are stored.
    pub(super) fn append_bytes(&self, context: &mut KeyedContext, bytes: &[u8]) -> Result<()> {
        context.append_bytes(self.state, bytes)
    }

    /// The elements in the order in which they were added.
    ///
    /// # Errors
    /// The backend's, and when the stored bytes are no list of `T`.
    pub fn get(&self, context: &mut KeyedContext) -> Result<Vec<T>> {
        if let Some(expiry) = self.expiry {
            return self.get_timed(context, expiry);
        }
        let mut elements = Vec::new();
        if let Some(mut bytes) = context.get(self.state, &[])? {
            while !bytes.is_empty() {
                elements.push(codec::decode_prefix(&mut bytes)?);
            }
        }
        Ok(elements)
    }

    /// Those of a list whose elements expire. What has expired is removed.
    fn get_timed(&self, context: &mut KeyedContext, expiry: Expiry) -> Result<Vec<T>> {
        let now = context.ttl.now();
        let mut elements = Vec::new();
        // What is stored from now on, if that is something else.
        let mut kept: Option<Vec<u8>> = None;
        if let Some(bytes) = context.get(self.state, &[])? {
            let mut stored = TimedElements::new(bytes);
            let mut at = stored.position();
            while let Some(element) = stored.next() {
                let (time, element) = element.map_err(damaged_element)?;
                let has_expired = expiry.has_expired(time, now);
                if !has_expired || expiry.shows_expired {
                    elements.push(codec::decode(element)?);
                }
                let is_refreshed = expiry.refreshes && time != now;
                if kept.is_none() && (has_expired || is_refreshed) {
                    kept = bytes.get(..at).map(<[u8]>::to_vec);
                }
                if let Some(kept) = kept.as_mut().filter(|_| !has_expired) {
                    put_element(kept, if is_refreshed { now } else { time }, element)?;
                }
                at = stored.position();
            }
        }
        match kept {
            Some(kept) if kept.is_empty() => self.clear(context)?,
            Some(kept) => context.put_bytes(self.state, &kept)?,
            None => {}
        }
        Ok(elements)
    }

    /// The bytes of `elements` as they are stored.
    fn encode(&self, context: &mut KeyedContext, elements: &[T]) -> Result<Vec<u8>> {
        if self.expiry.is_none() {
            return encode(elements);
        }
        let now = context.ttl.now();
        let (mut bytes, mut encoded) = (Vec::new(), Vec::new());
        for element in elements {
            encoded.clear();
            codec::encode_into(element, &mut encoded)?;
            put_element(&mut bytes, now, &encoded)?;
        }
        Ok(bytes)
    }

    /// Adds an element at the end.
    ///
    /// # Errors
    /// The backend's, and when serde refuses the element.
    pub fn add(&self, context: &mut KeyedContext, element: &T) -> Result<()> {
        self.add_all(context, std::slice::from_ref(element))
    }

    /// Adds elements at the end; nothing at all if there is none.
    ///
    /// # Errors
    /// As [`add`](Self::add); then none was added.
    pub fn add_all(&self, context: &mut KeyedContext, elements: &[T]) -> Result<()> {
        let bytes = self.encode(context, elements)?;
        if bytes.is_empty() {
            Ok(())
        } else {
            context.append_bytes(self.state, &bytes)
        }
    }

    /// Replaces the list; an empty one clears it.
    ///
    /// # Errors
    /// As [`add`](Self::add); the list is as it was.
    pub fn update(&self, context: &mut KeyedContext, elements: &[T]) -> Result<()> {
        let bytes = self.encode(context, elements)?;
        if bytes.is_empty() {
            self.clear(context)
        } else {
            context.put_bytes(self.state, &bytes)
        }
    }

    /// Removes the list of the current key.
    ///
    /// # Errors
    /// The backend's.
    pub fn clear(&self, context: &mut KeyedContext) -> Result<()> {
        context.delete(self.state, &[]).map(drop)
    }
}

/// Appends an element with its time.
pub(super) fn put_element(to: &mut Vec<u8>, time: u64, element: &[u8]) -> Result<()> {
    let len = u32::try_from(element.len()).map_err(|_| {
        crate::Error::new(
            crate::ErrorKind::State,
            format!(
                "an element of a list state has {} bytes when it is encoded, at most {} are possible",
                element.len(),
                u32::MAX
            ),
        )
    })?;
    to.extend_from_slice(&len.to_le_bytes());
    to.extend_from_slice(&time.to_le_bytes());
    to.extend_from_slice(element);
    Ok(())
}

fn encode<T: Data>(elements: &[T]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for element in elements {
        let before = bytes.len();
        codec::encode_into(element, &mut bytes)?;
        if bytes.len() == before {
            // The list is found to end where its bytes do.
            return Err(crate::Error::new(
                crate::ErrorKind::State,
                "the elements of a list state must have at least one byte when they are encoded",
            ));
        }
    }
    Ok(bytes)
}

impl<T> Clone for ListState<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ListState<T> {}

impl<T> std::fmt::Debug for ListState<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ListState").field(&self.state.0).finish()
    }
}
