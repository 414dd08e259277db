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
use std::collections::{BTreeMap, btree_map};
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
/// Of each state `state.backend.rocksdb.write-batch-size` bytes, or a section if that is longer, are sorted at once, and go behind those before into a file if
/// they belong there: that is so for what a RocksDB backend wrote, which is sorted already, and for groups that are no longer than that. Else a new file
/// begins, which overlaps others of its group until RocksDB compacts them.
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
    let mut incoming: BTreeMap<usize, Incoming<'_>> = BTreeMap::new();
    while let Some(section) = reader.next_section()? {
        count(&section, handle.key_groups, &mut counters);
        let Some(part) = parts.of(section.group()) else {
            return Err(no_database(section.group()));
        };
        let of_state = match incoming.entry(section.state()) {
            btree_map::Entry::Occupied(there) => there.into_mut(),
            btree_map::Entry::Vacant(none) => none.insert(Incoming::new(store, part, &section)),
        };
        of_state.go_on_in(part)?;
        of_state.add(&section)?;
    }
    for of_state in incoming.values_mut() {
        of_state.end()?;
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

/// One state on its way into the databases.
struct Incoming<'s> {
    store: &'s Store,
    part: &'s Part,
    state: String,
    /// What is sorted at once.
    batch: Sorted,
    file: Option<OpenFile<'s>>,
}

impl<'s> Incoming<'s> {
    fn new(store: &'s Store, part: &'s Part, section: &CanonicalSection<'_>) -> Self {
        Self {
            store,
            part,
            state: section.descriptor().name.to_string(),
            batch: Sorted::default(),
            file: None,
        }
    }

    /// What comes from here on is for `part`.
    fn go_on_in(&mut self, part: &'s Part) -> BackendResult<()> {
        if part.number != self.part.number {
            self.end()?;
            self.part = part;
        }
        Ok(())
    }

    fn add(&mut self, section: &CanonicalSection<'_>) -> BackendResult<()> {
        for entry in section.entries() {
            self.batch.put(section.group(), &entry);
        }
        let options = &self.part.database.setup().options;
        let batch_bytes = match options.write_batch_bytes {
            0 => options.target_file_bytes(),
            bytes => bytes,
        };
        if self.batch.len_bytes() >= batch_bytes {
            self.write()?;
        }
        Ok(())
    }

    /// Writes the batch behind those before it, or into a new file.
    fn write(&mut self) -> BackendResult<()> {
        self.batch.sort();
        let file = match self.file.take() {
            Some(file) if file.goes_on_with(&self.batch) => file,
            full => {
                full.map(|full| full.bring_in(self.part, &self.state))
                    .transpose()?;
                OpenFile::begin(self.part, &self.state, self.store.new_path("restored"))?
            }
        };
        self.file = Some(file.append(&self.batch, &self.state)?);
        self.batch.clear();
        Ok(())
    }

    fn end(&mut self) -> BackendResult<()> {
        if self.batch.len_bytes() > 0 {
            self.write()?;
        }
        match self.file.take() {
            Some(file) => file.bring_in(self.part, &self.state),
            None => Ok(()),
        }
    }
}

/// A sorted file of entries of one state.
struct OpenFile<'s> {
    file: SstFileWriter<'s>,
    /// The length at which it ends.
    full_bytes: u64,
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
            file,
            full_bytes: part.database.setup().options.target_file_bytes(),
            last: Vec::new(),
            path,
        })
    }

    /// Whether `sorted` can be appended.
    fn goes_on_with(&self, sorted: &Sorted) -> bool {
        let follows = sorted
            .ends()
            .is_some_and(|(first, _)| self.last.as_slice() < first);
        follows && self.file.file_size() < self.full_bytes
    }

    fn append(mut self, sorted: &Sorted, state: &str) -> BackendResult<Self> {
        let written = sorted.write(&mut self.file);
        written.map_err(|error| not_written(error, state, &self.path.0))?;
        if let Some((_, last)) = sorted.ends() {
            self.last.clear();
            self.last.extend_from_slice(last);
        }
        Ok(self)
    }

    fn bring_in(mut self, part: &Part, state: &str) -> BackendResult<()> {
        let written = self.file.finish();
        written.map_err(|error| not_written(error, state, &self.path.0))?;
        drop(self.file);
        part.database.ingest(state, &[&self.path.0])
    }
}
