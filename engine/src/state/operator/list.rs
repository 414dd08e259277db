//! Lists that belong to a subtask.

use super::table::{Elements, Table};
use crate::api::Data;
use crate::{Result, codec};
use std::fmt;
use std::marker::PhantomData;

/// The lists of one subtask, which handles find theirs in.
#[derive(Default)]
pub struct ListStates {
    pub(super) table: Table,
}

impl fmt::Debug for ListStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ListStates").field(&self.table.names()).finish()
    }
}

pub(super) struct List<T>(pub(super) Vec<T>);

impl<T: Data> Elements for List<T> {
    fn encode(&self, bytes: &mut Vec<u8>, ends: &mut Vec<u64>) -> Result<()> {
        ends.reserve(self.0.len());
        for element in &self.0 {
            codec::encode_into(element, bytes)?;
            ends.push(bytes.len() as u64);
        }
        Ok(())
    }
}

/// A handle to a list, or union list, of a subtask.
pub struct OperatorListState<T> {
    number: usize,
    element: PhantomData<fn() -> T>,
}

impl<T> Clone for OperatorListState<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for OperatorListState<T> {}

impl<T> fmt::Debug for OperatorListState<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OperatorListState").field(&self.number).finish()
    }
}

impl<T: Data> OperatorListState<T> {
    pub(super) fn new(number: usize) -> Self {
        Self {
            number,
            element: PhantomData,
        }
    }

    /// The elements, in the order in which they were added. After a restore there may be elements of several subtasks.
    ///
    /// # Errors
    /// [`ErrorKind::State`](crate::ErrorKind::State) when `states` are those of another operator.
    pub fn get<'s>(&self, states: &'s ListStates) -> Result<&'s [T]> {
        states.table.get::<List<T>>(self.number).map(|list| &list.0[..])
    }

    /// Appends an element.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn add(&self, states: &mut ListStates, element: T) -> Result<()> {
        self.elements(states)?.push(element);
        Ok(())
    }

    /// Appends elements.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn add_all(&self, states: &mut ListStates, elements: impl IntoIterator<Item = T>) -> Result<()> {
        self.elements(states)?.extend(elements);
        Ok(())
    }

    /// Replaces all elements.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn update(&self, states: &mut ListStates, elements: Vec<T>) -> Result<()> {
        *self.elements(states)? = elements;
        Ok(())
    }

    /// Takes all elements out.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn take(&self, states: &mut ListStates) -> Result<Vec<T>> {
        Ok(std::mem::take(self.elements(states)?))
    }

    /// Removes all elements.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn clear(&self, states: &mut ListStates) -> Result<()> {
        self.elements(states)?.clear();
        Ok(())
    }

    fn elements<'s>(&self, states: &'s mut ListStates) -> Result<&'s mut Vec<T>> {
        states
            .table
            .get_mut::<List<T>>(self.number)
            .map(|list| &mut list.0)
    }
}
