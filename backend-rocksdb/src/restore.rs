//! From the handles of a snapshot to databases on this machine, with tables over them.
//!
//! Each handle becomes a database of its own ([`Part`]): its files are linked, or copied where that cannot be, and opened. A handle that has
//! key groups of others too is cut to those that are wanted. Nothing is read row by row, however the parallelism changes. What canonical handles have is brought, as
//! sorted files, into the databases of the groups that no other handle has.

use crate::below::StateBelow;
use crate::canonical;
use crate::database::{Database, Setup};
use crate::error::io_failed;
use crate::folder::Folder;
use crate::origins::Origins;
use crate::payload::{Accuracy, FORMAT, NamedFile, Payload};
use crate::store::{Part, Store};
use crate::sweep::LocalFile;
use crate::transfers::Transfers;
use crate::upload::{FileName, Known, Renamed};
use millpond_backend_api::canonical::is_canonical;
use millpond_backend_api::{
    BackendError, BackendErrorKind, BackendResult, FileRef, KeyGroupRange, RestoreFiles, SnapshotHandle,
    StateKind,
};
use millpond_backend_memory::Tables;
use millpond_backend_memory::kinds::Counters;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// What was restored.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) tables: Tables,
    pub(crate) store: Arc<Store>,
    /// The files that later snapshots may name.
    pub(crate) known: Known,
    /// The states whose counters are not exact.
    pub(crate) inexact: BTreeMap<String, Accuracy>,
    /// The files that were linked and not read yet.
    pub(crate) unread: Vec<LocalFile>,
}

/// Files up to this size are read and verified when they are restored; the larger ones are verified by RocksDB where it reads them, and
/// as a whole beside the job.
const VERIFIED_AT_ONCE_BYTES: u64 = 1 << 20;

/// Opens the databases of `handles`, which have key groups of `range`, in `folder`, with empty tables over them.
///
/// # Errors
/// [`BackendErrorKind::Incompatible`] for a snapshot of another format, [`BackendErrorKind::Corrupted`] for damage, those of the file system.
pub(crate) fn restore(
    range: KeyGroupRange,
    handles: &[SnapshotHandle],
    files: &RestoreFiles,
    folder: Folder,
    setup: &Setup,
) -> BackendResult<Restored> {
    let mut restoring = Restoring {
        files,
        known: Known::new(),
        unread: Vec::new(),
    };
    let mut parts = Vec::new();
    let mut payloads = Vec::new();
    let (canonical, native): (Vec<_>, Vec<_>) = handles.iter().partition(|handle| is_canonical(handle));
    for handle in native {
        let Some(groups) = handle.key_groups.intersection(&range) else {
            continue;
        };
        check_format(handle)?;
        let payload = Payload::of(handle)?;
        let database = restoring.open(handle, &payload, parts.len(), &folder, setup)?;
        if groups != handle.key_groups {
            database.clip(groups)?;
        }
        parts.push(Part {
            number: parts.len(),
            groups,
            database,
            renamed: Renamed::new(),
        });
        payloads.push((handle.key_groups, payload));
    }
    parts.extend(fresh_parts(range, &parts, &folder, setup)?);
    let store = Arc::new(Store::new(range, parts, folder));
    for handle in canonical {
        let payload = canonical::bring_in(&store, range, handle, files)?;
        payloads.push((handle.key_groups, payload));
    }
    let mut tables = tables_over(range, &payloads, &store)?;
    let mut inexact = BTreeMap::new();
    for (_, payload) in &payloads {
        for (state, accuracy) in payload.states.iter().zip(&payload.accuracy) {
            let noted: &mut Accuracy = inexact.entry(state.name.to_string()).or_default();
            *noted = (*accuracy).max(*noted);
        }
    }
    for (descriptor, kind) in tables.iter_mut() {
        let accuracy = inexact.get(descriptor.name.as_str()).copied().unwrap_or_default();
        let doubted_from = match descriptor.kind {
            StateKind::SortedMap => Accuracy::AtMost,
            _ => Accuracy::About,
        };
        if accuracy >= doubted_from {
            kind.doubt_counters();
        }
    }
    Ok(Restored {
        inexact,
        tables,
        store,
        known: restoring.known,
        unread: restoring.unread,
    })
}

fn check_format(handle: &SnapshotHandle) -> BackendResult<()> {
    if handle.format.as_str() == FORMAT {
        return Ok(());
    }
    Err(millpond_backend_api::canonical::unknown_format(
        handle, "rocksdb", FORMAT,
    ))
}

/// Databases for the runs of groups that no part has: all of them at a fresh start.
fn fresh_parts(
    range: KeyGroupRange,
    parts: &[Part],
    folder: &Folder,
    setup: &Setup,
) -> BackendResult<Vec<Part>> {
    let mut runs: Vec<KeyGroupRange> = Vec::new();
    for group in range.iter() {
        if parts.iter().any(|part| part.groups.contains(group)) {
            continue;
        }
        match runs.last_mut() {
            Some(run) if run.last.0 + 1 == group.0 => run.last = group,
            _ => runs.extend(KeyGroupRange::new(group.0, group.0)),
        }
    }
    let numbered = runs.into_iter().zip(parts.len()..);
    numbered
        .map(|(groups, number)| {
            Ok(Part {
                number,
                groups,
                renamed: Renamed::new(),
                database: Database::open(
                    Folder::make(folder.path().join(format!("db-{number}")))?,
                    Origins::default(),
                    setup,
                )?,
            })
        })
        .collect()
}

fn tables_over(
    range: KeyGroupRange,
    payloads: &[(KeyGroupRange, Payload)],
    store: &Arc<Store>,
) -> BackendResult<Tables> {
    let mut tables = Tables::for_increments(range);
    for state in payloads.iter().flat_map(|(_, payload)| &payload.states) {
        // Also refuses two handles that disagree about a state.
        tables.kind_of(state)?;
    }
    for (descriptor, kind) in tables.iter_mut() {
        let mut counters = vec![Counters::default(); range.len()];
        for (groups, payload) in payloads {
            let number = payload
                .states
                .iter()
                .position(|state| state.name == descriptor.name);
            let Some(of_state) = number.and_then(|number| payload.counters.get(number)) else {
                continue;
            };
            for (group, of_group) in groups.iter().zip(of_state) {
                let index = group.index().wrapping_sub(range.first.index());
                if let Some(counters) = counters.get_mut(index) {
                    *counters = *of_group;
                }
            }
        }
        let below = StateBelow::new(Arc::clone(store), descriptor.name.as_str());
        kind.put_over(Some(Arc::new(below)), counters);
    }
    Ok(tables)
}

struct Restoring<'a> {
    files: &'a RestoreFiles,
    known: Known,
    unread: Vec<LocalFile>,
}

impl Restoring<'_> {
    /// The database of `handle`, as part `number` of the store.
    fn open(
        &mut self,
        handle: &SnapshotHandle,
        payload: &Payload,
        number: usize,
        folder: &Folder,
        setup: &Setup,
    ) -> BackendResult<Database> {
        let database = Folder::make(folder.path().join(format!("db-{number}")))?;
        let mut origins = Origins::default();
        let files: Vec<_> = payload.files.iter().zip(&handle.files).collect();
        // What is copied from far away takes its time, most of which is waiting.
        let transfers = Transfers::of(setup.options.transfer_threads);
        let unread = transfers.run(&files, |(named, file)| {
            self.bring(file, &database.path().join(&named.name))
        })?;
        self.unread.extend(unread.into_iter().flatten());
        for (NamedFile { name, .. }, file) in files {
            origins.note(name, &file.token);
            if file.shared {
                let name = FileName {
                    part: number,
                    name: name.clone(),
                };
                self.known.insert(name, file.clone());
            }
        }
        Database::open(database, origins, setup).map_err(|error| match error.kind() {
            BackendErrorKind::Corrupted => self.damage_in(handle).unwrap_or(error),
            _ => error,
        })
    }

    /// The damage in those files of `handle` that were not read yet. RocksDB blames its manifest for what it finds wrong in a file of sorted entries
    /// while it opens it; the manifest has been verified.
    #[cold]
    fn damage_in(&self, handle: &SnapshotHandle) -> Option<BackendError> {
        let mut unread = handle
            .files
            .iter()
            .filter(|file| file.size > VERIFIED_AT_ONCE_BYTES);
        unread.find_map(|file| {
            let path = self.files.local_path(file).ok().flatten()?;
            LocalFile::new(file.clone(), path).verify().err()
        })
    }

    /// Brings a file of the snapshot to `to`; gives it where it was linked and not read.
    fn bring(&self, file: &FileRef, to: &Path) -> BackendResult<Option<LocalFile>> {
        // RocksDB never changes a file of sorted entries, and may change the others.
        if to.extension().is_some_and(|extension| extension == "sst")
            && let Some(path) = self.files.local_path(file)?
            && fs::hard_link(&path, to).is_ok()
        {
            let local = LocalFile::new(file.clone(), to.to_owned());
            if file.size <= VERIFIED_AT_ONCE_BYTES {
                return local.verify().map(|()| None);
            }
            local.check_size()?;
            return Ok(Some(local));
        }
        self.copy(file, to).map(|()| None)
    }

    fn copy(&self, file: &FileRef, to: &Path) -> BackendResult<()> {
        const STEP_BYTES: usize = 256 << 10;
        let failed = |error| io_failed(error, "write", to);
        let mut stream = self.files.open(file)?;
        let mut copy = fs::File::create(to).map_err(failed)?;
        let mut buffer = vec![0; STEP_BYTES];
        let (mut size, mut crc32) = (0, crc32fast::Hasher::new());
        loop {
            let read = stream.read(&mut buffer)?;
            let bytes = buffer.get(..read).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            size += bytes.len() as u64;
            crc32.update(bytes);
            copy.write_all(bytes).map_err(failed)?;
        }
        LocalFile::new(file.clone(), to.to_owned()).compare(size, crc32.finalize())
    }
}
