//! The operator states of one subtask: registered, restored and encoded.

use super::broadcast::{BroadcastState, BroadcastStates, Entries};
use super::descriptor::{ListStateDescriptor, MapStateDescriptor};
use super::list::{List, ListStates, OperatorListState};
use super::table::{Elements, Registered, Table};
use crate::api::Data;
use crate::checkpoint::storage::{CheckpointStorage, Scope, StreamHint};
use crate::checkpoint::{
    CheckpointId, ElementOffsets, FileRef, OperatorStateShare, OperatorStateSnapshot, Redistribution,
};
use crate::codec::CodecId;
use crate::state::evolution::{Evolve, Migration, Verdict, Way, evolved, way};
use crate::{Error, ErrorKind, Result, codec};
use std::fmt;
use std::sync::Arc;

/// What was restored and nobody has asked for yet.
struct Restored {
    shares: Vec<OperatorStateShare>,
    storage: Arc<dyn CheckpointStorage>,
}

/// What would become of an operator state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedOperatorState {
    pub(crate) name: String,
    pub(crate) redistribution: Redistribution,
    pub(crate) verdict: Verdict,
}

/// What is stored, where nothing is to be done but to find out what would become of it.
struct Planning {
    stored: Vec<OperatorStateShare>,
    planned: Vec<PlannedOperatorState>,
}

/// All operator state of one subtask.
#[derive(Default)]
pub(crate) struct OperatorStates {
    pub(crate) lists: ListStates,
    pub(crate) broadcast: BroadcastStates,
    restored: Option<Restored>,
    /// What was restored and the program did not ask for: kept as it is.
    carried: Vec<EncodedState>,
    planning: Option<Planning>,
}

impl fmt::Debug for OperatorStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperatorStates")
            .field("lists", &self.lists)
            .field("broadcast", &self.broadcast)
            .finish_non_exhaustive()
    }
}

impl OperatorStates {
    /// Takes what the subtask is given of a checkpoint; states find it when they are registered.
    pub(crate) fn restore(shares: Vec<OperatorStateShare>, storage: Arc<dyn CheckpointStorage>) -> Self {
        Self {
            restored: Some(Restored { shares, storage }),
            ..Self::default()
        }
    }

    /// To find out what would become of `stored`: states are registered, and get nothing of it.
    pub(crate) fn to_plan(stored: Vec<OperatorStateShare>) -> Self {
        Self {
            planning: Some(Planning {
                stored,
                planned: Vec::new(),
            }),
            ..Self::default()
        }
    }

    /// What was found out.
    pub(crate) fn into_plan(self) -> Vec<PlannedOperatorState> {
        self.planning.map(|planning| planning.planned).unwrap_or_default()
    }

    pub(crate) fn list_state<T: Data>(
        &mut self,
        descriptor: &ListStateDescriptor<T>,
        redistribution: Redistribution,
    ) -> Result<OperatorListState<T>> {
        let (name, codec) = (descriptor.name(), CodecId::of::<T>());
        if let Some(number) = self.registered::<List<T>>(name, redistribution, &codec)? {
            return Ok(OperatorListState::new(number));
        }
        let mut elements: Vec<T> = Vec::new();
        let accepts = Accepts::of::<T>(redistribution, &codec, descriptor.migrations());
        self.take_restored(name, &accepts, |element| {
            elements.push(codec::decode(element)?);
            Ok(())
        })?;
        let number = add(&mut self.lists.table, name, redistribution, codec, List(elements));
        Ok(OperatorListState::new(number))
    }

    pub(crate) fn broadcast_state<K: Data + Ord, V: Data>(
        &mut self,
        descriptor: &MapStateDescriptor<K, V>,
    ) -> Result<BroadcastState<K, V>> {
        let (name, codec) = (descriptor.name(), CodecId::of::<(K, V)>());
        let redistribution = Redistribution::Broadcast;
        if let Some(number) = self.registered::<Entries<K, V>>(name, redistribution, &codec)? {
            return Ok(BroadcastState::new(number));
        }
        let mut entries = std::collections::BTreeMap::new();
        let accepts = Accepts::of::<(K, V)>(redistribution, &codec, descriptor.migrations());
        self.take_restored(name, &accepts, |entry| {
            let (key, value): (K, V) = codec::decode(entry)?;
            entries.insert(key, value);
            Ok(())
        })?;
        let number = add(
            &mut self.broadcast.table,
            name,
            redistribution,
            codec,
            Entries(entries),
        );
        Ok(BroadcastState::new(number))
    }

    /// The number of the state `name` if it is there already, as what it is to be.
    fn registered<E: Elements>(
        &self,
        name: &str,
        redistribution: Redistribution,
        codec: &CodecId,
    ) -> Result<Option<usize>> {
        if name.is_empty() || name.starts_with('_') {
            return Err(Error::new(
                ErrorKind::State,
                format!(
                    "'{name}' cannot be the name of an operator state: it must not be empty nor begin with '_'"
                ),
            ));
        }
        for table in [&self.lists.table, &self.broadcast.table] {
            let Some(number) = table.number(name) else {
                continue;
            };
            let Some(state) = table.0.get(number) else {
                continue;
            };
            if state.redistribution != redistribution {
                return Err(Error::new(
                    ErrorKind::State,
                    format!(
                        "operator state '{name}' is registered as {} and as {redistribution}: a name has one kind of state; give one of them another name",
                        state.redistribution
                    ),
                ));
            }
            if table.get::<E>(number).is_err() {
                return Err(Error::new(
                    ErrorKind::State,
                    format!(
                        "operator state '{name}' is registered with two types, {} and {}: give one of them another name",
                        state.codec.shape, codec.shape
                    ),
                ));
            }
            return Ok(Some(number));
        }
        Ok(None)
    }

    fn take_restored(
        &mut self,
        name: &str,
        accepts: &Accepts<'_>,
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        if let Some(planning) = &mut self.planning {
            planning.note(name, accepts);
            return Ok(());
        }
        let Some(restored) = &mut self.restored else {
            return Ok(());
        };
        let Some(at) = restored.shares.iter().position(|share| share.name == name) else {
            return Ok(());
        };
        let share = restored.shares.remove(at);
        let way = accepts.judge(&share).map_err(|reason| {
            Error::new(
                ErrorKind::State,
                format!("operator state '{name}' cannot be used: {reason}"),
            )
        })?;
        let Way::Convert(convert, how) = way else {
            return share.read(restored.storage.as_ref(), &mut take);
        };
        tracing::info!(state = name, how, "operator state migrates");
        let mut converted = Vec::new();
        share.read(restored.storage.as_ref(), &mut |element| {
            let mut rest = element;
            converted.clear();
            convert(&mut rest, &mut converted)
                .map_err(|error| error.context(format_args!("operator state '{name}' cannot be migrated")))?;
            if !rest.is_empty() {
                return Err(Error::new(
                    ErrorKind::State,
                    format!(
                        "an element of operator state '{name}' has {} bytes behind what was read of it",
                        rest.len()
                    ),
                ));
            }
            take(&converted)
        })
    }

    /// The function has asked for all that it wants. What else was restored goes into the next checkpoints as it is: a version of the program that knows it may come back.
    pub(crate) fn initialized(&mut self, subtask: u32, parallelism: u32) -> Result<()> {
        let Some(Restored { shares, storage }) = self.restored.take() else {
            return Ok(());
        };
        for share in shares {
            let (mut bytes, mut ends) = (Vec::new(), Vec::new());
            let mut index = 0;
            share.read(storage.as_ref(), &mut |element| {
                // Everybody is given all of a union list, and together they write it once.
                let is_own = share.redistribution != Redistribution::Union
                    || index % u64::from(parallelism.max(1)) == u64::from(subtask);
                index += 1;
                if is_own {
                    bytes.extend_from_slice(element);
                    ends.push(bytes.len() as u64);
                }
                Ok(())
            })?;
            tracing::warn!(
                state = %share.name, subtask, elements = index,
                "restored operator state that the function did not ask for: it is kept as it is"
            );
            self.carried.push(EncodedState {
                name: share.name.into(),
                redistribution: share.redistribution,
                codec: share.codec,
                bytes: bytes.into(),
                offsets: ElementOffsets::of_ends(ends),
            });
        }
        Ok(())
    }

    /// The synchronous part of a snapshot: all states, encoded.
    pub(crate) fn encode(&self) -> Result<Vec<EncodedState>> {
        let mut encoded = self.carried.clone();
        for state in self.lists.table.0.iter().chain(&self.broadcast.table.0) {
            let (mut bytes, mut ends) = (Vec::new(), Vec::new());
            state.elements.encode(&mut bytes, &mut ends)?;
            encoded.push(EncodedState {
                name: state.name.as_str().into(),
                redistribution: state.redistribution,
                codec: state.codec.clone(),
                bytes: bytes.into(),
                offsets: ElementOffsets::of_ends(ends),
            });
        }
        Ok(encoded)
    }
}

/// What a state takes of what is stored under its name.
struct Accepts<'a> {
    redistribution: Redistribution,
    codec: &'a CodecId,
    migrations: &'a [Migration],
    evolve: Evolve,
}

impl<'a> Accepts<'a> {
    /// Elements of type `T`, and what leads there.
    fn of<T: Data>(redistribution: Redistribution, codec: &'a CodecId, migrations: &'a [Migration]) -> Self {
        Self {
            redistribution,
            codec,
            migrations,
            evolve: evolved::<T>,
        }
    }

    /// What leads from what is stored to what the state takes, or why nothing does, as a sentence without its full stop.
    fn judge(&self, stored: &OperatorStateShare) -> Result<Way, String> {
        if stored.redistribution != self.redistribution {
            return Err(format!(
                "it is stored as {} and registered as {}: a state keeps its kind; register it as {}, or under another name",
                stored.redistribution, self.redistribution, stored.redistribution
            ));
        }
        way(&stored.codec, self.codec, self.migrations, self.evolve).map_err(|reason| {
            format!(
                "its elements are stored as {} and registered as {}; {reason}; give a function that makes the new element of the old one (with_migration of the state's \
                 descriptor), or register the state as it is stored, or under another name",
                stored.codec, self.codec
            )
        })
    }
}

impl Planning {
    fn note(&mut self, name: &str, accepts: &Accepts<'_>) {
        let stored = self.stored.iter().find(|stored| stored.name == name);
        let verdict = match stored.map(|stored| accepts.judge(stored)) {
            None => Verdict::New,
            Some(Ok(Way::AsIs)) => Verdict::AsIs,
            Some(Ok(Way::Convert(_, how))) => Verdict::AfterMigration { how },
            Some(Err(reason)) => Verdict::Incompatible { reason },
        };
        self.planned.push(PlannedOperatorState {
            name: name.to_owned(),
            redistribution: accepts.redistribution,
            verdict,
        });
    }
}

fn add(
    table: &mut Table,
    name: &str,
    redistribution: Redistribution,
    codec: CodecId,
    elements: impl Elements,
) -> usize {
    table.0.push(Registered {
        name: name.to_owned(),
        redistribution,
        codec,
        elements: Box::new(elements),
    });
    table.0.len() - 1
}

/// A state on its way into a checkpoint.
#[derive(Clone)]
pub(crate) struct EncodedState {
    name: Arc<str>,
    redistribution: Redistribution,
    codec: CodecId,
    bytes: Arc<[u8]>,
    offsets: ElementOffsets,
}

impl EncodedState {
    /// Writes the state into checkpoint `id`; `operator` and `subtask` are for errors.
    pub(crate) fn write(
        self,
        storage: &dyn CheckpointStorage,
        id: CheckpointId,
        operator: &str,
        subtask: u32,
    ) -> Result<OperatorStateSnapshot> {
        let elements = if self.bytes.is_empty() {
            FileRef::inline(Vec::new())
        } else {
            let hint = StreamHint {
                operator: operator.to_owned(),
                subtask,
                state: self.name.to_string(),
                expected_bytes: Some(self.bytes.len() as u64),
            };
            let mut stream = storage.open_stream(id, Scope::Exclusive, &hint)?;
            stream.write(&self.bytes)?;
            stream.finish()?
        };
        Ok(OperatorStateSnapshot {
            name: self.name.to_string(),
            redistribution: self.redistribution,
            codec: self.codec,
            elements,
            offsets: self.offsets,
        })
    }
}
