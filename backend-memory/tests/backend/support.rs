//! Streams in memory, and shorthand for opening, snapshotting and restoring.

use abi_stable::std_types::{ROption, RSlice, RSliceMut, RString};
use millpond_backend_api::abi::AbiResult;
use millpond_backend_api::streams::{
    RestoreFilesApi, RestoreStreamApi, SnapshotStreamApi, SnapshotStreamsApi,
};
use millpond_backend_api::{
    BackendConfig, BackendError, BackendErrorKind, BackendResult, Cell, EntryBuffer, FileRef, KeyBatch,
    KeyGroup, KeyGroupRange, KeyedState, OpenKeyed, RestoreFiles, RestoreStream, SnapshotForm,
    SnapshotHandle, SnapshotRequest, SnapshotStream, SnapshotStreams, SnapshotWriter, StateBackend,
    StateBackendFactory, StateDescriptor, StateId, StateKind, StreamHint, key_group, key_hash,
};
use millpond_backend_memory::{MemoryKeyedState, MemoryStateBackendFactory};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

pub(crate) const MAX_PARALLELISM: u32 = 16;

/// Files by their token, and the hints that streams were opened with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Storage(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    hints: Mutex<Vec<StreamHint>>,
    next: AtomicU64,
    cancelled: AtomicBool,
    /// Cancels once this many bytes were written; 0: never.
    cancel_after: AtomicU64,
}

struct File {
    storage: Storage,
    token: String,
    bytes: Vec<u8>,
}

struct Reader(Vec<u8>, usize);

impl Storage {
    pub(crate) fn streams(&self) -> SnapshotStreams {
        SnapshotStreams::new(self.clone())
    }

    pub(crate) fn files(&self) -> RestoreFiles {
        RestoreFiles::new(self.clone())
    }

    pub(crate) fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn cancel_after(&self, bytes: u64) {
        self.0.cancel_after.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn hints(&self) -> Vec<StreamHint> {
        self.0.hints.lock().unwrap().clone()
    }

    pub(crate) fn change(&self, token: &str, change: impl FnOnce(&mut Vec<u8>)) {
        change(self.0.files.lock().unwrap().get_mut(token).unwrap());
    }
}

impl SnapshotStreamsApi for Storage {
    fn open(&self, hint: StreamHint) -> AbiResult<SnapshotStream> {
        self.0.hints.lock().unwrap().push(hint);
        let token = format!("file-{}", self.0.next.fetch_add(1, Ordering::Relaxed));
        let file = File {
            storage: self.clone(),
            token,
            bytes: Vec::new(),
        };
        Ok(SnapshotStream::new(file)).into()
    }

    fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Relaxed)
    }
}

impl SnapshotStreamApi for File {
    fn write(&mut self, bytes: RSlice<'_, u8>) -> AbiResult<()> {
        self.bytes.extend_from_slice(bytes.as_slice());
        let limit = self.storage.0.cancel_after.load(Ordering::Relaxed);
        if limit > 0 && self.bytes.len() as u64 >= limit {
            self.storage.cancel();
        }
        Ok(()).into()
    }

    fn finish(&mut self) -> AbiResult<FileRef> {
        let file = FileRef {
            token: self.token.clone().into(),
            size: self.bytes.len() as u64,
            crc32: crc32fast::hash(&self.bytes),
            shared: false,
        };
        let bytes = std::mem::take(&mut self.bytes);
        let mut files = self.storage.0.files.lock().unwrap();
        files.insert(self.token.clone(), bytes);
        Ok(file).into()
    }
}

impl RestoreFilesApi for Storage {
    fn open(&self, file: &FileRef) -> AbiResult<RestoreStream> {
        let files = self.0.files.lock().unwrap();
        let Some(bytes) = files.get(file.token.as_str()) else {
            return Err(BackendError::new(BackendErrorKind::Io, "no such file")).into();
        };
        Ok(RestoreStream::new(Reader(bytes.clone(), 0))).into()
    }

    fn local_path(&self, _file: &FileRef) -> AbiResult<ROption<RString>> {
        Ok(ROption::RNone).into()
    }
}

impl RestoreStreamApi for Reader {
    fn read(&mut self, mut buffer: RSliceMut<'_, u8>) -> AbiResult<usize> {
        // Short reads, as real streams have them.
        let len = buffer.len().min(self.0.len() - self.1).min(1000);
        buffer[..len].copy_from_slice(&self.0[self.1..self.1 + len]);
        self.1 += len;
        Ok(len).into()
    }
}

pub(crate) fn all_groups() -> KeyGroupRange {
    KeyGroupRange::of_subtask(0, 1, MAX_PARALLELISM).unwrap()
}

pub(crate) fn open(
    range: KeyGroupRange,
    restore: &[SnapshotHandle],
    storage: &Storage,
) -> BackendResult<MemoryKeyedState> {
    let backend = MemoryStateBackendFactory.create(&BackendConfig::default())?;
    backend.open_keyed(OpenKeyed {
        job: "job".into(),
        operator: "operator".into(),
        subtask: 0,
        parallelism: 1,
        max_parallelism: MAX_PARALLELISM,
        key_groups: range,
        local_dir: RString::new(),
        restore: restore.to_vec().into(),
        files: storage.files(),
    })
}

pub(crate) fn fresh() -> MemoryKeyedState {
    open(all_groups(), &[], &Storage::default()).unwrap()
}

pub(crate) fn register(keyed: &mut MemoryKeyedState, name: &str, kind: StateKind, width: u32) -> StateId {
    keyed.register(&StateDescriptor::new(name, kind, width)).unwrap()
}

pub(crate) fn freeze(keyed: &mut MemoryKeyedState) -> impl SnapshotWriter + use<> {
    keyed
        .snapshot(&SnapshotRequest {
            checkpoint_id: 1,
            may_share: true,
            form: SnapshotForm::Native,
        })
        .unwrap()
}

pub(crate) fn snapshot(keyed: &mut MemoryKeyedState, storage: &Storage) -> Vec<SnapshotHandle> {
    freeze(keyed).write(&storage.streams()).unwrap()
}

pub(crate) fn group_of(key: &[u8]) -> KeyGroup {
    key_group(key_hash(key), MAX_PARALLELISM)
}

pub(crate) fn cell(key: &[u8]) -> Cell<'_> {
    Cell::of_key(key_hash(key), group_of(key), key)
}

/// The columns of a batch.
pub(crate) struct Columns {
    pub(crate) hashes: Vec<u64>,
    pub(crate) groups: Vec<KeyGroup>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) ends: Vec<u32>,
    pub(crate) width: u32,
}

impl Columns {
    pub(crate) fn of_numbers(keys: &[u64]) -> Self {
        let hashes: Vec<u64> = keys.iter().map(|key| key_hash(&key.to_le_bytes())).collect();
        Self {
            groups: hashes
                .iter()
                .map(|hash| key_group(*hash, MAX_PARALLELISM))
                .collect(),
            hashes,
            bytes: keys.iter().flat_map(|key| key.to_le_bytes()).collect(),
            ends: Vec::new(),
            width: 8,
        }
    }

    pub(crate) fn of_keys(keys: &[impl AsRef<[u8]>]) -> Self {
        let mut ends = Vec::new();
        let mut bytes = Vec::new();
        for key in keys {
            bytes.extend_from_slice(key.as_ref());
            ends.push(u32::try_from(bytes.len()).unwrap());
        }
        Self {
            hashes: keys.iter().map(|key| key_hash(key.as_ref())).collect(),
            groups: keys.iter().map(|key| group_of(key.as_ref())).collect(),
            bytes,
            ends,
            width: 0,
        }
    }

    pub(crate) fn batch(&self) -> KeyBatch<'_> {
        KeyBatch {
            hashes: (&self.hashes[..]).into(),
            groups: (&self.groups[..]).into(),
            bytes: (&self.bytes[..]).into(),
            ends: (&self.ends[..]).into(),
            width: self.width,
        }
    }
}

/// (key, namespace, map key) -> value.
pub(crate) type Content = BTreeMap<(Vec<u8>, Vec<u8>, Vec<u8>), Vec<u8>>;

/// Everything that a state has, over the groups of `range`.
pub(crate) fn content(keyed: &mut impl KeyedState, state: StateId, range: KeyGroupRange) -> Content {
    let mut content = Content::new();
    for group in range.iter() {
        let mut entries = EntryBuffer::new();
        keyed.visit(state, group, &mut entries).unwrap();
        for entry in entries.iter() {
            let address = (
                entry.key.to_vec(),
                entry.namespace.to_vec(),
                entry.map_key.to_vec(),
            );
            assert!(content.insert(address, entry.value.to_vec()).is_none());
        }
    }
    content
}
