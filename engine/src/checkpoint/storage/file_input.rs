//! Reading snapshot bytes back, verified.

use super::SnapshotInput;
use crate::checkpoint::FileRef;
use crate::{Error, ErrorKind, Result};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Reads `size` bytes from anything and verifies their checksum at the end.
pub(super) struct VerifiedInput<R> {
    source: R,
    name: PathBuf,
    size: u64,
    read: u64,
    expected_crc: u32,
    crc: crc32fast::Hasher,
}

impl<R: Read + Send> VerifiedInput<R> {
    pub(super) fn new(source: R, name: PathBuf, file: &FileRef) -> Self {
        Self {
            source,
            name,
            size: file.size,
            read: 0,
            expected_crc: file.crc32,
            crc: crc32fast::Hasher::new(),
        }
    }

    fn damaged(&self, what: &str) -> Error {
        Error::new(
            ErrorKind::Damaged,
            format!("snapshot file '{}' is damaged: {what}", self.name.display()),
        )
    }
}

impl<R: Read + Send> SnapshotInput for VerifiedInput<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let left = self.size - self.read;
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = buffer.get_mut(..want).unwrap_or_default();
        if buffer.is_empty() {
            // The reader has all bytes, but must not believe them before it is told that they are the end.
            let found = self.crc.clone().finalize();
            if found != self.expected_crc {
                return Err(self.damaged(&format!(
                    "bytes 0..{} have checksum {found:#010x}, expected {:#010x}",
                    self.size, self.expected_crc
                )));
            }
            return Ok(0);
        }
        let n = self.source.read(buffer).map_err(|error| {
            Error::new(
                ErrorKind::Restore,
                format!(
                    "cannot read snapshot file '{}' at byte {}",
                    self.name.display(),
                    self.read
                ),
            )
            .with_source(error)
        })?;
        if n == 0 {
            return Err(self.damaged(&format!(
                "it ends at byte {}, expected {} bytes",
                self.read, self.size
            )));
        }
        self.crc.update(buffer.get(..n).unwrap_or_default());
        self.read += n as u64;
        Ok(n)
    }
}

/// Opens a file for verified reading; a size that is not the expected one is noticed at once.
pub(super) fn open_file(path: &Path, file: &FileRef) -> Result<Box<dyn SnapshotInput>> {
    let missing = |error: std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::Damaged,
            _ => ErrorKind::Restore,
        };
        Error::new(
            kind,
            format!(
                "cannot open snapshot file '{}' of {} bytes",
                path.display(),
                file.size
            ),
        )
        .with_source(error)
    };
    let opened = File::open(path).map_err(missing)?;
    let found = opened.metadata().map_err(missing)?.len();
    if found != file.size {
        return Err(Error::new(
            ErrorKind::Damaged,
            format!(
                "snapshot file '{}' is damaged: it has {found} bytes, expected {}",
                path.display(),
                file.size
            ),
        ));
    }
    Ok(Box::new(VerifiedInput::new(opened, path.to_owned(), file)))
}

/// Reads bytes that ride in their reference.
pub(super) fn open_inline(bytes: &[u8], file: &FileRef) -> Box<dyn SnapshotInput> {
    let source = std::io::Cursor::new(bytes.to_vec());
    Box::new(VerifiedInput::new(
        source,
        PathBuf::from("(inline in _metadata)"),
        file,
    ))
}
