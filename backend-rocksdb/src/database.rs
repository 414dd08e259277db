//! One RocksDB database, with a column family a state.

use crate::contents::Contents;
use crate::error::{failed, failed_with};
use crate::expiry::Expiries;
use crate::folder::Folder;
use crate::keys::behind;
use crate::merge::{LiveFile, import, live_files, refuse_compactions};
use crate::options::figures::Figures;
use crate::options::{Memory, Options};
use crate::origins::Origins;
use millpond_backend_api::{BackendError, BackendErrorKind, BackendResult, KeyGroup, KeyGroupRange};
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BottommostLevelCompaction, BoundColumnFamily, ColumnFamilyDescriptor, CompactOptions, DB,
    DBRawIteratorWithThreadMode, DBWithThreadMode, IngestExternalFileOptions, MultiThreaded, ReadOptions,
    ReadTier,
};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// What databases are opened with.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) options: Arc<Options>,
    pub(crate) memory: Memory,
    /// What expires of the states of the subtask.
    pub(crate) expiries: Arc<Expiries>,
}

/// A database whose column families come and go while several threads use it.
pub(crate) type Db = DBWithThreadMode<MultiThreaded>;

/// A database in a folder of its own. The folder goes with it.
pub(crate) struct Database {
    db: Db,
    database: rocksdb::Options,
    column_family: rocksdb::Options,
    new_files: rocksdb::Options,
    figures: Figures,
    setup: Setup,
    /// The names of the column families.
    names: Mutex<Vec<String>>,
    /// What there is of each state.
    contents: Mutex<BTreeMap<String, Arc<Contents>>>,
    origins: Origins,
    // Dropped after the database.
    folder: Folder,
}

/// What is read ahead where all of a state is read.
const READ_AHEAD_BYTES: usize = 1 << 20;

/// What RocksDB calls a name that no state can have.
const DEFAULT: &str = "default";

/// The column family of a state. States may have any name, column families none with a NUL, and one is taken.
fn column_family_of(state: &str) -> String {
    let escaped = state.replace('%', "%25").replace('\0', "%00");
    format!("{STATE}{escaped}")
}

/// What the names of all column families of states begin with.
const STATE: &str = "state:";

/// The name of the state that a column family is of.
fn state_of(column_family: &str) -> Option<String> {
    let escaped = column_family.strip_prefix(STATE)?;
    Some(escaped.replace("%00", "\0").replace("%25", "%"))
}

/// The options of the column family `name`: those of all, and what compactions drop of it.
pub(crate) fn with_filter(all: &rocksdb::Options, name: &str, setup: &Setup) -> rocksdb::Options {
    let mut options = all.clone();
    if let Some(state) = state_of(name) {
        options.set_compaction_filter_factory(setup.expiries.filters(&state));
        options.set_periodic_compaction_seconds(setup.options.ttl_compaction_age.as_secs());
    }
    options
}

impl Database {
    /// Opens the database in `folder`, whose files `origins` knows, or makes one if the folder is empty.
    ///
    /// # Errors
    /// [`BackendErrorKind::Corrupted`] for damaged files, as RocksDB describes it, and those of the file system.
    pub(crate) fn open(folder: Folder, origins: Origins, setup: &Setup) -> BackendResult<Self> {
        let path = folder.path();
        let database = setup.options.database(&setup.memory, path);
        let column_family = setup.options.column_family(&setup.memory);
        let not_opened = |error| {
            let what = format_args!("the database in {} cannot be opened", path.display());
            origins.tell(failed(error, what))
        };
        let mut names = if path.join("CURRENT").exists() {
            DB::list_cf(&database, path).map_err(not_opened)?
        } else {
            Vec::new()
        };
        if !names.iter().any(|name| name == DEFAULT) {
            names.push(DEFAULT.to_owned());
        }
        let families = names.iter().map(|name| {
            let options = with_filter(&column_family, name, setup);
            ColumnFamilyDescriptor::new(name, options)
        });
        let db = Db::open_cf_descriptors(&database, path, families).map_err(not_opened)?;
        Ok(Self {
            db,
            database,
            new_files: setup.options.new_files(&column_family),
            column_family,
            figures: setup.options.figures.clone(),
            setup: setup.clone(),
            names: Mutex::new(names),
            contents: Mutex::default(),
            origins,
            folder,
        })
    }

    /// Opens a [checkpoint](Self::checkpoint) of this database, to be read.
    ///
    /// # Errors
    /// RocksDB's, and those of the file system.
    pub(crate) fn open_checkpoint(&self, folder: Folder) -> BackendResult<Self> {
        let path = folder.path();
        let not_opened = |error| {
            let what = format_args!("the checkpoint in {} cannot be opened", path.display());
            self.failed(error, what)
        };
        let names = DB::list_cf(&self.database, path).map_err(not_opened)?;
        let families = names
            .iter()
            .map(|name| ColumnFamilyDescriptor::new(name, self.column_family.clone()));
        // What is opened to be read writes no log.
        let db = Db::open_cf_descriptors_read_only(&self.database, path, families, false);
        Ok(Self {
            db: db.map_err(not_opened)?,
            database: self.database.clone(),
            column_family: self.column_family.clone(),
            new_files: self.new_files.clone(),
            figures: self.figures.clone(),
            setup: self.setup.clone(),
            names: Mutex::new(names),
            contents: Mutex::default(),
            origins: self.origins.clone(),
            folder,
        })
    }

    pub(crate) fn setup(&self) -> &Setup {
        &self.setup
    }

    pub(crate) fn origins(&self) -> &Origins {
        &self.origins
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What RocksDB tells about itself.
    pub(crate) fn figures(&self) -> Vec<(String, f64)> {
        let families = self.families();
        self.figures.of(&self.db, &families, &self.database)
    }

    /// The options of files to [`ingest`](Self::ingest).
    pub(crate) fn options_of_new_files(&self) -> &rocksdb::Options {
        &self.new_files
    }

    fn families(&self) -> Vec<Arc<BoundColumnFamily<'_>>> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().filter_map(|name| self.db.cf_handle(name)).collect()
    }

    fn family(&self, state: &str) -> Option<Arc<BoundColumnFamily<'_>>> {
        self.db.cf_handle(&column_family_of(state))
    }

    /// The value of the cell with the name `name`.
    ///
    /// # Errors
    /// RocksDB's, as for all calls.
    pub(crate) fn get(&self, state: &str, name: &[u8]) -> BackendResult<Option<Vec<u8>>> {
        let Some(family) = self.family(state) else {
            return Ok(None);
        };
        let found = self.db.get_pinned_cf(&family, name);
        let found = found.map_err(|error| self.read_failed(error, state))?;
        Ok(found.map(|value| value.to_vec()))
    }

    /// Up to which epoch this has the changes of a state.
    pub(crate) fn contents(&self, state: &str) -> Arc<Contents> {
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        match contents.get(state) {
            Some(of_state) => Arc::clone(of_state),
            None => Arc::clone(contents.entry(state.to_owned()).or_default()),
        }
    }

    /// Takes over up to which epochs `parts` have the changes of their states.
    ///
    /// # Errors
    /// [`BackendErrorKind::Other`] when they differ: an ingestion came into one of them and not into another, and is to be tried again.
    pub(crate) fn take_over_contents<'p>(&self, parts: impl Iterator<Item = &'p Self>) -> BackendResult<()> {
        let locked = |database: &Self| {
            let contents = database.contents.lock().unwrap_or_else(PoisonError::into_inner);
            let contents = contents.iter();
            contents
                .map(|(state, contents)| (state.clone(), contents.up_to()))
                .filter(|(_, up_to)| *up_to > 0)
                .collect::<BTreeMap<_, _>>()
        };
        let mut all = parts.map(locked);
        let first = all.next().unwrap_or_default();
        if all.any(|other| other != first) {
            return Err(BackendError::new(
                BackendErrorKind::Other,
                format!(
                    "{}: not all databases have the same changes",
                    self.folder().display()
                ),
            ));
        }
        for (state, up_to) in first {
            self.contents(&state).advance(up_to, || Ok(()))?;
        }
        Ok(())
    }

    /// Whether there may be a cell with the name `name`, as far as can be told without a read of the disk.
    pub(crate) fn may_have(&self, state: &str, name: &[u8]) -> bool {
        let Some(family) = self.family(state) else {
            return false;
        };
        let mut options = ReadOptions::default();
        options.set_read_tier(ReadTier::BlockCache);
        // An error is mostly that it would have to read. Any other one comes again, and is told, when the list is read.
        !matches!(self.db.get_pinned_cf_opt(&family, name, &options), Ok(None))
    }

    /// The values of the cells with the names `names`, which are in order; each is given to `each` with its place in `names`.
    ///
    /// # Errors
    /// RocksDB's.
    pub(crate) fn get_many(
        &self,
        state: &str,
        names: &[&[u8]],
        mut each: impl FnMut(usize, Vec<u8>),
    ) -> BackendResult<()> {
        let Some(family) = self.family(state) else {
            return Ok(());
        };
        let found = self.db.batched_multi_get_cf(&family, names.iter().copied(), true);
        for (place, value) in found.into_iter().enumerate() {
            if let Some(value) = value.map_err(|error| self.read_failed(error, state))? {
                each(place, value.to_vec());
            }
        }
        Ok(())
    }

    /// Calls `each` with name and value of all cells whose names begin with `prefix`, in order, until it fails.
    ///
    /// # Errors
    /// RocksDB's, and that of `each`.
    pub(crate) fn scan(
        &self,
        state: &str,
        prefix: &[u8],
        keep_in_cache: bool,
        mut each: impl FnMut(&[u8], &[u8]) -> BackendResult<()>,
    ) -> BackendResult<()> {
        self.scan_from(state, prefix, prefix, keep_in_cache, |name, value| {
            each(name, value).map(|()| true)
        })
    }

    /// The same from the name `from` on, which begins with `prefix`, until `each` fails or returns false.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub(crate) fn scan_from(
        &self,
        state: &str,
        prefix: &[u8],
        from: &[u8],
        keep_in_cache: bool,
        mut each: impl FnMut(&[u8], &[u8]) -> BackendResult<bool>,
    ) -> BackendResult<()> {
        let Some(family) = self.family(state) else {
            return Ok(());
        };
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(from);
        if let Some(end) = behind(prefix) {
            options.set_iterate_upper_bound(end);
        }
        options.fill_cache(keep_in_cache);
        let mut cursor = self.db.raw_iterator_cf_opt(&family, options);
        cursor.seek(from);
        while let Some((name, value)) = cursor.item() {
            if !each(name, value)? {
                return Ok(());
            }
            cursor.next();
        }
        cursor.status().map_err(|error| self.read_failed(error, state))
    }

    /// All cells of a state, group by group; `None` if nothing was ever brought into it.
    pub(crate) fn cursor(&self, state: &str) -> Option<Cursor<'_>> {
        let family = self.family(state)?;
        let mut options = ReadOptions::default();
        // All of it is read once, and must not push out what the job needs.
        options.fill_cache(false);
        options.set_readahead_size(READ_AHEAD_BYTES);
        let mut cells = self.db.raw_iterator_cf_opt(&family, options);
        cells.seek_to_first();
        Some(Cursor {
            database: self,
            state: state.to_owned(),
            cells,
        })
    }

    /// Brings the files at `paths`, which were written for this and follow each other, into a state: all of them or none. The files are moved.
    ///
    /// # Errors
    /// RocksDB's.
    pub(crate) fn ingest(&self, state: &str, paths: &[&Path]) -> BackendResult<()> {
        let name = column_family_of(state);
        let what = || {
            format!(
                "changes of state {state:?} cannot be brought into {}",
                self.folder().display()
            )
        };
        if self.db.cf_handle(&name).is_none() {
            let options = with_filter(&self.column_family, &name, &self.setup);
            self.db
                .create_cf(&name, &options)
                .map_err(|error| self.failed(error, what()))?;
            let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
            names.push(name.clone());
        }
        let Some(family) = self.db.cf_handle(&name) else {
            return Err(BackendError::new(
                BackendErrorKind::Other,
                format!("{}: the column family that was made is not there", what()),
            ));
        };
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        self.db
            .ingest_external_file_cf_opts(&family, &options, paths.to_vec())
            .map_err(|error| self.failed(error, what()))
    }

    /// Has RocksDB compact all files of a state.
    #[cfg(test)]
    pub(crate) fn compact(&self, state: &str) {
        if let Some(family) = self.family(state) {
            let mut options = rocksdb::CompactOptions::default();
            options.set_bottommost_level_compaction(rocksdb::BottommostLevelCompaction::ForceOptimized);
            self.db
                .compact_range_cf_opt(&family, None::<&[u8]>, None::<&[u8]>, &options);
        }
    }

    /// Drops the key groups outside `range`, as far as that costs little: whole files at once, the rest when RocksDB compacts it.
    ///
    /// # Errors
    /// RocksDB's.
    pub(crate) fn clip(&self, range: KeyGroupRange) -> BackendResult<()> {
        let unlogged = Options::write();
        for family in self.families() {
            for (from, to) in &outside(range) {
                self.db
                    .delete_file_in_range_cf(&family, from, to)
                    .and_then(|()| self.db.delete_range_cf_opt(&family, from, to, &unlogged))
                    .map_err(|error| self.clip_failed(error))?;
            }
        }
        Ok(())
    }

    /// Has RocksDB drop for good what [`clip`](Self::clip) left of other groups than those of `range`, in the files that have some of both.
    ///
    /// Costs the rewriting of these files and of those that overlap them in the level below.
    pub(crate) fn drop_outside(&self, range: KeyGroupRange) {
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        for family in self.families() {
            for (from, to) in outside(range) {
                self.db
                    .compact_range_cf_opt(&family, Some(from), Some(to), &options);
            }
        }
    }

    /// Ends [`drop_outside`](Self::drop_outside), now and for ever.
    pub(crate) fn refuse_compactions(&self) {
        refuse_compactions(&self.db);
    }

    /// The files that the database consists of.
    pub(crate) fn live_files(&self) -> Vec<LiveFile> {
        live_files(&self.db, self.folder())
    }

    /// Whether there is nothing of other groups than those of `range`, nor anything that says that they are deleted.
    pub(crate) fn is_within(&self, range: KeyGroupRange) -> bool {
        self.live_files().iter().all(|file| is_within(file, range))
    }

    /// A database in `folder`, which is empty, of the files `files` of other ones, which it takes from there.
    ///
    /// # Errors
    /// RocksDB's. Those about damage are told with what `origins` knows of the files.
    pub(crate) fn of_files(
        folder: Folder,
        files: Vec<LiveFile>,
        origins: &Origins,
        setup: &Setup,
    ) -> BackendResult<Folder> {
        let path = folder.path();
        let options = setup.options.database(&setup.memory, path);
        let column_family = setup.options.column_family(&setup.memory);
        let what = || format!("no database can be made in {}", path.display());
        let default = ColumnFamilyDescriptor::new(DEFAULT, column_family.clone());
        let db = Db::open_cf_descriptors(&options, path, [default]);
        let db = db.map_err(|error| failed(error, what()))?;
        let mut families = BTreeMap::<String, Vec<LiveFile>>::new();
        for file in files {
            families.entry(file.column_family.clone()).or_default().push(file);
        }
        for (name, files) in families {
            let options = with_filter(&column_family, &name, setup);
            import(&db, &name, &options, &files)
                .map_err(|error| origins.tell(failed_with(&error, what())))?;
        }
        drop(db);
        Ok(folder)
    }

    /// Takes RocksDB's checkpoint of everything, which shares the files, into `folder`, which is not there yet.
    ///
    /// # Errors
    /// RocksDB's.
    pub(crate) fn checkpoint(&self, folder: &Folder) -> BackendResult<()> {
        Checkpoint::new(&self.db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(folder.path()))
            .map_err(|error| {
                self.failed(
                    error,
                    format_args!("no checkpoint of {} could be taken", self.folder().display()),
                )
            })
    }

    #[cold]
    fn failed(&self, error: rocksdb::Error, what: impl fmt::Display) -> BackendError {
        self.origins.tell(failed(error, what))
    }

    #[cold]
    fn read_failed(&self, error: rocksdb::Error, state: &str) -> BackendError {
        self.failed(
            error,
            format_args!("state {state:?} cannot be read from {}", self.folder().display()),
        )
    }

    #[cold]
    fn clip_failed(&self, error: rocksdb::Error) -> BackendError {
        self.failed(
            error,
            format_args!("{} cannot be cut to its key groups", self.folder().display()),
        )
    }
}

/// Where the names of all cells lie that are of no group of `range`: from the first to before the second.
fn outside(range: KeyGroupRange) -> Vec<([u8; 2], [u8; 2])> {
    let mut outside = Vec::new();
    if range.first.0 > 0 {
        outside.push(([0; 2], range.first.0.to_be_bytes()));
    }
    // The highest group there can be has no successor, and nothing behind it.
    if let Some(behind) = range.last.0.checked_add(1) {
        outside.push((behind.to_be_bytes(), [u8::MAX; 2]));
    }
    outside
}

/// Whether all that `file` has is of groups of `range`.
fn is_within(file: &LiveFile, range: KeyGroupRange) -> bool {
    let is_in = |name: &[u8]| {
        let group = name
            .first_chunk()
            .map(|group| KeyGroup(u16::from_be_bytes(*group)));
        group.is_some_and(|group| range.contains(group))
    };
    is_in(&file.smallest) && is_in(&file.largest)
}

/// The cells of a state in the order of their names.
pub(crate) struct Cursor<'d> {
    database: &'d Database,
    state: String,
    cells: DBRawIteratorWithThreadMode<'d, Db>,
}

impl Cursor<'_> {
    /// Calls `each` with name and value of the cells of `group`, until it fails. Groups are asked for in order; those between are left out.
    ///
    /// # Errors
    /// RocksDB's, and that of `each`.
    pub(crate) fn visit(
        &mut self,
        group: KeyGroup,
        mut each: impl FnMut(&[u8], &[u8]) -> BackendResult<()>,
    ) -> BackendResult<()> {
        let prefix = group.0.to_be_bytes();
        if self.cells.key().is_some_and(|name| name < prefix.as_slice()) {
            self.cells.seek(prefix);
        }
        while let Some((name, value)) = self.cells.item()
            && name.starts_with(&prefix)
        {
            each(name, value)?;
            self.cells.next();
        }
        let status = self.cells.status();
        status.map_err(|error| self.database.read_failed(error, &self.state))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Nobody will ask for what a compaction would bring.
        self.db.cancel_all_background_work(false);
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({})", self.folder().display())
    }
}
