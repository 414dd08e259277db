//! Snapshots in the form that all backends share: out of a database as it was at the snapshot, and into one.

use crate::database::Database;
use crate::ingest::{Leftover, Sorted, not_written};
use crate::keys::entry_of;
use crate::payload::{Accuracy, Payload};
use crate::store::{LocalCheckpoint, Part, Store};
use crate::writer::{Outline, Snapshot};
use millpond_backend_api::canonical::{CanonicalReader, CanonicalSection, CanonicalWriter, Totals};
use millpond_backend_api::{
    BackendError, BackendErrorKind, BackendResult, KeyGroup, KeyGroupRange, RestoreFiles, SnapshotHandle,
    SnapshotStreams,
};
use millpond_backend_memory::kinds::Counters;
use rocksdb::SstFileWriter;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Writes `checkpoints`, the databases at the snapshot, into which all changes were brought before.
///
/// # Errors
/// RocksDB's, those of the streams, and [`BackendErrorKind::Other`] when there is more than was counted.
pub(crate) fn write(
    snapshot: &Snapshot,
    checkpoints: Vec<LocalCheckpoint>,
    streams: &SnapshotStreams,
) -> BackendResult<Vec<SnapshotHandle>> {
    let mut databases = Vec::new();
    for checkpoint in checkpoints {
        let LocalCheckpoint { part, folder } = checkpoint;
        databases.push((part.groups, part.database.open_checkpoint(folder)?));
    }
    let states = &snapshot.states;
    let descriptors = states.iter().map(|state| state.descriptor.clone()).collect();
    let sizes = states.iter().map(Outline::bytes).collect();
    let writer = CanonicalWriter::new(streams, snapshot.range, descriptors);
    let mut writer = if states
        .iter()
        .all(|state| state.accuracy_alone() == Accuracy::Exact)
    {
        writer.with_exact_sizes(sizes)
    } else {
        writer.with_rough_sizes(sizes)
    };
    for (range, index) in runs(snapshot.range, &databases) {
        let Some((_, database)) = databases.get(index) else {
            continue;
        };
        write_run(&mut writer, snapshot, range, database)?;
    }
    writer.finish()
}

/// The databases that have the groups of `range`, in the order of the groups.
fn runs(range: KeyGroupRange, databases: &[(KeyGroupRange, Database)]) -> Vec<(KeyGroupRange, usize)> {
    let runs = databases.iter().enumerate();
    let runs = runs.filter_map(|(index, (groups, _))| Some((groups.intersection(&range)?, index)));
    let mut runs: Vec<_> = runs.collect();
    runs.sort_unstable_by_key(|(groups, _)| groups.first);
    runs
}

fn write_run(
    writer: &mut CanonicalWriter<'_>,
    snapshot: &Snapshot,
    range: KeyGroupRange,
    database: &Database,
) -> BackendResult<()> {
    let states = &snapshot.states;
    let mut cursors: Vec<_> = states
        .iter()
        .map(|state| database.cursor(state.descriptor.name.as_str()))
        .collect();
    for group in range.iter() {
        for (number, (state, cursor)) in states.iter().zip(&mut cursors).enumerate() {
            let name = state.descriptor.name.as_str();
            let context = |error: BackendError| error.context(format!("state {name:?}, key group {group}"));
            writer.begin(number, group)?;
            if let Some(cursor) = cursor {
                let written = cursor.visit(group, |name, value| match entry_of(name, value) {
                    Some(entry) if state.leaves_out(entry.value) => Ok(()),
                    Some(entry) => writer.entry(&entry),
                    None => Err(no_cell(database, name)),
                });
                written.map_err(context)?;
            }
            let index = group.index() - snapshot.range.first.index();
            let counted = state.counters.get(index).copied().unwrap_or_default();
            check(writer.end()?, counted, state.accuracy_alone()).map_err(context)?;
        }
    }
    Ok(())
}

#[cold]
fn no_cell(database: &Database, name: &[u8]) -> BackendError {
    BackendError::new(
        BackendErrorKind::Corrupted,
        format!(
            "{} has a key that no cell has: {name:02x?}",
            database.folder().display()
        ),
    )
}

/// An error if the database had something else than was counted: a snapshot that lacks something must not be one.
fn check(found: Totals, counted: Counters, accuracy: Accuracy) -> BackendResult<()> {
    let is_it = found.entries == counted.cells && found.bytes == counted.encoded_bytes;
    // What has expired may be gone.
    let is_less = found.entries <= counted.cells && found.bytes <= counted.encoded_bytes;
    let is_possible = match accuracy {
        Accuracy::Exact => is_it,
        Accuracy::AtMost => is_less,
        Accuracy::About => true,
    };
    if is_possible {
        return Ok(());
    }
    Err(BackendError::new(
        BackendErrorKind::Other,
        format!(
            "RocksDB had {} entries of {} bytes where {} entries of {} bytes were counted",
            found.entries, found.bytes, counted.cells, counted.encoded_bytes
        ),
    ))
}

/// Brings what `handle` has in the groups of `range` into the databases of `store`, and tells what that is.
///
/// Each section is sorted by itself, and goes behind the one before into a file if it belongs there: all of a group that is no longer than a section, and all
/// that a RocksDB backend wrote, which is sorted already. Else a new file begins, which overlaps others of its group until RocksDB compacts them.
///
/// # Errors
/// Those of [`CanonicalReader`], RocksDB's and those of the file system.
pub(crate) fn bring_in(
    store: &Store,
    range: KeyGroupRange,
    handle: &SnapshotHandle,
    files: &RestoreFiles,
) -> BackendResult<Payload> {
    let mut reader = CanonicalReader::open(handle, range, files)?;
    let states = reader.states().to_vec();
    let mut counters = vec![vec![Counters::default(); handle.key_groups.len()]; states.len()];
    let parts = store.parts();
    let mut open: BTreeMap<usize, OpenFile<'_>> = BTreeMap::new();
    let mut sorted = Sorted::default();
    while let Some(section) = reader.next_section()? {
        let state = section.state();
        count(&section, handle.key_groups, &mut counters);
        sorted.clear();
        for entry in section.entries() {
            sorted.put(section.group(), &entry);
        }
        sorted.sort();
        let file = match open.remove(&state) {
            Some(file) if file.goes_on_with(&sorted, section.group()) => file,
            full => {
                full.map(OpenFile::bring_in).transpose()?;
                let Some(part) = parts.of(section.group()) else {
                    return Err(no_database(section.group()));
                };
                let path = store.new_path("restored");
                OpenFile::begin(part, section.descriptor().name.as_str(), path)?
            }
        };
        open.insert(state, file.append(&sorted)?);
    }
    for file in open.into_values() {
        file.bring_in()?;
    }
    Ok(Payload {
        accuracy: vec![Accuracy::Exact; states.len()],
        states,
        counters,
        files: Vec::new(),
    })
}

fn count(section: &CanonicalSection<'_>, groups: KeyGroupRange, counters: &mut [Vec<Counters>]) {
    let index = section.group().index().wrapping_sub(groups.first.index());
    let of_state = counters.get_mut(section.state());
    if let Some(of_group) = of_state.and_then(|of_state| of_state.get_mut(index)) {
        of_group.cells += section.entry_count();
        of_group.encoded_bytes += section.byte_count();
    }
}

#[cold]
fn no_database(group: KeyGroup) -> BackendError {
    BackendError::new(
        BackendErrorKind::Misuse,
        format!("there is no database for key group {group}"),
    )
}

/// A sorted file of entries of one state.
struct OpenFile<'s> {
    state: String,
    part: &'s Part,
    file: SstFileWriter<'s>,
    last: Vec<u8>,
    path: Leftover,
}

impl<'s> OpenFile<'s> {
    fn begin(part: &'s Part, state: &str, path: PathBuf) -> BackendResult<Self> {
        let path = Leftover(path);
        let file = SstFileWriter::create(part.database.options_of_new_files());
        let opened = file.open(&path.0);
        opened.map_err(|error| not_written(error, state, &path.0))?;
        Ok(Self {
            state: state.to_owned(),
            part,
            file,
            last: Vec::new(),
            path,
        })
    }

    /// Whether `sorted`, entries of `group`, can be appended.
    fn goes_on_with(&self, sorted: &Sorted, group: KeyGroup) -> bool {
        let follows = sorted
            .ends()
            .is_some_and(|(first, _)| self.last.as_slice() < first);
        follows
            && self.part.groups.contains(group)
            && self.file.file_size() < self.part.database.setup().options.target_file_bytes()
    }

    fn append(mut self, sorted: &Sorted) -> BackendResult<Self> {
        let written = sorted.write(&mut self.file);
        written.map_err(|error| not_written(error, &self.state, &self.path.0))?;
        if let Some((_, last)) = sorted.ends() {
            self.last.clear();
            self.last.extend_from_slice(last);
        }
        Ok(self)
    }

    fn bring_in(mut self) -> BackendResult<()> {
        let written = self.file.finish();
        written.map_err(|error| not_written(error, &self.state, &self.path.0))?;
        drop(self.file);
        self.part.database.ingest(&self.state, &[&self.path.0])
    }
}
