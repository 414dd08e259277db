//! Names and types of operator states.

use super::store::OperatorStates;
use crate::Result;
use crate::api::Data;
use std::fmt;
use std::marker::PhantomData;

/// The name of a list and the type of its elements.
pub struct ListStateDescriptor<T> {
    name: String,
    element: PhantomData<fn() -> T>,
}

impl<T: Data> ListStateDescriptor<T> {
    /// Describes the list `name`. Names are unique within an operator.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            element: PhantomData,
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The name of a map and the types of its keys and values.
pub struct MapStateDescriptor<K, V> {
    name: String,
    entry: PhantomData<fn() -> (K, V)>,
}

impl<K: Data + Ord, V: Data> MapStateDescriptor<K, V> {
    /// Describes the map `name`. Names are unique within an operator.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            entry: PhantomData,
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<T> Clone for ListStateDescriptor<T> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            element: PhantomData,
        }
    }
}

impl<K, V> Clone for MapStateDescriptor<K, V> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            entry: PhantomData,
        }
    }
}

impl<T> fmt::Debug for ListStateDescriptor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ListStateDescriptor").field(&self.name).finish()
    }
}

impl<K, V> fmt::Debug for MapStateDescriptor<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MapStateDescriptor").field(&self.name).finish()
    }
}

/// Registers a broadcast state of types that are forgotten here.
pub(crate) trait RegistersBroadcast: Send + Sync {
    fn register(&self, states: &mut OperatorStates) -> Result<()>;
}

impl<K: Data + Ord, V: Data> RegistersBroadcast for MapStateDescriptor<K, V> {
    fn register(&self, states: &mut OperatorStates) -> Result<()> {
        states.broadcast_state(self).map(drop)
    }
}
