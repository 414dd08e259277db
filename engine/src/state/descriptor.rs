//! How a state is named and registered.

use super::context::KeyedContext;
use super::evolution::{Convert, Evolve, Migration, StateCodec, Verdict, Way, evolved, way};
use super::ttl::{Expiry, StateTtlConfig, TtlUpdate};
use super::{
    AggregateFunction, AggregatingState, ListState, MapState, NamespacedRegistry, ReducingState, ValueState,
};
use crate::api::Data;
use crate::codec::{self, CodecId, Compatibility, shape_of};
use crate::{Error, ErrorKind, Result};
use millpond_backend_api::ttl::TIME_BYTES;
use millpond_backend_api::{StateDescriptor, StateId, StateKind, StateTtl};
use std::sync::Arc;

/// Registers the states of a function when its subtask opens. The same name gives the same state.
#[derive(Debug)]
pub struct StateRegistry<'a> {
    context: &'a mut KeyedContext,
    key: CodecId,
    /// For the states that are registered through this.
    ttl: Option<StateTtlConfig>,
    /// From what was stored to what these states hold.
    migrations: Vec<Migration>,
    /// Of these states, if they have any.
    namespace: Option<CodecId>,
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
            migrations: Vec::new(),
            namespace: None,
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
            migrations: self.migrations.clone(),
            namespace: self.namespace.clone(),
        }
    }

    /// Registers states that may be stored with values of another type, `Old`, of which `migrate` makes values of the type that the state has now: of values, elements
    /// of lists, values in maps, and accumulators. Called for more than one type that was ever stored, one after the other; what leads from the oldest to the next one and from there to
    /// the newest need not be told again.
    ///
    /// Where the stored type is the registered one, `migrate` is not called. It is called once for each value, before the first record and in no order, and again if the job is
    /// restarted from the same snapshot; so it must go by its argument alone.
    ///
    /// Many changes need no function: fields that were added with `#[serde(default)]`, were left out, have moved, or have become wider or optional, and variants that were added, are
    /// [read by their names](crate::codec::decode_stored). What is neither is refused when the job starts. Keys and map keys never migrate.
    ///
    /// ```
    /// use millpond_engine::Result;
    /// use millpond_engine::state::{StateRegistry, ValueState};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Clone, Serialize, Deserialize)]
    /// struct Visits { count: u64, pages: Vec<String> }
    ///
    /// /// What was stored by the first release of the program.
    /// #[derive(Clone, Serialize, Deserialize)]
    /// struct VisitsV1 { count: u32, last_page: Option<String> }
    ///
    /// fn open(states: &mut StateRegistry<'_>) -> Result<ValueState<Visits>> {
    ///     states
    ///         .with_migration(|old: VisitsV1| Visits {
    ///             count: old.count.into(),
    ///             pages: old.last_page.into_iter().collect(),
    ///         })
    ///         .value_state("visits")
    /// }
    /// ```
    pub fn with_migration<Old: Data, New: Data>(
        &mut self,
        migrate: impl Fn(Old) -> New + Send + Sync + 'static,
    ) -> StateRegistry<'_> {
        let mut migrations = self.migrations.clone();
        migrations.push(Migration::new(migrate));
        StateRegistry {
            context: self.context,
            key: self.key.clone(),
            ttl: self.ttl,
            migrations,
            namespace: self.namespace.clone(),
        }
    }

    /// Registers states that hold something for each key and namespace, such as a window, and can be [merged](super::Namespaced::merge). They have no slots: each access is a call of the
    /// backend.
    pub fn with_namespaces<N: Data>(&mut self) -> NamespacedRegistry<'_, N> {
        NamespacedRegistry::new(StateRegistry {
            context: self.context,
            key: self.key.clone(),
            ttl: self.ttl,
            migrations: self.migrations.clone(),
            namespace: Some(CodecId::of::<N>()),
        })
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
        let Registered { state, expiry } = self.register::<T>(name, StateKind::Value, width, None, value)?;
        let column = width
            .filter(|_| self.context.backend.capabilities().slots && self.namespace.is_none())
            .map(|width| self.context.add_column(state, width));
        Ok(ValueState::new(state, column, expiry))
    }

    /// Registers a state that holds a list a key.
    ///
    /// # Errors
    /// As [`value_state`](Self::value_state).
    pub fn list_state<T: Data>(&mut self, name: &str) -> Result<ListState<T>> {
        let Registered { state, expiry } =
            self.register::<T>(name, StateKind::List, None, None, CodecId::of::<T>())?;
        Ok(ListState::new(state, expiry))
    }

    /// Registers a state that holds a map a key.
    ///
    /// # Errors
    /// As [`value_state`](Self::value_state).
    pub fn map_state<K: Data, V: Data>(&mut self, name: &str) -> Result<MapState<K, V>> {
        let map_key = Some(CodecId::of::<K>());
        let Registered { state, expiry } =
            self.register::<V>(name, StateKind::Map, None, map_key, CodecId::of::<V>())?;
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

    fn register<T: Data>(
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
            namespace: self.namespace.clone(),
            value,
            ttl: self.ttl.is_some(),
        };
        let width = u32::try_from(width.unwrap_or(0)).unwrap_or(0);
        let mut descriptor = StateDescriptor::new(name, kind, width);
        descriptor.codec = codec::to_vec(&codec)?.into();
        if !self.is_registered(&descriptor)? {
            self.meet_stored(name, kind, &codec, evolved::<T>)?;
        }
        descriptor.ttl = self
            .ttl
            .as_ref()
            .map_or(StateTtl::NONE, StateTtlConfig::for_backend);
        let state = self.context.register(&descriptor)?;
        let expiry = self.ttl.as_ref().map(|ttl| self.context.ttl.add(state, ttl));
        Ok(Registered { state, expiry })
    }

    /// Whether the state was registered before, as what it is now.
    fn is_registered(&self, descriptor: &StateDescriptor) -> Result<bool> {
        let opening = self.context.opening.as_ref();
        let Some(known) = opening.and_then(|opening| opening.registered(&descriptor.name)) else {
            return Ok(false);
        };
        if (known.kind, &known.codec) == (descriptor.kind, &descriptor.codec) {
            return Ok(true);
        }
        let shown = |state: &StateDescriptor| {
            let codec = codec::decode::<StateCodec>(&state.codec);
            let codec = codec.map_or_else(|_| String::new(), |codec| format!(", {codec}"));
            format!("a {} state{codec}", state.kind.name())
        };
        Err(Error::new(
            ErrorKind::State,
            format!(
                "state '{}' is registered twice: as {}, and as {}; give one of them another name",
                descriptor.name,
                shown(known),
                shown(descriptor)
            ),
        ))
    }

    /// Compares a state with what is stored under its name, and has that converted if it has to be.
    fn meet_stored(&mut self, name: &str, kind: StateKind, codec: &StateCodec, evolve: Evolve) -> Result<()> {
        let KeyedContext { opening, backend, .. } = &mut *self.context;
        let Some(opening) = opening else {
            return Err(Error::new(
                ErrorKind::State,
                format!(
                    "state '{name}' cannot be registered any more: states are registered when a function is opened"
                ),
            ));
        };
        let stored = opening.stored().iter().find(|stored| stored.name == name);
        let (verdict, convert) = match stored {
            None => (Verdict::New, None),
            Some(stored) => judge(stored, kind, codec, &self.migrations, evolve),
        };
        if opening.plans(name, kind, &verdict) {
            return Ok(());
        }
        if let Verdict::Incompatible { reason } = verdict {
            return Err(Error::new(
                ErrorKind::State,
                format!(
                    "{}: {} state '{name}' cannot be used: {reason}",
                    opening.place(backend),
                    kind.name()
                ),
            ));
        }
        match convert {
            Some(convert) => opening.convert(backend, name, convert),
            None => Ok(()),
        }
    }
}

/// What a program can do about a state of another type, whatever that is.
const WAY_OUT: &str = "register the state as it is stored, or under another name";

/// Whether what is stored can be used as `registered`.
fn judge(
    stored: &StateDescriptor,
    kind: StateKind,
    registered: &StateCodec,
    migrations: &[Migration],
    evolve: Evolve,
) -> (Verdict, Option<Convert>) {
    let refuse = |reason: String| (Verdict::Incompatible { reason }, None);
    if stored.kind != kind {
        return refuse(format!(
            "it is stored as a {} state; {WAY_OUT}",
            stored.kind.name()
        ));
    }
    let stored: StateCodec = match codec::decode(&stored.codec) {
        Ok(codec) => codec,
        Err(error) => {
            return refuse(format!(
                "the codec that it is stored with cannot be read: {error}"
            ));
        }
    };
    let compare = |what, stored: &CodecId, registered: &CodecId| match CodecId::check(stored, registered) {
        Compatibility::AsIs => None,
        Compatibility::Incompatible { reason } => Some(format!(
            "its {what} is stored as {stored} and registered as {registered} ({reason}), and a {what} cannot migrate: {WAY_OUT}"
        )),
    };
    if let Some(reason) = compare("key", &stored.key, &registered.key) {
        return refuse(reason);
    }
    if let (Some(stored), Some(registered)) = (&stored.map_key, &registered.map_key)
        && let Some(reason) = compare("map key", stored, registered)
    {
        return refuse(reason);
    }
    match (&stored.namespace, &registered.namespace) {
        (Some(stored), Some(registered)) => {
            if let Some(reason) = compare("namespace", stored, registered) {
                return refuse(reason);
            }
        }
        (None, None) => {}
        (stored, _) => {
            let with = |has: bool| {
                if has {
                    "with namespaces"
                } else {
                    "without namespaces"
                }
            };
            return refuse(format!(
                "it is stored {}, and registered {}; {WAY_OUT}",
                with(stored.is_some()),
                with(stored.is_none())
            ));
        }
    }
    if stored.ttl != registered.ttl {
        let with = |ttl: bool| {
            if ttl {
                "with a TTL (each value with its time)"
            } else {
                "without a TTL (values without times)"
            }
        };
        return refuse(format!(
            "it is stored {}, and registered {}; {WAY_OUT}",
            with(stored.ttl),
            with(registered.ttl)
        ));
    }
    match way(&stored.value, &registered.value, migrations, evolve) {
        Ok(Way::AsIs) => (Verdict::AsIs, None),
        Ok(Way::Convert(convert, how)) => (Verdict::AfterMigration { how }, Some(convert)),
        Err(reason) => refuse(format!(
            "its value is stored as {} and registered as {}; {reason}; give a function that makes the new value of the old one \
             (StateRegistry::with_migration), or {WAY_OUT}",
            stored.value, registered.value
        )),
    }
}

/// Refuses restored states of another key than the operator has, also those that the program does not register: they go into the next snapshot, under that key.
///
/// # Errors
/// [`ErrorKind::State`], naming the first such state and both keys.
pub(crate) fn check_keys(context: &KeyedContext, key: &CodecId) -> Result<()> {
    let Some(opening) = &context.opening else {
        return Ok(());
    };
    for stored in opening.stored() {
        // Some states of the engine's own have keys that it made itself.
        let Ok(codec) = codec::decode::<StateCodec>(&stored.codec) else {
            continue;
        };
        if let Compatibility::Incompatible { reason } = CodecId::check(&codec.key, key) {
            return Err(Error::new(
                ErrorKind::State,
                format!(
                    "{}: state '{}' is stored under the key {} and the program has the key {key} ({reason}). Keys cannot migrate, since they say where state is: \
                     select the key as it was, or give the operator another uid and leave the old state behind",
                    opening.place(&context.backend),
                    stored.name,
                    codec.key,
                ),
            ));
        }
    }
    Ok(())
}
