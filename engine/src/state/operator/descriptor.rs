//! Names and types of operator states.

use super::context::FunctionInitializationContext;
use super::store::OperatorStates;
use crate::Result;
use crate::api::Data;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

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

/// A [`MapStateDescriptor`] of any types, as [`DataStream::broadcast_with`](crate::api::DataStream::broadcast_with) takes them.
pub trait BroadcastStateDescriptor: sealed::Erases + fmt::Debug {}

impl<K: Data + Ord, V: Data> BroadcastStateDescriptor for MapStateDescriptor<K, V> {}

/// A descriptor of a broadcast state whose types are forgotten.
#[derive(Clone)]
pub struct ErasedDescriptor(Arc<dyn Fn(&mut OperatorStates) -> Result<()> + Send + Sync>);

impl fmt::Debug for ErasedDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ErasedDescriptor")
    }
}

impl ErasedDescriptor {
    pub(crate) fn of(descriptor: &dyn BroadcastStateDescriptor) -> Self {
        descriptor.erase()
    }

    /// Registers states of all `descriptors`, whether the function asks for them or not.
    pub(crate) fn register_all(all: &[Self], context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        all.iter().try_for_each(|Self(register)| register(context.states))
    }
}

mod sealed {
    pub trait Erases {
        fn erase(&self) -> super::ErasedDescriptor;
    }
}

impl<K: Data + Ord, V: Data> sealed::Erases for MapStateDescriptor<K, V> {
    fn erase(&self) -> ErasedDescriptor {
        let descriptor = self.clone();
        ErasedDescriptor(Arc::new(move |states| {
            states.broadcast_state(&descriptor).map(drop)
        }))
    }
}
