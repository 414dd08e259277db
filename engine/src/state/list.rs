//! A list a key.

use super::context::KeyedContext;
use crate::api::Data;
use crate::{Result, codec};
use millpond_backend_api::StateId;
use std::marker::PhantomData;

/// A state that holds a list for each key. Empty and absent are the same.
pub struct ListState<T> {
    state: StateId,
    element: PhantomData<fn() -> T>,
}

impl<T: Data> ListState<T> {
    pub(crate) fn new(state: StateId) -> Self {
        Self {
            state,
            element: PhantomData,
        }
    }

    /// The elements in the order in which they were added.
    ///
    /// # Errors
    /// The backend's, and when the stored bytes are no list of `T`.
    pub fn get(&self, context: &mut KeyedContext) -> Result<Vec<T>> {
        let mut elements = Vec::new();
        if let Some(mut bytes) = context.get(self.state, &[])? {
            while !bytes.is_empty() {
                elements.push(codec::decode_prefix(&mut bytes)?);
            }
        }
        Ok(elements)
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
        let bytes = encode(elements)?;
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
        let bytes = encode(elements)?;
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
