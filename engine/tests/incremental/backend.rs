//! A backend that writes chains of files: a base with everything, and deltas with what has changed since the checkpoint that is known to be complete. It reads the
//! files of a restore without checking them, and finds damage later.

use millpond_backend_api::{
    BackendConfig, BackendError, BackendErrorKind, BackendResult, Capabilities, Cell, CheckpointEvent, Entry,
    EntryBuffer, FileRef, KeyBatch, KeyGroup, KeyGroupRange, KeyedState, OpenKeyed, RestoreFiles, Slot,
    SnapshotHandle, SnapshotRequest, SnapshotStreams, SnapshotWriter, StateBackend, StateBackendFactory,
    StateDescriptor, StateId, StreamHint, unsupported,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What happened to a keyed state, in the order in which it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Opened {
        handles: usize,
    },
    Asked {
        id: u64,
        may_share: bool,
    },
    Wrote {
        id: u64,
        files: Vec<String>,
    },
    Completed(u64),
    Aborted(u64),
    /// A file was found to be damaged.
    Damaged,
}

/// The events of every keyed state that was opened, by the order of opening.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<Vec<Event>>>>);

impl Events {
    pub(crate) fn of_each(&self) -> Vec<Vec<Event>> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn all(&self) -> Vec<Event> {
        self.of_each().concat()
    }

    fn open(&self, event: Event) -> usize {
        let mut all = self.0.lock().unwrap();
        all.push(vec![event]);
        all.len() - 1
    }

    fn add(&self, number: usize, event: Event) {
        self.0.lock().unwrap()[number].push(event);
    }
}

/// When the files of the latest snapshot are looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verify {
    /// At every tenth look at a cell, and when a snapshot is asked for: so before there can be a checkpoint that goes without them.
    InCalls,
    /// In the slow part of each snapshot.
    InWriter,
}

pub(crate) struct ChainFactory {
    pub(crate) events: Events,
}

impl StateBackendFactory for ChainFactory {
    type Backend = ChainBackend;

    fn name(&self) -> String {
        "tests::ChainStateBackendFactory".into()
    }

    fn short_names(&self) -> Vec<String> {
        vec!["chain".into()]
    }

    fn version(&self) -> String {
        "1".into()
    }

    fn create(&self, config: &BackendConfig) -> BackendResult<ChainBackend> {
        assert_eq!(
            config.get("state.backend.incremental"),
            None,
            "keys come by their newest names"
        );
        Ok(ChainBackend {
            events: self.events.clone(),
            verify: match config.get("chain.verify") {
                Some("writer") => Verify::InWriter,
                _ => Verify::InCalls,
            },
        })
    }
}

pub(crate) struct ChainBackend {
    events: Events,
    verify: Verify,
}

/// State, group, key, namespace and map key.
type Id = (u32, u16, Vec<u8>, Vec<u8>, Vec<u8>);

/// A file of a snapshot and a bit of it that is never read back, so that damage there changes no value.
const PADDING: &[u8] = &[0x55; 64];

pub(crate) struct ChainKeyed {
    events: Events,
    number: usize,
    verify: Verify,
    groups: KeyGroupRange,
    states: Vec<StateDescriptor>,
    cells: BTreeMap<Id, Vec<u8>>,
    /// After which snapshot each cell was last changed or deleted.
    changed: BTreeMap<Id, u64>,
    last_asked: u64,
    /// The chain that the next delta goes on from, and the snapshot that it is of.
    base: Option<(u64, Vec<FileRef>)>,
    /// What writers have written, by checkpoint.
    written: Arc<Mutex<BTreeMap<u64, Vec<FileRef>>>>,
    files: Arc<RestoreFiles>,
    calls: u64,
}

pub(crate) struct ChainWriter {
    events: Events,
    number: usize,
    verify: Verify,
    id: u64,
    groups: KeyGroupRange,
    base: Vec<FileRef>,
    states: String,
    lines: Vec<u8>,
    written: Arc<Mutex<BTreeMap<u64, Vec<FileRef>>>>,
    files: Arc<RestoreFiles>,
    state_bytes: u64,
}

/// Reads every file that can be damaged, with its checksum.
fn verify(files: &RestoreFiles, chain: &[FileRef], events: &Events, number: usize) -> BackendResult<()> {
    let read = |file: &FileRef| -> BackendResult<()> {
        // Whoever reads for it may compare first.
        let bytes = files.read_all(file)?;
        if crc32fast::hash(&bytes) != file.crc32 {
            return Err(BackendError::new(
                BackendErrorKind::Corrupted,
                format!("file '{}' is damaged", file.token),
            ));
        }
        Ok(())
    };
    chain
        .iter()
        .try_for_each(read)
        .inspect_err(|_| events.add(number, Event::Damaged))
}

fn read_unchecked(files: &RestoreFiles, file: &FileRef) -> BackendResult<Vec<u8>> {
    match files.local_path(file)? {
        Some(path) => Ok(std::fs::read(Path::new(&path))?),
        None => files.read_all(file),
    }
}

impl StateBackend for ChainBackend {
    type Keyed = ChainKeyed;

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            incremental: true,
            ordered_iteration: true,
            ..Capabilities::default()
        }
    }

    fn open_keyed(&self, open: OpenKeyed) -> BackendResult<ChainKeyed> {
        let mut cells = BTreeMap::new();
        let mut states: Vec<StateDescriptor> = Vec::new();
        for handle in &open.restore {
            let text = String::from_utf8_lossy(&handle.payload).into_owned();
            for (index, name) in text.lines().enumerate() {
                if states.len() == index {
                    states.push(parse_descriptor(name));
                }
            }
            for file in &handle.files {
                let bytes = read_unchecked(&open.files, file)?;
                let Some(bytes) = bytes
                    .strip_suffix(PADDING)
                    .or(bytes.get(..bytes.len() - PADDING.len()))
                else {
                    continue;
                };
                read_lines(bytes, &mut |id, value| {
                    if !open.key_groups.contains(KeyGroup(id.1)) {
                        return;
                    }
                    match value {
                        Some(value) => cells.insert(id, value),
                        None => cells.remove(&id),
                    };
                });
            }
        }
        // A chain of exactly these key groups can be gone on with.
        let base = match open.restore.as_slice() {
            [handle] if handle.key_groups == open.key_groups => Some((0, handle.files.to_vec())),
            _ => None,
        };
        let handles = open.restore.len();
        Ok(ChainKeyed {
            number: self.events.open(Event::Opened { handles }),
            events: self.events.clone(),
            verify: self.verify,
            groups: open.key_groups,
            states,
            cells,
            changed: BTreeMap::new(),
            last_asked: 0,
            base,
            written: Arc::default(),
            files: Arc::new(open.files),
            calls: 0,
        })
    }
}

fn descriptor_line(state: &StateDescriptor) -> String {
    let codec: String = state.codec.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{}|{}|{}|{codec}\n",
        state.name,
        state.kind.name(),
        state.value_width
    )
}

fn parse_descriptor(line: &str) -> StateDescriptor {
    use millpond_backend_api::StateKind;
    let parts: Vec<&str> = line.split('|').collect();
    let kinds = [
        StateKind::Value,
        StateKind::List,
        StateKind::Map,
        StateKind::SortedMap,
    ];
    let kind = kinds.into_iter().find(|kind| kind.name() == parts[1]).unwrap();
    let codec: Vec<u8> = parts[3]
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    StateDescriptor {
        name: parts[0].into(),
        kind,
        value_width: parts[2].parse().unwrap(),
        codec: codec.into(),
        ttl: millpond_backend_api::StateTtl::NONE,
    }
}

fn put_part(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(&u32::try_from(part.len()).unwrap().to_le_bytes());
    out.extend_from_slice(part);
}

fn put_line(out: &mut Vec<u8>, id: &Id, value: Option<&Vec<u8>>) {
    out.extend_from_slice(&id.0.to_le_bytes());
    out.extend_from_slice(&id.1.to_le_bytes());
    for part in [&id.2, &id.3, &id.4] {
        put_part(out, part);
    }
    out.push(u8::from(value.is_some()));
    put_part(out, value.map_or(&[], Vec::as_slice));
}

fn read_lines(mut bytes: &[u8], take: &mut dyn FnMut(Id, Option<Vec<u8>>)) {
    fn cut<'a>(bytes: &mut &'a [u8], len: usize) -> &'a [u8] {
        let (head, tail) = bytes.split_at(len);
        *bytes = tail;
        head
    }
    fn part(bytes: &mut &[u8]) -> Vec<u8> {
        let len = u32::from_le_bytes(cut(bytes, 4).try_into().unwrap());
        cut(bytes, usize::try_from(len).unwrap()).to_vec()
    }
    while !bytes.is_empty() {
        let state = u32::from_le_bytes(cut(&mut bytes, 4).try_into().unwrap());
        let group = u16::from_le_bytes(cut(&mut bytes, 2).try_into().unwrap());
        let id = (state, group, part(&mut bytes), part(&mut bytes), part(&mut bytes));
        let live = cut(&mut bytes, 1) == [1];
        let value = part(&mut bytes);
        take(id, live.then_some(value));
    }
}

impl ChainKeyed {
    fn id(state: StateId, cell: &Cell<'_>) -> Id {
        (
            state.0,
            cell.group.0,
            cell.key.as_slice().to_vec(),
            cell.namespace.as_slice().to_vec(),
            cell.map_key.as_slice().to_vec(),
        )
    }

    fn note(&mut self, id: Id) {
        self.changed.insert(id, self.last_asked);
    }
}

impl KeyedState for ChainKeyed {
    type Writer = ChainWriter;

    fn register(&mut self, descriptor: &StateDescriptor) -> BackendResult<StateId> {
        let index = match self.states.iter().position(|state| state.name == descriptor.name) {
            Some(index) if self.states[index].kind != descriptor.kind => {
                let text = format!("state '{}' is of another kind", descriptor.name);
                return Err(BackendError::new(BackendErrorKind::Incompatible, text));
            }
            Some(index) => index,
            None => {
                self.states.push(descriptor.clone());
                self.states.len() - 1
            }
        };
        Ok(StateId(u32::try_from(index).unwrap()))
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
        self.calls += 1;
        if self.verify == Verify::InCalls
            && self.calls.is_multiple_of(10)
            && let Some((_, chain)) = &self.base
        {
            verify(&self.files, chain, &self.events, self.number)?;
        }
        Ok(self.cells.get(&Self::id(state, cell)).map(Vec::as_slice))
    }

    fn put(&mut self, state: StateId, cell: &Cell<'_>, value: &[u8]) -> BackendResult<()> {
        let id = Self::id(state, cell);
        self.note(id.clone());
        self.cells.insert(id, value.to_vec());
        Ok(())
    }

    fn delete(&mut self, state: StateId, cell: &Cell<'_>) -> BackendResult<bool> {
        let id = Self::id(state, cell);
        let was_there = self.cells.remove(&id).is_some();
        self.note(id);
        Ok(was_there)
    }

    fn append(&mut self, state: StateId, cell: &Cell<'_>, element: &[u8]) -> BackendResult<()> {
        let id = Self::id(state, cell);
        self.note(id.clone());
        self.cells.entry(id).or_default().extend_from_slice(element);
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
        let within = |id: &Id| {
            (id.0, id.1, &id.2, &id.3) == (from.0, from.1, &from.2, &from.3)
                && (to.is_empty() || id.4.as_slice() < to)
        };
        for (id, value) in self
            .cells
            .range(from.clone()..)
            .take_while(|(id, _)| within(id))
            .take(limit)
        {
            entries.push(Entry {
                key: &id.2,
                namespace: &id.3,
                map_key: &id.4,
                value,
            });
        }
        Ok(())
    }

    fn clear_map(&mut self, _: StateId, _: &Cell<'_>) -> BackendResult<u64> {
        Err(unsupported("clear_map"))
    }

    fn visit(&mut self, state: StateId, group: KeyGroup, entries: &mut EntryBuffer) -> BackendResult<()> {
        for (id, value) in self
            .cells
            .iter()
            .filter(|(id, _)| (id.0, id.1) == (state.0, group.0))
        {
            entries.push(Entry {
                key: &id.2,
                namespace: &id.3,
                map_key: &id.4,
                value,
            });
        }
        Ok(())
    }

    fn len(&mut self, state: StateId) -> BackendResult<u64> {
        Ok(self.cells.keys().filter(|id| id.0 == state.0).count() as u64)
    }

    fn snapshot(&mut self, request: &SnapshotRequest) -> BackendResult<ChainWriter> {
        let (id, may_share) = (request.checkpoint_id, request.may_share);
        self.events.add(self.number, Event::Asked { id, may_share });
        self.last_asked = id;
        if self.verify == Verify::InCalls
            && let Some((_, chain)) = &self.base
        {
            verify(&self.files, chain, &self.events, self.number)?;
        }
        let base = self
            .base
            .clone()
            .filter(|(_, chain)| may_share && !chain.is_empty() && chain.len() < 5);
        let mut lines = Vec::new();
        match &base {
            Some((since, _)) => {
                for (cell, _) in self.changed.iter().filter(|(_, changed)| *changed >= since) {
                    put_line(&mut lines, cell, self.cells.get(cell));
                }
            }
            None => {
                for (cell, value) in &self.cells {
                    put_line(&mut lines, cell, Some(value));
                }
            }
        }
        lines.extend_from_slice(PADDING);
        Ok(ChainWriter {
            events: self.events.clone(),
            number: self.number,
            verify: self.verify,
            id,
            groups: self.groups,
            base: base.map(|(_, chain)| chain).unwrap_or_default(),
            states: self.states.iter().map(descriptor_line).collect(),
            lines,
            written: Arc::clone(&self.written),
            files: Arc::clone(&self.files),
            state_bytes: self.cells.values().map(|value| value.len() as u64).sum(),
        })
    }

    fn notify(&mut self, id: u64, event: CheckpointEvent) -> BackendResult<()> {
        let mut written = self.written.lock().unwrap();
        match event {
            CheckpointEvent::Completed => {
                self.events.add(self.number, Event::Completed(id));
                if let Some(chain) = written.get(&id) {
                    self.base = Some((id, chain.clone()));
                }
                *written = written.split_off(&(id + 1));
            }
            CheckpointEvent::Aborted => {
                self.events.add(self.number, Event::Aborted(id));
                written.remove(&id);
            }
            CheckpointEvent::Subsumed => {}
        }
        Ok(())
    }

    fn metrics(&self) -> Vec<(String, f64)> {
        Vec::new()
    }
}

impl SnapshotWriter for ChainWriter {
    fn write(&mut self, streams: &SnapshotStreams) -> BackendResult<Vec<SnapshotHandle>> {
        if self.verify == Verify::InWriter {
            verify(&self.files, &self.base, &self.events, self.number)?;
        }
        let mut stream = streams.open(StreamHint {
            state: "all".into(),
            expected_bytes: Some(self.lines.len() as u64).into(),
            shared: true,
        })?;
        stream.write(&self.lines)?;
        let file = stream.finish()?;
        assert!(file.shared);
        let new_bytes = file.size;
        // What this run has written can be read and mapped as well as what was restored.
        assert_eq!(read_unchecked(&self.files, &file)?, self.lines);
        let mut chain = self.base.clone();
        chain.push(file);
        self.written.lock().unwrap().insert(self.id, chain.clone());
        let names = chain.iter().map(|file| file.token.to_string()).collect();
        self.events.add(
            self.number,
            Event::Wrote {
                id: self.id,
                files: names,
            },
        );
        Ok(vec![SnapshotHandle {
            key_groups: self.groups,
            format: "chain/1".into(),
            files: chain.into_iter().collect(),
            payload: self.states.clone().into_bytes().into(),
            state_bytes: self.state_bytes,
            new_bytes,
        }])
    }
}
