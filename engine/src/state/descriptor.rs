//! How a state is named and registered.

use super::context::KeyedContext;
use super::ttl::{Expiry, StateTtlConfig, TtlUpdate};
use super::{AggregateFunction, AggregatingState, ListState, MapState, ReducingState, ValueState};
use crate::api::Data;
use crate::codec::{self, CodecId, Compatibility, shape_of};
use crate::{Error, ErrorKind, Result};
use millpond_backend_api::ttl::TIME_BYTES;
use millpond_backend_api::{StateDescriptor, StateId, StateKind, StateTtl};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is stored with a state of how its bytes came about: checked against the program's types when the state is registered.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StateCodec {
    /// The operator's key.
    pub(crate) key: CodecId,
    /// The map key, of maps.
    pub(crate) map_key: Option<CodecId>,
    /// The value, or the element of a list.
    pub(crate) value: CodecId,
    /// Whether each value, or element, is stored with its time.
    pub(crate) ttl: bool,
}

/// Registers the states of a function when its subtask opens. The same name gives the same state.
#[derive(Debug)]
pub struct StateRegistry<'a> {
    context: &'a mut KeyedContext,
    key: CodecId,
    /// For the states that are registered through this.
    ttl: Option<StateTtlConfig>,
}

/// What of a state the backend has to know.
struct Registered {
    state: StateId,
    expiry: Option<Expiry>,
}

impl<'a> StateRegistry<'a> {
    pub(crate) fn new(context: &'a mut KeyedContext, key: CodecId) -> Self {
        Self {
            context,
            key,
            ttl: None,
        }
    }

    /// Registers states whose values expire: for values, elements of lists, entries of maps, and what is folded.
    ///
    /// A state that is restored must have been stored with a TTL, too, of whatever duration: what is stored without times cannot be given any. With
    /// [`TtlUpdate::Disabled`] this registers states without a TTL.
    ///
    /// ```
    /// use millpond_engine::Result;
    /// use millpond_engine::state::{MapState, StateRegistry, StateTtlConfig, ValueState};
    /// use std::time::Duration;
    ///
    /// fn open(states: &mut StateRegistry<'_>) -> Result<(ValueState<u64>, MapState<String, u32>)> {
    ///     let ttl = StateTtlConfig::new_builder(Duration::from_secs(600)).build()?;
    ///     let mut expiring = states.with_ttl(&ttl);
    ///     Ok((expiring.value_state("last seen")?, expiring.map_state("visits")?))
    /// }
    /// ```
    pub fn with_ttl(&mut self, ttl: &StateTtlConfig) -> StateRegistry<'_> {
        StateRegistry {
            context: self.context,
            key: self.key.clone(),
            ttl: Some(*ttl).filter(|ttl| ttl.update_type() != TtlUpdate::Disabled),
        }
    }

    /// The context that states are registered with.
    pub(crate) fn context(&mut self) -> &mut KeyedContext {
        self.context
    }

    /// Registers a state that holds one value a key.
    ///
    /// # Errors
    /// [`ErrorKind::State`] when a state of this name is stored with another kind or another type; the error names both.
    pub fn value_state<T: Data>(&mut self, name: &str) -> Result<ValueState<T>> {
        let shape = shape_of::<T>();
        let width = shape.fixed_width().filter(|width| *width > 0);
        let value = CodecId::of_shape(&shape);
        let time = if self.ttl.is_some() { TIME_BYTES } else { 0 };
        let width = width.map(|width| width + time);
        let Registered { state, expiry } = self.register(name, StateKind::Value, width, None, value)?;
        let column = width
            .filter(|_| self.context.backend.capabilities().slots)
            .map(|width| self.context.add_column(state, width));
        Ok(ValueState::new(state, column, expiry))
    }

    /// Registers a state that holds a list a key.
    ///
    /// # Errors
    /// As [`value_state`](Self::value_state).
    pub fn list_state<T: Data>(&mut self, name: &str) -> Result<ListState<T>> {
        let Registered { state, expiry } =
            self.register(name, StateKind::List, None, None, CodecId::of::<T>())?;
        Ok(ListState::new(state, expiry))
    }

    /// Registers a state that holds a map a key.
    ///
    /// # Errors
    /// As [`value_state`](Self::value_state).
    pub fn map_state<K: Data, V: Data>(&mut self, name: &str) -> Result<MapState<K, V>> {
        let map_key = Some(CodecId::of::<K>());
        let Registered { state, expiry } =
            self.register(name, StateKind::Map, None, map_key, CodecId::of::<V>())?;
        Ok(MapState::new(state, expiry))
    }

    /// Registers a state that folds what is added to it into one value a key, with `reduce`.
    ///
    /// # Errors
    /// As [`value_state`](Self::value_state).
    pub fn reducing_state<T: Data>(
        &mut self,
        name: &str,
        reduce: impl Fn(T, T) -> T + Send + Sync + 'static,
    ) -> Result<ReducingState<T>> {
        Ok(ReducingState::new(self.value_state(name)?, Arc::new(reduce)))
    }

    /// Registers a state that folds what is added to it into an accumulator a key.
    ///
    /// # Errors
    /// As [`value_state`](Self::value_state).
    pub fn aggregating_state<A: AggregateFunction>(
        &mut self,
        name: &str,
        function: A,
    ) -> Result<AggregatingState<A>> {
        Ok(AggregatingState::new(self.value_state(name)?, Arc::new(function)))
    }

    fn register(
        &mut self,
        name: &str,
        kind: StateKind,
        width: Option<usize>,
        map_key: Option<CodecId>,
        value: CodecId,
    ) -> Result<Registered> {
        if name.is_empty() || name.starts_with('_') {
            return Err(Error::new(
                ErrorKind::State,
                format!("'{name}' cannot be the name of a state: it must not be empty nor begin with '_'"),
            ));
        }
        let codec = StateCodec {
            key: self.key.clone(),
            map_key,
            value,
            ttl: self.ttl.is_some(),
        };
        let stored = self
            .context
            .backend
            .states()?
            .into_iter()
            .find(|stored| stored.name == name);
        if let Some(stored) = stored.filter(|stored| stored.kind == kind) {
            check(name, &stored.codec, &codec)
                .map_err(|error| error.context(self.context.backend.place().to_string()))?;
        }
        let width = u32::try_from(width.unwrap_or(0)).unwrap_or(0);
        let mut descriptor = StateDescriptor::new(name, kind, width);
        descriptor.codec = codec::to_vec(&codec)?.into();
        descriptor.ttl = self
            .ttl
            .as_ref()
            .map_or(StateTtl::NONE, StateTtlConfig::for_backend);
        let state = self.context.backend.register(&descriptor)?;
        let expiry = self.ttl.as_ref().map(|ttl| self.context.ttl.add(state, ttl));
        Ok(Registered { state, expiry })
    }
}

/// Checks the types of a state against those that it was stored with.
fn check(name: &str, stored: &[u8], registered: &StateCodec) -> Result<()> {
    let stored: StateCodec = codec::decode(stored).map_err(|error| {
        Error::new(
            ErrorKind::State,
            format!("the codec that state '{name}' was stored with cannot be read"),
        )
        .with_source(error)
    })?;
    let refuse = |what: &str, reason: String| {
        Err(Error::new(
            ErrorKind::State,
            format!(
                "state '{name}' cannot be used: its {what} was stored with another type than the program has: {reason}"
            ),
        ))
    };
    if stored.ttl != registered.ttl {
        let with = |ttl: bool| {
            if ttl {
                "with a TTL (each value with its time)"
            } else {
                "without a TTL (values without times)"
            }
        };
        return Err(Error::new(
            ErrorKind::State,
            format!(
                "state '{name}' cannot be used: it is stored {}, and registered {}. Register it as it is stored, or the other way under another name",
                with(stored.ttl),
                with(registered.ttl)
            ),
        ));
    }
    if let Compatibility::Incompatible { reason } = CodecId::check(&stored.key, &registered.key) {
        return refuse("key", reason.to_string());
    }
    if let Compatibility::Incompatible { reason } = CodecId::check(&stored.value, &registered.value) {
        return refuse("value", reason.to_string());
    }
    match (&stored.map_key, &registered.map_key) {
        (Some(stored), Some(registered)) => match CodecId::check(stored, registered) {
            Compatibility::Incompatible { reason } => refuse("map key", reason.to_string()),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}
