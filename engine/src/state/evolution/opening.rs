//! The time between the restore of a subtask's state and its first record, in which states are registered, and migrate.

use super::{Convert, Verdict};
use crate::backend::KeyedBackend;
use crate::codec::CodecError;
use crate::state::ttl::damaged_element;
use crate::{Error, ErrorKind, Result};
use millpond_backend_api::ttl::{TIME_BYTES, TimedElements};
use millpond_backend_api::{Cell, Entry, EntryBuffer, StateDescriptor, StateKind, StateTtl, key_hash};
use std::collections::HashMap;
use std::time::Instant;

/// Opens the subtask's backend once more, without anything in it.
pub(crate) type OpenEmpty = Box<dyn FnOnce() -> Result<KeyedBackend>>;

/// What is known while states are registered.
pub(crate) struct Opening {
    /// The operator's name, for people.
    operator: String,
    /// What was restored.
    stored: Vec<StateDescriptor>,
    /// What was registered so far, in that order, so that states have the same numbers in another backend.
    registered: Vec<StateDescriptor>,
    open_empty: Option<OpenEmpty>,
    /// The backend with what was restored, once an empty one has taken its place.
    restored: Option<KeyedBackend>,
    /// What is to be converted, by state.
    conversions: HashMap<String, Convert>,
    /// Nothing is to be done but to find out what would be.
    plan: Option<Vec<PlannedState>>,
}

/// What would become of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedState {
    pub(crate) name: String,
    pub(crate) kind: StateKind,
    pub(crate) verdict: Verdict,
}

impl Opening {
    /// For a backend that holds `stored`.
    pub(crate) fn new(operator: String, stored: Vec<StateDescriptor>, open_empty: OpenEmpty) -> Self {
        Self {
            operator,
            stored,
            registered: Vec::new(),
            open_empty: Some(open_empty),
            restored: None,
            conversions: HashMap::new(),
            plan: None,
        }
    }

    /// To find out what would become of `stored`.
    pub(crate) fn to_plan(operator: String, stored: Vec<StateDescriptor>) -> Self {
        Self {
            operator,
            stored,
            registered: Vec::new(),
            open_empty: None,
            restored: None,
            conversions: HashMap::new(),
            plan: Some(Vec::new()),
        }
    }

    /// The operator as errors name it.
    pub(crate) fn place(&self, backend: &KeyedBackend) -> String {
        place(&self.operator, backend)
    }

    pub(crate) fn stored(&self) -> &[StateDescriptor] {
        &self.stored
    }

    /// What was registered under a name.
    pub(crate) fn registered(&self, name: &str) -> Option<&StateDescriptor> {
        self.registered.iter().find(|known| known.name == name)
    }

    /// Notes what was registered.
    pub(crate) fn note(&mut self, descriptor: &StateDescriptor) {
        if !self.registered.iter().any(|known| known.name == descriptor.name) {
            self.registered.push(descriptor.clone());
        }
    }

    /// Notes the verdict if it was asked for only; whether that was so.
    pub(crate) fn plans(&mut self, name: &str, kind: StateKind, verdict: &Verdict) -> bool {
        let Some(plan) = &mut self.plan else {
            return false;
        };
        plan.push(PlannedState {
            name: name.to_owned(),
            kind,
            verdict: verdict.clone(),
        });
        true
    }

    /// What was found out.
    pub(crate) fn into_plan(self) -> Vec<PlannedState> {
        self.plan.unwrap_or_default()
    }

    /// Has the values of a state converted. The first such state brings an empty backend in the place of `backend`.
    pub(crate) fn convert(&mut self, backend: &mut KeyedBackend, name: &str, convert: Convert) -> Result<()> {
        self.conversions.insert(name.to_owned(), convert);
        if let Some(open_empty) = self.open_empty.take() {
            let mut empty = open_empty()?;
            for descriptor in &self.registered {
                empty.register(descriptor)?;
            }
            self.restored = Some(std::mem::replace(backend, empty));
        }
        Ok(())
    }
}

fn place(operator: &str, backend: &KeyedBackend) -> String {
    let place = backend.place();
    format!(
        "operator '{operator}' (uid '{}', subtask {})",
        place.operator, place.subtask
    )
}

/// Brings everything over to `backend` that was restored, if an empty backend took the place of that.
///
/// # Errors
/// [`ErrorKind::State`] for a value that cannot be converted; the backend's.
pub(crate) fn bring_over(opening: Opening, backend: &mut KeyedBackend) -> Result<()> {
    let Opening {
        operator,
        stored,
        registered,
        restored: Some(mut restored),
        conversions,
        ..
    } = opening
    else {
        return Ok(());
    };
    let (place, subtask) = (place(&operator, &restored), restored.place().subtask);
    for mut old in stored {
        let started = Instant::now();
        old.ttl = StateTtl::NONE;
        let new = registered.iter().find(|new| new.name == old.name);
        let conversion = conversions.get(old.name.as_str());
        let mut entries = 0;
        let mut bring = || -> Result<()> {
            let from = restored.register(&old)?;
            let to = backend.register(new.unwrap_or(&old))?;
            let is_timed = new.is_some_and(|new| !new.ttl.is_none());
            let mut buffer = EntryBuffer::new();
            let mut scratch = Vec::new();
            for group in restored.key_groups().iter() {
                buffer.clear();
                restored.visit(from, group, &mut buffer)?;
                for entry in buffer.iter() {
                    let value = match conversion {
                        Some(convert) => {
                            scratch.clear();
                            convert_entry(convert, old.kind, is_timed, entry, &mut scratch).map_err(
                                |error| error.context(format_args!("a value of key group {group}")),
                            )?;
                            &scratch
                        }
                        None => entry.value,
                    };
                    let cell = Cell::of_key(key_hash(entry.key), group, entry.key)
                        .with_namespace(entry.namespace)
                        .with_map_key(entry.map_key);
                    backend.put(to, &cell, value)?;
                    entries += 1;
                }
            }
            Ok(())
        };
        bring().map_err(|error| {
            error.context(format_args!("{place}: state '{}' cannot be migrated", old.name))
        })?;
        tracing::info!(
            operator,
            subtask,
            state = old.name.as_str(),
            entries,
            is_converted = conversion.is_some(),
            ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "state was brought over for a migration"
        );
    }
    Ok(())
}

/// Appends what the value of an entry becomes.
fn convert_entry(
    convert: &Convert,
    kind: StateKind,
    is_timed: bool,
    entry: Entry<'_>,
    to: &mut Vec<u8>,
) -> Result<()> {
    match (kind, is_timed) {
        (StateKind::List, false) => {
            let mut rest = entry.value;
            while !rest.is_empty() {
                let before = to.len();
                convert(&mut rest, to)?;
                if to.len() == before {
                    return Err(Error::new(
                        ErrorKind::State,
                        "the elements of a list state must have at least one byte when they are encoded",
                    ));
                }
            }
            Ok(())
        }
        (StateKind::List, true) => {
            let mut element = Vec::new();
            for stored in TimedElements::new(entry.value) {
                let (time, stored) = stored.map_err(damaged_element)?;
                element.clear();
                whole(convert, stored, &mut element)?;
                crate::state::list::put_element(to, time, &element)?;
            }
            Ok(())
        }
        (_, true) => {
            let (time, value) = entry.value.split_at_checked(TIME_BYTES).ok_or_else(|| {
                Error::new(
                    ErrorKind::Damaged,
                    format!("{} bytes are no value with its time", entry.value.len()),
                )
            })?;
            to.extend_from_slice(time);
            whole(convert, value, to)
        }
        (_, false) => whole(convert, entry.value, to),
    }
}

/// Converts a value that takes all of `stored`.
fn whole(convert: &Convert, stored: &[u8], to: &mut Vec<u8>) -> Result<()> {
    let mut rest = stored;
    convert(&mut rest, to)?;
    if rest.is_empty() {
        return Ok(());
    }
    let rest = CodecError::Trailing {
        offset: stored.len() - rest.len(),
        found: rest.len(),
    };
    Err(rest.into())
}
