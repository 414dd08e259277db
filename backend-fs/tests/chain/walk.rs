//! A keyed state beside a model of it, changed at random.

use crate::folder::Folder;
use abi_stable::std_types::RVec;
use millpond_backend_api::{
    BackendConfig, Cell, CheckpointEvent, EntryBuffer, KeyGroupRange, KeyedState, OpenKeyed, SnapshotForm,
    SnapshotHandle, SnapshotRequest, SnapshotWriter, StateBackend, StateBackendFactory, StateDescriptor,
    StateId, StateKind, key_group, key_hash,
};
use millpond_backend_fs::{FsKeyedState, FsStateBackendFactory};
use std::collections::BTreeMap;

pub(crate) const MAX_PARALLELISM: u32 = 8;
const KINDS: [(&str, StateKind, u32); 5] = [
    ("fixed", StateKind::Value, 16),
    ("value", StateKind::Value, 0),
    ("list", StateKind::List, 0),
    ("map", StateKind::Map, 0),
    ("sorted", StateKind::SortedMap, 0),
];

/// Numbers that look random and come from a seed.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (number ^ (number >> 31)) % bound
    }
}

/// The cells of all states: (state, key, namespace, map key) to value.
pub(crate) type Model = BTreeMap<(usize, Vec<u8>, Vec<u8>, Vec<u8>), Vec<u8>>;

pub(crate) struct Walk {
    pub(crate) folder: Folder,
    pub(crate) keyed: FsKeyedState,
    pub(crate) model: Model,
    /// How many different keys there are.
    pub(crate) keys: u64,
    ids: Vec<StateId>,
}

pub(crate) fn open(
    folder: &Folder,
    config: &[(&str, &str)],
    handles: &[SnapshotHandle],
) -> (FsKeyedState, Vec<StateId>) {
    let config: BackendConfig = config
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let backend = FsStateBackendFactory.create(&config).unwrap();
    let mut keyed = backend
        .open_keyed(OpenKeyed {
            job: "job".into(),
            operator: "operator".into(),
            subtask: 0,
            parallelism: 1,
            max_parallelism: MAX_PARALLELISM,
            key_groups: KeyGroupRange::of_subtask(0, 1, MAX_PARALLELISM).unwrap(),
            local_dir: folder.path("local").to_str().unwrap().into(),
            restore: RVec::from(handles.to_vec()),
            files: folder.files(),
        })
        .unwrap();
    let ids = KINDS
        .iter()
        .map(|(name, kind, width)| {
            keyed
                .register(&StateDescriptor::new(*name, *kind, *width))
                .unwrap()
        })
        .collect();
    (keyed, ids)
}

impl Walk {
    pub(crate) fn new(config: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        let (keyed, ids) = open(&folder, config, &[]);
        Self {
            folder,
            keyed,
            model: Model::new(),
            keys: 400,
            ids,
        }
    }

    /// Goes on from `handles`, in which there is what `model` says.
    pub(crate) fn restore(&mut self, config: &[(&str, &str)], handles: &[SnapshotHandle], model: &Model) {
        (self.keyed, self.ids) = open(&self.folder, config, handles);
        self.model = model.clone();
    }

    /// Changes `cells` cells: most get a value, some lose theirs.
    pub(crate) fn change(&mut self, random: &mut Random, cells: u64) {
        for _ in 0..cells {
            let state = usize::try_from(random.below(KINDS.len() as u64)).unwrap();
            let (_, kind, width) = KINDS[state];
            let key = random.below(self.keys).to_le_bytes();
            let namespace = if random.below(4) == 0 {
                vec![7; 3]
            } else {
                Vec::new()
            };
            let map_key = if kind.has_map_keys() {
                random.below(6).to_be_bytes().to_vec()
            } else {
                Vec::new()
            };
            let hash = key_hash(&key);
            let cell = Cell::of_key(hash, key_group(hash, MAX_PARALLELISM), &key)
                .with_namespace(&namespace)
                .with_map_key(&map_key);
            let id = self.ids[state];
            let address = (state, key.to_vec(), namespace.clone(), map_key.clone());
            match random.below(10) {
                0..3 => {
                    let there = self.keyed.delete(id, &cell).unwrap();
                    assert_eq!(there, self.model.remove(&address).is_some());
                }
                3 if kind.has_map_keys() => {
                    let removed = self.keyed.clear_map(id, &cell).unwrap();
                    let before = self.model.len();
                    self.model
                        .retain(|(s, k, n, _), _| (*s, &k[..], &n[..]) != (state, &key[..], &namespace[..]));
                    assert_eq!(removed, (before - self.model.len()) as u64);
                }
                4 if kind == StateKind::List => {
                    self.keyed.append(id, &cell, &key).unwrap();
                    self.model.entry(address).or_default().extend(key);
                }
                _ => {
                    let len = if width > 0 {
                        width as usize
                    } else {
                        usize::try_from(random.below(40)).unwrap()
                    };
                    let value = vec![u8::try_from(random.below(256)).unwrap(); len];
                    self.keyed.put(id, &cell, &value).unwrap();
                    self.model.insert(address, value);
                }
            }
        }
    }

    pub(crate) fn begin(
        &mut self,
        checkpoint_id: u64,
        may_share: bool,
    ) -> impl FnOnce() -> Vec<SnapshotHandle> + use<> {
        self.begin_as(SnapshotRequest {
            checkpoint_id,
            may_share,
            form: SnapshotForm::Native,
        })
    }

    pub(crate) fn begin_canonical(
        &mut self,
        checkpoint_id: u64,
    ) -> impl FnOnce() -> Vec<SnapshotHandle> + use<> {
        self.begin_as(SnapshotRequest {
            checkpoint_id,
            may_share: false,
            form: SnapshotForm::Canonical,
        })
    }

    fn begin_as(&mut self, request: SnapshotRequest) -> impl FnOnce() -> Vec<SnapshotHandle> + use<> {
        let mut writer = self.keyed.snapshot(&request).unwrap();
        let folder = self.folder.clone();
        move || writer.write(&folder.streams()).unwrap()
    }

    pub(crate) fn notify(&mut self, checkpoint_id: u64, event: CheckpointEvent) {
        self.keyed.notify(checkpoint_id, event).unwrap();
    }

    pub(crate) fn check(&mut self) {
        check(&mut self.keyed, &self.ids, &self.model);
    }

    /// Restores `handles` beside this and compares with `model`.
    pub(crate) fn check_restored(&self, handles: &[SnapshotHandle], model: &Model) {
        let (mut keyed, ids) = open(&self.folder, &[], handles);
        check(&mut keyed, &ids, model);
    }
}

fn check(keyed: &mut FsKeyedState, ids: &[StateId], model: &Model) {
    let mut found = Model::new();
    for (state, id) in ids.iter().enumerate() {
        let range = KeyGroupRange::of_subtask(0, 1, MAX_PARALLELISM).unwrap();
        for group in range.iter() {
            let mut entries = EntryBuffer::new();
            keyed.visit(*id, group, &mut entries).unwrap();
            for entry in entries.iter() {
                let address = (
                    state,
                    entry.key.to_vec(),
                    entry.namespace.to_vec(),
                    entry.map_key.to_vec(),
                );
                assert!(
                    found.insert(address, entry.value.to_vec()).is_none(),
                    "given twice"
                );
            }
        }
        let expected = model.keys().filter(|(of, ..)| *of == state).count() as u64;
        assert_eq!(keyed.len(*id).unwrap(), expected);
    }
    assert!(found == *model, "the entries differ from the model's");
    for ((state, key, namespace, map_key), value) in model {
        let hash = key_hash(key);
        let cell = Cell::of_key(hash, key_group(hash, MAX_PARALLELISM), key)
            .with_namespace(namespace)
            .with_map_key(map_key);
        assert_eq!(keyed.get(ids[*state], &cell).unwrap(), Some(&value[..]));
    }
}
