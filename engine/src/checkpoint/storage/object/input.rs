//! Reading an object in pieces, so that a large one needs little memory.

use super::calls::{CallError, Calls};
use crate::checkpoint::FileRef;
use crate::checkpoint::storage::SnapshotInput;
use crate::checkpoint::storage::file_input::VerifiedInput;
use crate::{Error, ErrorKind, Result};
use bytes::{Buf, Bytes};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::io::{self, Read};
use std::sync::Arc;

/// Bytes fetched at a time.
const CHUNK_BYTES: u64 = 8 << 20;

struct ObjectReader {
    store: Arc<dyn ObjectStore>,
    calls: Calls,
    path: Path,
    size: u64,
    offset: u64,
    chunk: Bytes,
}

impl ObjectReader {
    fn fetch(&self) -> Result<Bytes, CallError> {
        let (store, path) = (Arc::clone(&self.store), self.path.clone());
        let range = self.offset..self.size.min(self.offset.saturating_add(CHUNK_BYTES));
        self.calls
            .wait(async move { store.get_range(&path, range).await })
    }
}

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.chunk.has_remaining() && self.offset < self.size {
            self.chunk = self.fetch().map_err(|error| {
                io::Error::other(error.into_error(ErrorKind::Restore, format_args!("read '{}'", self.path)))
            })?;
            self.offset += self.chunk.len() as u64;
        }
        let n = buffer.len().min(self.chunk.remaining());
        if let Some(buffer) = buffer.get_mut(..n) {
            self.chunk.copy_to_slice(buffer);
        }
        Ok(n)
    }
}

/// Opens an object for verified reading; a size that is not the expected one is noticed at once. `name` is for errors.
pub(super) fn open(
    store: &Arc<dyn ObjectStore>,
    calls: &Calls,
    path: Path,
    name: String,
    file: &FileRef,
) -> Result<Box<dyn SnapshotInput>> {
    let (asked, of) = (Arc::clone(store), path.clone());
    let found = calls
        .wait(async move { asked.head(&of).await })
        .map_err(|error| {
            let kind = if error.is_not_found() {
                ErrorKind::Damaged
            } else {
                ErrorKind::Restore
            };
            error.into_error(
                kind,
                format_args!("open snapshot file '{name}' of {} bytes", file.size),
            )
        })?
        .size;
    if found != file.size {
        return Err(Error::new(
            ErrorKind::Damaged,
            format!(
                "snapshot file '{name}' is damaged: it has {found} bytes, expected {}",
                file.size
            ),
        ));
    }
    let reader = ObjectReader {
        store: Arc::clone(store),
        calls: calls.clone(),
        path,
        size: found,
        offset: 0,
        chunk: Bytes::new(),
    };
    Ok(Box::new(VerifiedInput::new(reader, name.into(), file)))
}
