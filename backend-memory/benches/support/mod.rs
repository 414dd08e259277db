//! What the benches share: opening, records in columns, streams into nothing and out of memory.

use abi_stable::std_types::{ROption, RSlice, RSliceMut, RString};
use millpond_backend_api::abi::AbiResult;
use millpond_backend_api::streams::{
    RestoreFilesApi, RestoreStreamApi, SnapshotStreamApi, SnapshotStreamsApi,
};
use millpond_backend_api::{
    Cell, FileRef, KeyBatch, KeyGroup, KeyGroupRange, OpenKeyed, RestoreFiles, RestoreStream, SnapshotHandle,
    SnapshotStream, SnapshotStreams, StateBackend, StreamHint, key_group, key_hash,
};
use millpond_backend_memory::{MemoryKeyedState, MemoryStateBackend};
use std::sync::{Arc, Mutex};

pub(crate) const BATCH: usize = 1024;
pub(crate) const GROUPS: u32 = 128;

/// One file in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Storage(Arc<Mutex<Vec<u8>>>);

struct Reader(Storage, usize);

impl Storage {
    pub(crate) fn streams(&self) -> SnapshotStreams {
        SnapshotStreams::new(self.clone())
    }
}

impl SnapshotStreamsApi for Storage {
    fn open(&self, hint: StreamHint) -> AbiResult<SnapshotStream> {
        // Memory that is there already, so that the writer is measured and not the page faults.
        let len = usize::try_from(hint.expected_bytes.unwrap_or(0)).unwrap();
        let mut file = self.0.lock().unwrap();
        file.resize(len, 1);
        file.clear();
        drop(file);
        Ok(SnapshotStream::new(self.clone())).into()
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}

impl SnapshotStreamApi for Storage {
    fn write(&mut self, bytes: RSlice<'_, u8>) -> AbiResult<()> {
        self.0.lock().unwrap().extend_from_slice(bytes.as_slice());
        Ok(()).into()
    }

    fn finish(&mut self) -> AbiResult<FileRef> {
        Ok(FileRef {
            token: RString::from("file"),
            size: self.0.lock().unwrap().len() as u64,
            crc32: 0,
            shared: false,
        })
        .into()
    }
}

impl RestoreFilesApi for Storage {
    fn open(&self, _file: &FileRef) -> AbiResult<RestoreStream> {
        Ok(RestoreStream::new(Reader(self.clone(), 0))).into()
    }

    fn local_path(&self, _file: &FileRef) -> AbiResult<ROption<RString>> {
        Ok(ROption::RNone).into()
    }
}

impl RestoreStreamApi for Reader {
    fn read(&mut self, mut buffer: RSliceMut<'_, u8>) -> AbiResult<usize> {
        let file = self.0.0.lock().unwrap();
        let rest = file.get(self.1..).unwrap_or_default();
        let len = buffer.len().min(rest.len());
        buffer
            .get_mut(..len)
            .unwrap()
            .copy_from_slice(rest.get(..len).unwrap());
        self.1 += len;
        Ok(len).into()
    }
}

pub(crate) fn open(restore: Vec<SnapshotHandle>, storage: &Storage) -> MemoryKeyedState {
    let open = OpenKeyed {
        job: RString::new(),
        operator: RString::new(),
        subtask: 0,
        parallelism: 1,
        max_parallelism: GROUPS,
        key_groups: KeyGroupRange::of_subtask(0, 1, GROUPS).unwrap(),
        local_dir: RString::new(),
        restore: restore.into(),
        files: RestoreFiles::new(storage.clone()),
    };
    MemoryStateBackend.open_keyed(open).unwrap()
}

/// Records in columns, as they come out of the engine's exchange. Keys are numbers of 8 bytes, or texts of 4 to 12 bytes.
pub(crate) struct Records {
    keys: Vec<u8>,
    ends: Vec<u32>,
    pub(crate) hashes: Vec<u64>,
    groups: Vec<KeyGroup>,
    width: u32,
}

/// As in SplitMix64 (Steele, Lea and Flood 2014).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Records {
    pub(crate) fn new(len: u64, keys: u64, text: bool) -> Self {
        let mut records = Self {
            keys: Vec::new(),
            ends: Vec::new(),
            hashes: Vec::new(),
            groups: Vec::new(),
            width: if text { 0 } else { 8 },
        };
        for at in 0..len {
            let number = mix(at) % keys;
            let mut key = number.to_le_bytes().to_vec();
            if text {
                key = format!("{number:x}").into_bytes();
                key.resize(4 + usize::try_from(mix(number) % 9).unwrap(), b'_');
                key.extend_from_slice(format!("{number:x}").as_bytes());
            }
            let hash = key_hash(&key);
            records.keys.extend_from_slice(&key);
            records.hashes.push(hash);
            records.groups.push(key_group(hash, GROUPS));
            if text {
                records
                    .ends
                    .push(u32::try_from(records.keys.len() % (1 << 31)).unwrap());
            }
        }
        records
    }

    /// The records in batches; ends are counted from each batch's first key.
    pub(crate) fn batches(&self) -> Vec<Batch<'_>> {
        let mut batches = Vec::new();
        let mut from = 0_usize;
        for at in (0..self.hashes.len()).step_by(BATCH) {
            let step = at..(at + BATCH).min(self.hashes.len());
            let to = match self.ends.get(step.end - 1) {
                Some(end) => *end as usize,
                None => step.end * 8,
            };
            let ends = self.ends.get(step.clone()).unwrap_or_default();
            batches.push(Batch {
                hashes: self.hashes.get(step.clone()).unwrap(),
                groups: self.groups.get(step).unwrap(),
                bytes: self.keys.get(from..to).unwrap(),
                ends: ends
                    .iter()
                    .map(|end| end - u32::try_from(from).unwrap())
                    .collect(),
                width: self.width,
            });
            from = to;
        }
        batches
    }
}

/// A batch and its ends.
pub(crate) struct Batch<'a> {
    hashes: &'a [u64],
    groups: &'a [KeyGroup],
    bytes: &'a [u8],
    ends: Vec<u32>,
    width: u32,
}

impl Batch<'_> {
    pub(crate) fn keys(&self) -> KeyBatch<'_> {
        KeyBatch {
            hashes: self.hashes.into(),
            groups: self.groups.into(),
            bytes: self.bytes.into(),
            ends: (&self.ends[..]).into(),
            width: self.width,
        }
    }

    pub(crate) fn cells(&self) -> impl Iterator<Item = Cell<'_>> {
        let keys = self.keys();
        (0..self.hashes.len()).filter_map(move |at| keys.cell(at))
    }
}
