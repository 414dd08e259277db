//! Names and types of operator states.

use super::context::FunctionInitializationContext;
use super::store::OperatorStates;
use crate::Result;
use crate::api::Data;
use crate::state::evolution::Migration;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// The name of a list and the type of its elements.
pub struct ListStateDescriptor<T> {
    name: String,
    migrations: Vec<Migration>,
    element: PhantomData<fn() -> T>,
}

impl<T: Data> ListStateDescriptor<T> {
    /// Describes the list `name`. Names are unique within an operator.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            migrations: Vec::new(),
            element: PhantomData,
        }
    }

    /// The same list, whose elements may be stored as an `Old`, of which `migrate` makes the newest type, or one from which another of these functions leads on: as for
    /// [keyed state](crate::state::StateRegistry::with_migration). What serde reads by names needs no function.
    ///
    /// ```
    /// use millpond_engine::state::ListStateDescriptor;
    ///
    /// let words = ListStateDescriptor::<String>::new("words").with_migration(|number: u64| number.to_string());
    /// # let _ = words;
    /// ```
    #[must_use]
    pub fn with_migration<Old: Data, New: Data>(
        mut self,
        migrate: impl Fn(Old) -> New + Send + Sync + 'static,
    ) -> Self {
        self.migrations.push(Migration::new(migrate));
        self
    }

    pub(super) fn migrations(&self) -> &[Migration] {
        &self.migrations
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
    migrations: Vec<Migration>,
    entry: PhantomData<fn() -> (K, V)>,
}

impl<K: Data + Ord, V: Data> MapStateDescriptor<K, V> {
    /// Describes the map `name`. Names are unique within an operator.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            migrations: Vec::new(),
            entry: PhantomData,
        }
    }

    /// The same map, whose entries may be stored with other types: `migrate` makes the new key and value of the old ones. Of entries that come to the same key one is kept. See
    /// [`ListStateDescriptor::with_migration`].
    #[must_use]
    pub fn with_migration<OldKey: Data, OldValue: Data, NewKey: Data, NewValue: Data>(
        mut self,
        migrate: impl Fn(OldKey, OldValue) -> (NewKey, NewValue) + Send + Sync + 'static,
    ) -> Self {
        let migration = Migration::new(move |(key, value): (OldKey, OldValue)| migrate(key, value));
        self.migrations.push(migration);
        self
    }

    pub(super) fn migrations(&self) -> &[Migration] {
        &self.migrations
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
            migrations: self.migrations.clone(),
            element: PhantomData,
        }
    }
}

impl<K, V> Clone for MapStateDescriptor<K, V> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            migrations: self.migrations.clone(),
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
