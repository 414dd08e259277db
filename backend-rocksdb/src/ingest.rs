//! From frozen tables to a sorted file of what was changed, and into the database with it.
//!
//! Sorted files that are brought in whole spare RocksDB the skip list that each write would go through otherwise, and a log.

use crate::abreast::side_by_side;
use crate::error::failed;
use crate::keys::put_entry;
use crate::store::Part;
use millpond_backend_api::{BackendError, BackendResult, Entry, KeyGroup, KeyGroupRange};
use millpond_backend_memory::kinds::FrozenGroup;
use millpond_backend_memory::snapshot::FrozenState;
use rocksdb::SstFileWriter;
use std::path::{Path, PathBuf};

/// Gives a path that nothing has.
pub(crate) type NewPath<'p> = dyn Fn() -> PathBuf + Sync + 'p;

/// What of one state was changed since an epoch.
#[derive(Debug)]
pub(crate) struct Ingestion<'a> {
    state: &'a mut FrozenState,
    range: KeyGroupRange,
    since: u32,
    to: u32,
}

/// Entries of one state on their way into a sorted file: names and values in one block, and where each lies.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    bytes: Vec<u8>,
    entries: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    name: usize,
    value: usize,
    end: usize,
    change: Change,
}

/// What is done with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Put,
    Delete,
    /// What there is goes on with the value.
    Append,
}

impl Sorted {
    /// Forgets what there was; the memory stays for the next.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    /// The bytes of all names and values.
    pub(crate) fn len_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Adds an entry of `group`.
    pub(crate) fn put(&mut self, group: KeyGroup, entry: &Entry<'_>) {
        self.push(group, entry, std::iter::once(entry.value), Change::Put);
    }

    fn push<'v>(
        &mut self,
        group: KeyGroup,
        entry: &Entry<'_>,
        value: impl Iterator<Item = &'v [u8]>,
        change: Change,
    ) {
        let name = self.bytes.len();
        put_entry(&mut self.bytes, group, entry);
        let value_at = self.bytes.len();
        value.for_each(|part| self.bytes.extend_from_slice(part));
        self.entries.push(Place {
            name,
            value: value_at,
            end: self.bytes.len(),
            change,
        });
    }

    /// Brings the entries in the order of their names.
    pub(crate) fn sort(&mut self) {
        let bytes = &self.bytes;
        let name = |place: &Place| bytes.get(place.name..place.value).unwrap_or_default();
        // Names of a group begin alike, so the part behind that is most often all there is to compare.
        self.entries
            .sort_unstable_by(|left, right| name(left).cmp(name(right)));
    }

    /// The first name and the last, as they lie; `None` if there is no entry.
    pub(crate) fn ends(&self) -> Option<(&[u8], &[u8])> {
        let name = |place: &Place| self.bytes.get(place.name..place.value).unwrap_or_default();
        Some((name(self.entries.first()?), name(self.entries.last()?)))
    }

    /// Appends all of it to `file`, whose last name is lower than the first here.
    pub(crate) fn write(&self, file: &mut SstFileWriter<'_>) -> Result<(), rocksdb::Error> {
        self.entries
            .iter()
            .try_for_each(|place| self.write_one(place, file))
    }

    fn write_one(&self, place: &Place, file: &mut SstFileWriter<'_>) -> Result<(), rocksdb::Error> {
        let name = self.bytes.get(place.name..place.value).unwrap_or_default();
        let value = self.bytes.get(place.value..place.end).unwrap_or_default();
        match place.change {
            Change::Put => file.put(name, value),
            Change::Delete => file.delete(name),
            Change::Append => file.merge(name, value),
        }
    }

    /// Takes what was changed in `group` after the epoch `since`, instead of what there was.
    fn read(&mut self, group: KeyGroup, frozen: &FrozenGroup, since: u32) -> BackendResult<()> {
        self.clear();
        frozen.try_for_each_changed(Some(since), |changed| {
            match changed.appended {
                // All of it came into the database before.
                Some(appended) if appended.is_empty() => {}
                Some(appended) => self.push(group, &changed.entry, appended.iter(), Change::Append),
                None if changed.deleted => {
                    self.push(group, &changed.entry, std::iter::empty(), Change::Delete);
                }
                None => self.put(group, &changed.entry),
            }
            Ok::<_, BackendError>(())
        })?;
        self.sort();
        Ok(())
    }
}

impl<'a> Ingestion<'a> {
    /// What was changed of `state`, the tables of the groups of `range` as they were when the epoch `to` ended. What was changed in the epoch `since` or before
    /// is in the databases. Each group is given up once it has been read, with the memory that it held.
    pub(crate) fn new(state: &'a mut FrozenState, range: KeyGroupRange, since: u32, to: u32) -> Self {
        Self {
            state,
            range,
            since,
            to,
        }
    }

    /// Brings the changes in the groups of `part` into its database, by files at paths that `path` gives. All or nothing of them is in it then, and it
    /// knows which: what is appended must not come twice. To be called once for a part.
    pub(crate) fn run(&mut self, part: &Part, path: &NewPath<'_>) -> BackendResult<()> {
        let name = self.state.descriptor.name.as_str();
        let contents = part.database.contents(name);
        // Where something else went wrong after this state was done, it is there.
        let since = self.since.max(contents.up_to());
        if since >= self.to {
            return Ok(());
        }
        let groups = self.range.iter().zip(&mut self.state.groups);
        let groups: Vec<_> = groups.filter(|(group, _)| part.groups.contains(*group)).collect();
        let written = side_by_side(groups, |groups| {
            let mut files = NewFiles {
                state: name,
                options: part.database.options_of_new_files(),
                file_bytes: part.database.setup().options.target_file_bytes(),
                path,
                open: None,
                written: Vec::new(),
            };
            let mut changes = Sorted::default();
            for (group, frozen) in groups {
                // The tables go on changing what the group holds; nothing of that is needed beyond this.
                let frozen = std::mem::replace(frozen, FrozenGroup::Below);
                changes.read(group, &frozen, since)?;
                drop(frozen);
                files.append(&changes)?;
            }
            files.end()?;
            Ok(files.written)
        })?;
        let paths: Vec<_> = written.iter().flatten().map(|file| file.0.as_path()).collect();
        contents.advance(self.to, || {
            // Most states of most jobs are changed all the time, but an idle one must not make a file a checkpoint.
            if paths.is_empty() {
                return Ok(());
            }
            part.database.ingest(name, &paths)
        })
    }
}

/// Sorted files of changes, of which each is about as long as those that RocksDB writes itself: it compacts and drops files as a whole.
struct NewFiles<'p> {
    state: &'p str,
    options: &'p rocksdb::Options,
    /// The length at which a file ends.
    file_bytes: u64,
    path: &'p NewPath<'p>,
    open: Option<(SstFileWriter<'p>, Leftover)>,
    /// Removed, unless they were moved into the database.
    written: Vec<Leftover>,
}

impl<'p> NewFiles<'p> {
    /// How many entries are written before the file's length is looked at.
    const STEP: usize = 64;

    fn append(&mut self, changes: &Sorted) -> BackendResult<()> {
        for places in changes.entries.chunks(Self::STEP) {
            let (mut file, path) = match self.open.take() {
                Some(open) => open,
                None => self.begin()?,
            };
            let written = places
                .iter()
                .try_for_each(|place| changes.write_one(place, &mut file));
            written.map_err(|error| not_written(error, self.state, &path.0))?;
            let is_full = file.file_size() >= self.file_bytes;
            self.open = Some((file, path));
            if is_full {
                self.end()?;
            }
        }
        Ok(())
    }

    fn begin(&self) -> BackendResult<(SstFileWriter<'p>, Leftover)> {
        let path = Leftover((self.path)());
        let file = SstFileWriter::create(self.options);
        let opened = file.open(&path.0);
        opened.map_err(|error| not_written(error, self.state, &path.0))?;
        Ok((file, path))
    }

    /// Ends the open file, if there is one.
    fn end(&mut self) -> BackendResult<()> {
        let Some((mut file, path)) = self.open.take() else {
            return Ok(());
        };
        let finished = file.finish();
        finished.map_err(|error| not_written(error, self.state, &path.0))?;
        self.written.push(path);
        Ok(())
    }
}

/// The error for a file of entries of `state` that could not be written to `path`.
#[cold]
pub(crate) fn not_written(error: rocksdb::Error, state: &str, path: &Path) -> BackendError {
    failed(
        error,
        format_args!(
            "changes of state {state:?} cannot be written to {}",
            path.display()
        ),
    )
}

/// A file that is removed if it is still there.
#[derive(Debug)]
pub(crate) struct Leftover(pub(crate) PathBuf);

impl Drop for Leftover {
    fn drop(&mut self) {
        // It was moved away, mostly; else the folder goes soon.
        let _ = std::fs::remove_file(&self.0);
    }
}
