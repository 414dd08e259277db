//! A snapshot stream into a file, or into the reference itself while it is small.

use super::durable::{storage_error, sync_dir};
use super::writeback::Writeback;
use super::{CheckpointPaths, SnapshotStream};
use crate::checkpoint::{FileLocation, FileRef};
use crate::{Error, ErrorKind, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What a [`FileStream`] has to know.
#[derive(Debug)]
pub(super) struct FileStreamOptions {
    /// The folder that the file goes to; it exists.
    pub(super) folder: PathBuf,
    /// What the file's path begins with: the folder's name below the one that paths start at, and `/`; empty if that is the folder itself.
    pub(super) prefix: String,
    /// Whether the file may be named by later checkpoints.
    pub(super) shared: bool,
    /// Up to this many bytes, no file is made.
    pub(super) inline_threshold: usize,
    /// Bytes are written in runs of at least this many.
    pub(super) buffer: usize,
}

#[derive(Debug)]
pub(super) struct FileStream {
    options: FileStreamOptions,
    buffer: Vec<u8>,
    file: Option<Unfinished>,
    written: u64,
    crc: crc32fast::Hasher,
    failed: bool,
}

/// A file under its temporary name, which is removed on drop.
#[derive(Debug)]
struct Unfinished {
    file: File,
    temporary: PathBuf,
    name: String,
    writeback: Writeback,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Gone already if it was renamed; if it cannot be deleted, it goes with its folder.
        let _ = fs::remove_file(&self.temporary);
    }
}

impl FileStream {
    pub(super) fn new(options: FileStreamOptions) -> Self {
        Self {
            options,
            buffer: Vec::new(),
            file: None,
            written: 0,
            crc: crc32fast::Hasher::new(),
            failed: false,
        }
    }

    fn open(&self) -> Result<Unfinished> {
        let name = CheckpointPaths::unique_name();
        let temporary = CheckpointPaths::temporary(&self.options.folder.join(&name));
        let file =
            File::create_new(&temporary).map_err(|error| storage_error("create", &temporary, error))?;
        Ok(Unfinished {
            file,
            temporary,
            name,
            writeback: Writeback::default(),
        })
    }

    fn write_through(&mut self, bytes: &[u8]) -> Result<()> {
        if self.buffer.len() + bytes.len() <= self.options.buffer.max(self.options.inline_threshold) {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        let unfinished = match &mut self.file {
            Some(unfinished) => unfinished,
            None => {
                let opened = self.open()?;
                self.file.insert(opened)
            }
        };
        let written = unfinished
            .file
            .write_all(&self.buffer)
            .and_then(|()| unfinished.file.write_all(bytes))
            .and_then(|()| {
                let bytes = self.buffer.len() + bytes.len();
                unfinished.writeback.wrote(&unfinished.file, bytes)
            });
        self.buffer.clear();
        written.map_err(|error| storage_error("write", &unfinished.temporary, error))
    }
}

impl SnapshotStream for FileStream {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.failed {
            return Err(poisoned(&self.options.folder));
        }
        self.crc.update(bytes);
        self.written += bytes.len() as u64;
        let result = self.write_through(bytes);
        self.failed = result.is_err();
        result
    }

    fn written(&self) -> u64 {
        self.written
    }

    fn finish(mut self: Box<Self>) -> Result<FileRef> {
        if self.failed {
            return Err(poisoned(&self.options.folder));
        }
        let size = self.written;
        let crc32 = std::mem::take(&mut self.crc).finalize();
        if self.file.is_none() && self.buffer.len() <= self.options.inline_threshold {
            let bytes = std::mem::take(&mut self.buffer);
            return Ok(FileRef {
                location: FileLocation::Inline(bytes),
                size,
                crc32,
                shared: false,
            });
        }
        let mut unfinished = match self.file.take() {
            Some(unfinished) => unfinished,
            None => self.open()?,
        };
        let path = self.options.folder.join(&unfinished.name);
        unfinished
            .file
            .write_all(&self.buffer)
            .map_err(|error| storage_error("write", &unfinished.temporary, error))?;
        unfinished
            .writeback
            .finish()
            .and_then(|()| unfinished.file.sync_all())
            .map_err(|error| storage_error("sync", &unfinished.temporary, error))?;
        fs::rename(&unfinished.temporary, &path).map_err(|error| storage_error("publish", &path, error))?;
        if let Err(error) = sync_dir(&self.options.folder) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(FileRef {
            location: FileLocation::File(format!("{}{}", self.options.prefix, unfinished.name)),
            size,
            crc32,
            shared: self.options.shared,
        })
    }
}

/// After an error the kernel may have dropped the pages that it could not write, so a second fsync would report a success that is none.
fn poisoned(folder: &Path) -> Error {
    Error::new(
        ErrorKind::Storage,
        format!(
            "a snapshot stream in '{}' failed before and takes nothing more",
            folder.display()
        ),
    )
}
