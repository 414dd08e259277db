//! Writes the rows of one subtask.

use super::names::{Finished, Names, Writing};
use super::{EncodeRows, FileCommittable, FileSink, failed, lines, list, sync_folder};
use crate::Result;
use crate::api::{Data, PreCommit, SinkContext, TwoPhaseCommitWriter};
use crate::checkpoint::CheckpointKey;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many encoded bytes are gathered before they are written.
const BUFFER_BYTES: usize = 256 * 1024;

/// What a checkpoint remembers of a [`FileWriter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileWriterState {
    /// The sequence number of the next file. The highest of all subtasks counts, so that numbers do not meet after a rescale.
    pub next_sequence: u64,
}

/// Writes the rows of one subtask of a [`FileSink`].
pub struct FileWriter<T> {
    folder: Arc<Path>,
    /// The folder as checkpoints remember it.
    recorded_folder: Option<String>,
    names: Names,
    subtask: u32,
    parallelism: u32,
    writing: Writing,
    /// The unfinished files that were in the checkpoint, of all subtasks, which may not all have been committed yet.
    restored: HashSet<String>,
    encode: Arc<EncodeRows<T>>,
    roll_bytes: u64,
    next_sequence: u64,
    /// Encoded rows that are not written yet; their file is opened when they are.
    buffer: Vec<u8>,
    current: Option<OpenFile>,
    /// Files that reached their size since the last checkpoint. They stay open, since a sync through another handle could miss an error.
    full: Vec<OpenFile>,
}

struct OpenFile {
    file: File,
    temporary_name: String,
    sequence: u64,
    len: u64,
}

impl<T> std::fmt::Debug for FileWriter<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileWriter")
            .field("folder", &self.folder)
            .field("subtask", &self.subtask)
            .field("next_sequence", &self.next_sequence)
            .finish_non_exhaustive()
    }
}

impl<T: Data> FileWriter<T> {
    /// Drops what earlier attempts left, hides what a line of checkpoints has finished that this one does not go on with, and begins at `next_sequence`.
    pub(super) fn open(
        sink: &FileSink<T>,
        context: &SinkContext,
        next_sequence: u64,
        pending: &[FileCommittable],
    ) -> Result<Self> {
        let names = list(&sink.folder).map_err(|error| failed(&sink.folder, "cannot list", error))?;
        sweep(sink, context, &names, pending)?;
        lines::show_this_line(sink, context, &names)?;
        let absolute = std::path::absolute(&sink.folder)
            .map_err(|error| failed(&sink.folder, "cannot tell the absolute path of", error))?;
        Ok(Self {
            folder: sink.folder.clone().into(),
            recorded_folder: absolute.to_str().map(str::to_owned),
            names: sink.names.clone(),
            subtask: context.subtask,
            parallelism: context.parallelism,
            restored: pending
                .iter()
                .map(|pending| pending.temporary_name.clone())
                .collect(),
            writing: Writing::new(&context.job_id, context.attempt),
            encode: Arc::clone(&sink.encode),
            roll_bytes: sink.roll_bytes,
            next_sequence,
            buffer: Vec::new(),
            current: None,
            full: Vec::new(),
        })
    }

    /// Writes the buffer to the current file, which is created if there is none.
    fn write_buffer(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let current = match &mut self.current {
            Some(current) => current,
            None => {
                let sequence = self.next_sequence;
                let temporary_name = self.names.in_progress(self.subtask, sequence, &self.writing);
                let path = self.folder.join(&temporary_name);
                let file = File::create(&path).map_err(|error| failed(&path, "cannot create", error))?;
                self.next_sequence += 1;
                self.current.insert(OpenFile {
                    file,
                    temporary_name,
                    sequence,
                    len: 0,
                })
            }
        };
        current.file.write_all(&self.buffer).map_err(|error| {
            let path = self.folder.join(&current.temporary_name);
            failed(&path, "cannot write", error)
        })?;
        current.len += self.buffer.len() as u64;
        self.buffer.clear();
        if current.len >= self.roll_bytes {
            self.full.extend(self.current.take());
        }
        Ok(())
    }
}

/// What was not pre-committed is in no checkpoint, so nobody needs it: the next attempt writes it again. And a former leader that had not noticed yet may have written beside
/// this one, after this one was opened. Best effort; what is left is for the next writer.
impl<T> Drop for FileWriter<T> {
    fn drop(&mut self) {
        for open in self.current.iter().chain(&self.full) {
            let _ = fs::remove_file(self.folder.join(&open.temporary_name));
        }
        for name in list(&self.folder).unwrap_or_default() {
            let Some((subtask, left_by)) = self.names.parse_in_progress(&name) else {
                continue;
            };
            let is_mine = subtask % self.parallelism.max(1) == self.subtask;
            if is_mine && self.writing.is_later_attempt_than(&left_by) && !self.restored.contains(&name) {
                let _ = fs::remove_file(self.folder.join(name));
            }
        }
    }
}

impl<T: Data> TwoPhaseCommitWriter for FileWriter<T> {
    type Input = T;
    type Committable = FileCommittable;
    type WriterState = FileWriterState;

    fn write(&mut self, records: &mut Vec<T>) -> Result<()> {
        (self.encode)(records, &mut self.buffer);
        let written = self.current.as_ref().map_or(0, |current| current.len);
        if self.buffer.len() >= BUFFER_BYTES || written + self.buffer.len() as u64 >= self.roll_bytes {
            self.write_buffer()?;
        }
        Ok(())
    }

    fn pre_commit(
        &mut self,
        checkpoint: CheckpointKey,
    ) -> Result<PreCommit<FileCommittable, FileWriterState>> {
        self.write_buffer()?;
        self.full.extend(self.current.take());
        let files = std::mem::take(&mut self.full);
        let committable = |file: &OpenFile| FileCommittable {
            folder: self.recorded_folder.clone(),
            temporary_name: file.temporary_name.clone(),
            final_name: self.names.finished(&Finished {
                subtask: self.subtask,
                sequence: file.sequence,
                checkpoint,
            }),
            len: file.len,
        };
        let committables: Vec<_> = files.iter().map(committable).collect();
        let folder = Arc::clone(&self.folder);
        let finish = move || sync(&folder, files);
        Ok(PreCommit {
            state: FileWriterState {
                next_sequence: self.next_sequence,
            },
            finish: (!committables.is_empty()).then(|| Box::new(finish) as _),
            committables,
        })
    }
}

/// Has the files and their temporary names reach the disk.
fn sync(folder: &Path, files: Vec<OpenFile>) -> Result<()> {
    for open in files {
        open.file.sync_all().map_err(|error| {
            let path = folder.join(open.temporary_name);
            failed(&path, "cannot sync", error)
        })?;
    }
    sync_folder(folder).map_err(|error| failed(folder, "cannot sync", error))
}

/// Deletes the unfinished files of earlier attempts and runs that no checkpoint names. Each of them is deleted by one subtask, whatever
/// the parallelism was before.
fn sweep<T>(
    sink: &FileSink<T>,
    context: &SinkContext,
    names: &[String],
    pending: &[FileCommittable],
) -> Result<()> {
    let writing = Writing::new(&context.job_id, context.attempt);
    for name in names {
        let Some((subtask, left_by)) = sink.names.parse_in_progress(name) else {
            continue;
        };
        let mine = subtask % context.parallelism.max(1) == context.subtask;
        let remembered = pending.iter().any(|pending| pending.temporary_name == *name);
        if mine && writing.comes_after(&left_by) && !remembered {
            let path: PathBuf = sink.folder.join(name);
            match fs::remove_file(&path) {
                Ok(()) => tracing::debug!(
                    "deleted {}, which an earlier attempt left unfinished",
                    path.display()
                ),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(&path, "cannot delete left-over", error)),
            }
        }
    }
    Ok(())
}
