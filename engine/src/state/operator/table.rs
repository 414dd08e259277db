//! Operator states of any type by number.

use crate::checkpoint::Redistribution;
use crate::codec::CodecId;
use crate::{Error, ErrorKind, Result};
use std::any::Any;

/// The elements of one state.
pub(super) trait Elements: Any {
    /// Appends each encoded element to `bytes`, and the length after each to `ends`.
    fn encode(&self, bytes: &mut Vec<u8>, ends: &mut Vec<u64>) -> Result<()>;
}

/// A state that was registered.
pub(super) struct Registered {
    pub(super) name: String,
    pub(super) redistribution: Redistribution,
    pub(super) codec: CodecId,
    pub(super) elements: Box<dyn Elements>,
}

/// The states of a subtask that are all lists, or all maps.
#[derive(Default)]
pub(super) struct Table(pub(super) Vec<Registered>);

impl Table {
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|state| state.name == name)
    }

    pub(super) fn get<E: Elements>(&self, number: usize) -> Result<&E> {
        let elements = self.0.get(number).map(|state| &*state.elements as &dyn Any);
        elements
            .and_then(<dyn Any>::downcast_ref)
            .ok_or_else(foreign_handle)
    }

    pub(super) fn get_mut<E: Elements>(&mut self, number: usize) -> Result<&mut E> {
        let elements = self
            .0
            .get_mut(number)
            .map(|state| &mut *state.elements as &mut dyn Any);
        elements
            .and_then(<dyn Any>::downcast_mut)
            .ok_or_else(foreign_handle)
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.0.iter().map(|state| state.name.as_str()).collect()
    }
}

#[cold]
fn foreign_handle() -> Error {
    Error::new(
        ErrorKind::State,
        "a handle of operator state was used with the states of another operator: each subtask has to ask for its handles in initialize_state",
    )
}
