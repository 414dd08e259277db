//! A state backend of a few lines, that keeps every cell in a `BTreeMap`.
//!
//! It uses nothing but `millpond-backend-api` and `std`, since the tests of the loader compile this very file into libraries.

use millpond_backend_api::{
    BackendConfig, BackendError, BackendErrorKind, BackendResult, Capabilities, Cell, CheckpointEvent, Entry,
    EntryBuffer, KeyBatch, KeyGroup, KeyGroupRange, KeyedState, OpenKeyed, Slot, SnapshotHandle,
    SnapshotRequest, SnapshotStreams, SnapshotWriter, StateBackend, StateBackendFactory, StateDescriptor,
    StateId, StreamHint, unsupported,
};
use std::collections::BTreeMap;

/// A factory with the names that a test needs. Its backend keeps every cell in a `BTreeMap`.
#[derive(Clone, Debug)]
pub(crate) struct ModelFactory {
    pub(crate) name: &'static str,
    pub(crate) short_names: &'static [&'static str],
    pub(crate) version: &'static str,
}

impl StateBackendFactory for ModelFactory {
    type Backend = ModelBackend;

    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn short_names(&self) -> Vec<String> {
        self.short_names.iter().map(ToString::to_string).collect()
    }

    fn version(&self) -> String {
        self.version.to_owned()
    }

    fn create(&self, config: &BackendConfig) -> BackendResult<ModelBackend> {
        match config.get("model.pages") {
            Some("panic") => panic!("no pages left"),
            Some("many") => Err(BackendError::new(
                BackendErrorKind::Configuration,
                "model.pages: 'many' is not valid, expected a number",
            )),
            _ => Ok(ModelBackend),
        }
    }
}

pub(crate) struct ModelBackend;

type Cells = BTreeMap<(u32, u16, Vec<u8>, Vec<u8>), Vec<u8>>;

pub(crate) struct ModelKeyed {
    groups: KeyGroupRange,
    states: Vec<StateDescriptor>,
    cells: Cells,
}

pub(crate) struct ModelWriter {
    groups: KeyGroupRange,
    states: Vec<StateDescriptor>,
    cells: Cells,
}

impl StateBackend for ModelBackend {
    type Keyed = ModelKeyed;

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            ordered_iteration: true,
            ..Capabilities::default()
        }
    }

    fn open_keyed(&self, open: OpenKeyed) -> BackendResult<ModelKeyed> {
        let mut cells = Cells::new();
        for file in open.restore.iter().flat_map(|handle| handle.files.iter()) {
            let bytes = open.files.read_all(file)?;
            for line in String::from_utf8_lossy(&bytes).lines() {
                let mut parts = line.split('|').map(|part| part.as_bytes().to_vec());
                let mut part = || parts.next().unwrap_or_default();
                let number = |text: Vec<u8>| String::from_utf8_lossy(&text).parse::<u32>().unwrap();
                let (state, group) = (number(part()), number(part()));
                let group = u16::try_from(group).unwrap();
                if open.key_groups.contains(KeyGroup(group)) {
                    cells.insert((state, group, part(), part()), part());
                }
            }
        }
        Ok(ModelKeyed {
            groups: open.key_groups,
            states: Vec::new(),
            cells,
        })
    }
}

impl ModelKeyed {
    fn id(state: StateId, cell: &Cell<'_>) -> (u32, u16, Vec<u8>, Vec<u8>) {
        (
            state.0,
            cell.group.0,
            cell.key.as_slice().to_vec(),
            cell.map_key.as_slice().to_vec(),
        )
    }
}

impl KeyedState for ModelKeyed {
    type Writer = ModelWriter;

    fn register(&mut self, descriptor: &StateDescriptor) -> BackendResult<StateId> {
        if let Some(index) = self.states.iter().position(|state| state.name == descriptor.name) {
            if self.states[index].kind != descriptor.kind {
                return Err(BackendError::new(
                    BackendErrorKind::Incompatible,
                    format!("state '{}' is of another kind", descriptor.name),
                ));
            }
            return Ok(StateId(u32::try_from(index).unwrap()));
        }
        self.states.push(descriptor.clone());
        Ok(StateId(u32::try_from(self.states.len() - 1).unwrap()))
    }

    fn states(&self) -> Vec<StateDescriptor> {
        self.states.clone()
    }

    fn prefetch(&mut self, _: StateId, _: &KeyBatch<'_>) {}

    fn slots(&mut self, _: StateId, _: &KeyBatch<'_>, _: &mut [Slot]) -> BackendResult<u64> {
        Err(unsupported("slots"))
    }

    fn end_batch(&mut self, _: StateId, _: &KeyBatch<'_>, _: &[Slot], _: bool) -> BackendResult<()> {
        Ok(())
    }

    fn get(&mut self, state: StateId, cell: &Cell<'_>) -> BackendResult<Option<&[u8]>> {
        assert!(cell.key.as_slice() != b"panic", "asked for it");
        Ok(self.cells.get(&Self::id(state, cell)).map(Vec::as_slice))
    }

    fn put(&mut self, state: StateId, cell: &Cell<'_>, value: &[u8]) -> BackendResult<()> {
        if !self.groups.contains(cell.group) {
            return Err(BackendError::new(
                BackendErrorKind::Misuse,
                format!("key group {} is not owned", cell.group),
            ));
        }
        self.cells.insert(Self::id(state, cell), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, state: StateId, cell: &Cell<'_>) -> BackendResult<bool> {
        Ok(self.cells.remove(&Self::id(state, cell)).is_some())
    }

    fn append(&mut self, state: StateId, cell: &Cell<'_>, element: &[u8]) -> BackendResult<()> {
        let list = self.cells.entry(Self::id(state, cell)).or_default();
        list.extend_from_slice(element);
        Ok(())
    }

    fn scan(
        &mut self,
        state: StateId,
        cell: &Cell<'_>,
        to: &[u8],
        limit: usize,
        entries: &mut EntryBuffer,
    ) -> BackendResult<()> {
        let from = Self::id(state, cell);
        let limit = if limit == 0 { usize::MAX } else { limit };
        for ((_, _, key, map_key), value) in self
            .cells
            .range(from.clone()..)
            .take_while(|((state, group, key, map_key), _)| {
                (state, group, key) == (&from.0, &from.1, &from.2)
                    && (to.is_empty() || map_key.as_slice() < to)
            })
            .take(limit)
        {
            entries.push(Entry {
                key,
                namespace: b"",
                map_key,
                value,
            });
        }
        Ok(())
    }

    fn clear_map(&mut self, state: StateId, cell: &Cell<'_>) -> BackendResult<u64> {
        let before = self.cells.len();
        self.cells
            .retain(|(of, _, key, _), _| (*of, key.as_slice()) != (state.0, cell.key.as_slice()));
        Ok((before - self.cells.len()) as u64)
    }

    fn visit(&mut self, state: StateId, group: KeyGroup, entries: &mut EntryBuffer) -> BackendResult<()> {
        for ((of, at, key, map_key), value) in &self.cells {
            if (*of, *at) == (state.0, group.0) {
                entries.push(Entry {
                    key,
                    namespace: b"",
                    map_key,
                    value,
                });
            }
        }
        Ok(())
    }

    fn len(&mut self, state: StateId) -> BackendResult<u64> {
        Ok(self.cells.keys().filter(|id| id.0 == state.0).count() as u64)
    }

    fn snapshot(&mut self, _: &SnapshotRequest) -> BackendResult<ModelWriter> {
        Ok(ModelWriter {
            groups: self.groups,
            states: self.states.clone(),
            cells: self.cells.clone(),
        })
    }

    fn notify(&mut self, _: u64, _: CheckpointEvent) -> BackendResult<()> {
        Ok(())
    }

    fn metrics(&self) -> Vec<(String, f64)> {
        vec![(
            "model_states".to_owned(),
            f64::from(u8::try_from(self.states.len()).unwrap()),
        )]
    }
}

impl SnapshotWriter for ModelWriter {
    fn write(&mut self, streams: &SnapshotStreams) -> BackendResult<Vec<SnapshotHandle>> {
        let mut text = String::new();
        for ((state, group, key, map_key), value) in &self.cells {
            let (key, map_key) = (String::from_utf8_lossy(key), String::from_utf8_lossy(map_key));
            let value = String::from_utf8_lossy(value);
            text.push_str(&format!("{state}|{group}|{key}|{map_key}|{value}\n"));
        }
        let mut stream = streams.open(StreamHint {
            state: self.states.first().map_or("".into(), |state| state.name.clone()),
            expected_bytes: Some(text.len() as u64).into(),
            shared: false,
        })?;
        // In two steps, so that a test can act in between; and without a look at the cancellation.
        let (one, two) = text.as_bytes().split_at(text.len() / 2);
        stream.write(one)?;
        stream.write(two)?;
        let file = stream.finish()?;
        Ok(vec![SnapshotHandle {
            key_groups: self.groups,
            format: "model/1".into(),
            state_bytes: file.size,
            new_bytes: file.size,
            files: [file].into_iter().collect(),
            payload: std::iter::empty().collect(),
        }])
    }
}
