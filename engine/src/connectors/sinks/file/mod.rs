//! A sink into files that are finished by a rename, exactly once.
//!
//! # Why a crash at any point is safe
//!
//! A file goes through three states, and its name tells which:
//!
//! | state | name | on disk |
//! |---|---|---|
//! | in progress | `.part-0-7.inprogress.4f5a90c1-3` | some of its rows |
//! | pending: named by a checkpoint | the same | all of its rows, file and folder synced |
//! | finished | `part-0-7-5f3a90c14f5a90c1-12`, after the [checkpoint](crate::checkpoint::CheckpointKey) that it was written for | the same file, renamed |
//! | left | `.part-0-7-5f3a90c14f5a90c1-12.left` | the same file, renamed: the job has gone back to an older checkpoint |
//!
//! * Crash while in progress, or after the sync but before the checkpoint is complete: no checkpoint names the file. The rows come again from the
//!   restored checkpoint and go into a file of the next attempt; the leftover is deleted when that attempt opens its writers.
//! * Crash after the checkpoint is complete but before the rename: the checkpoint names both names and the length. The engine commits it
//!   again after the restore, before any writer is opened.
//! * Crash after the rename: committing again finds no file under the temporary name and one of the right length under the final name.
//! * Crash between the rename and the sync of the folder: the rename may be undone by a power cut, which is the case before; committing
//!   again always syncs the folder, also when there was nothing left to rename.
//!
//! Two finished files never have one name: the next sequence number is part of each checkpoint, and the name has the checkpoint that the file was written for, with its
//! lineage.
//!
//! # Going back to an older checkpoint
//!
//! Files that were finished for checkpoints after it have rows that come again. Their names tell that they are not of the past of the
//! [lineage](crate::checkpoint::Lineage) that goes on, so they are hidden before the first row is written, and none of them can pass for a file of the new line that is
//! committed already. Should the job be started from a later checkpoint of the old line after all, its files are shown again and those of the other line hidden.

mod committer;
mod lines;
mod names;
#[cfg(test)]
mod tests;
mod writer;

pub use committer::{FileCommittable, FileCommitter};
pub use writer::{FileWriter, FileWriterState};

use crate::api::{Data, SinkContext, TwoPhaseCommitSink};
use crate::{Error, ErrorKind, Result};
use names::Names;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How long a file grows between two checkpoints unless [`FileSink::roll_bytes`] says otherwise: 128 MiB.
pub const ROLL_BYTES_DEFAULT: u64 = 128 * 1024 * 1024;

/// The name of the file by which a folder is tried.
const PROBE: &str = ".millpond-probe";

/// Appends the encoded form of some rows to a buffer.
type EncodeRows<T> = dyn Fn(&mut Vec<T>, &mut Vec<u8>) + Send + Sync;

/// Writes rows into the files of a folder, each row exactly once.
///
/// Finished files are named `part-<subtask>-<sequence>-<lineage>-<checkpoint>` and never change again; all other files begin with `.`, as readers of such folders
/// expect. Only a job that goes back to an older checkpoint takes finished files back: those that were written after it are hidden. A file is finished when the checkpoint that holds its last row is complete, so without checkpoints only at the end of input.
/// Each subtask has at most one file in progress, and begins another at each checkpoint and when one has [`roll_bytes`](Self::roll_bytes).
///
/// One folder and prefix belongs to one sink of one job. On several machines the folder must be shared by all.
///
/// ```
/// use millpond_engine::connectors::sinks::FileSink;
/// use std::io::Write;
///
/// let lines = FileSink::<String>::lines("out/");
/// let pairs = FileSink::new("out/", |(word, count): &(String, u64), row: &mut Vec<u8>| {
///     let _ = writeln!(row, "{word}\t{count}"); // writing into a Vec cannot fail
/// });
/// ```
pub struct FileSink<T> {
    folder: PathBuf,
    names: Names,
    encode: Arc<EncodeRows<T>>,
    roll_bytes: u64,
    append: bool,
    may_be_gone: bool,
}

impl<T: Data> FileSink<T> {
    /// Files in `folder` with rows that `encode` appends to a buffer, each with whatever separates it from the next one.
    pub fn new(
        folder: impl Into<PathBuf>,
        encode: impl Fn(&T, &mut Vec<u8>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            folder: folder.into(),
            names: Names::new("part"),
            // One indirect call a batch, none a row.
            encode: Arc::new(move |rows, buffer| rows.drain(..).for_each(|row| encode(&row, buffer))),
            roll_bytes: ROLL_BYTES_DEFAULT,
            append: false,
            may_be_gone: false,
        }
    }

    /// Files in `folder` with one line a row.
    pub fn lines(folder: impl Into<PathBuf>) -> Self
    where
        T: Display,
    {
        Self::new(folder, |row, buffer| {
            // A `Vec` takes everything; a `Display` that fails leaves what it wrote.
            let _ = writeln!(buffer, "{row}");
        })
    }

    /// Begins the names of files with `prefix` instead of `part`: at least one character, not `.` or `_` as the first one, and no `/`.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.names = Names::new(prefix);
        self
    }

    /// Begins a new file when one has `bytes` bytes or more, also between checkpoints.
    #[must_use]
    pub fn roll_bytes(mut self, bytes: u64) -> Self {
        self.roll_bytes = bytes;
        self
    }

    /// Whether a job may start (other than by a restore) when the folder has finished files already; the new ones go beside them. By default
    /// it may not, since the results of two runs would be mixed.
    #[must_use]
    pub fn append(mut self, append: bool) -> Self {
        self.append = append;
        self
    }

    /// Whether others may move finished files away, or delete them, while a checkpoint or savepoint that the job may be started from still names them: those of the
    /// latest checkpoint, and of each savepoint that is kept. A job that is restored looks for each of them, since one that is neither pending nor finished may also be one that was
    /// lost. By default it then ends with an error; with `true` it says so in the log and goes on, as Flink does.
    #[must_use]
    pub fn allow_moved(mut self, allow: bool) -> Self {
        self.may_be_gone = allow;
        self
    }
}

impl<T> std::fmt::Debug for FileSink<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSink")
            .field("folder", &self.folder)
            .field("names", &self.names)
            .field("roll_bytes", &self.roll_bytes)
            .field("append", &self.append)
            .field("may_be_gone", &self.may_be_gone)
            .finish_non_exhaustive()
    }
}

impl<T: Data> TwoPhaseCommitSink for FileSink<T> {
    type Input = T;
    type Committable = FileCommittable;
    type WriterState = FileWriterState;
    type Writer = FileWriter<T>;
    type Committer = FileCommitter;

    fn check_fresh_start(&self) -> Result<()> {
        self.names.check()?;
        let folder = &self.folder;
        create_folder(folder).map_err(|error| unusable(folder, "cannot be created", error))?;
        let names = list(folder).map_err(|error| unusable(folder, "cannot be read", error))?;
        let finished = names.iter().filter(|name| self.names.is_finished(name)).count();
        if finished > 0 && !self.append {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!(
                    "output folder {} already has {finished} finished files of another run; choose an empty folder, or \
                     FileSink::append(true)",
                    folder.display()
                ),
            ));
        }
        for name in names.iter().filter(|name| self.names.is_in_progress(name)) {
            let path = folder.join(name);
            fs::remove_file(&path)
                .map_err(|error| unusable(&path, "of an earlier run cannot be deleted", error))?;
            tracing::info!("deleted {}, which an earlier run left unfinished", path.display());
        }
        probe(folder).map_err(|error| unusable(folder, "is not writable", error))
    }

    fn writer(
        &self,
        context: &SinkContext,
        restored: Vec<FileWriterState>,
        pending: &[FileCommittable],
    ) -> Result<FileWriter<T>> {
        self.names.check()?;
        create_folder(&self.folder).map_err(|error| failed(&self.folder, "cannot create", error))?;
        let restored = restored.iter().map(|state| state.next_sequence).max();
        FileWriter::open(self, context, restored.unwrap_or(0), pending)
    }

    fn committer(&self, _: &SinkContext) -> Result<FileCommitter> {
        Ok(FileCommitter::new(self.folder.clone(), self.may_be_gone))
    }
}

/// Creates the folder and, if it was not there, has its own entry reach the disk.
fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    match folder.canonicalize()?.parent() {
        Some(parent) => sync_folder(parent),
        None => Ok(()),
    }
}

/// The names of all files of a folder that are text, as all of ours are.
fn list(folder: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().into_string().ok()))
        .filter_map(io::Result::transpose)
        .collect()
}

/// Tries whether files can be created in the folder. Always by the same name, so that what a crash leaves here goes away at the next start.
fn probe(folder: &Path) -> io::Result<()> {
    let path = folder.join(PROBE);
    File::create(&path)?;
    match fs::remove_file(&path) {
        // Another sink with the same folder was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Has the names in a folder reach the disk.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn unusable(path: &Path, what: &str, error: io::Error) -> Error {
    Error::new(
        ErrorKind::Configuration,
        format!("output {} {what}", path.display()),
    )
    .with_source(error)
}

fn failed(path: &Path, what: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Storage, format!("{what} output {}", path.display())).with_source(error)
}
