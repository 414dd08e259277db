//! Reading a snapshot: the files that the engine lends to a backend that restores.

use super::error::{guarded, io_to_backend, to_backend};
use super::storage::{SnapshotSource, StoredFile};
use abi_stable::std_types::{ROption, RResult, RSliceMut, RString};
use millpond_backend_api::streams::{RestoreFilesApi, RestoreStreamApi};
use millpond_backend_api::{BackendError, BackendErrorKind, FileRef, RestoreFiles, RestoreStream};
use std::fmt;
use std::io::Read;
use std::sync::Arc;

/// The files of `source` as a backend reads them.
pub(super) fn restore_files(source: Arc<dyn SnapshotSource>) -> RestoreFiles {
    RestoreFiles::new(Files(source))
}

struct Files(Arc<dyn SnapshotSource>);

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Files")
    }
}

impl RestoreFilesApi for Files {
    fn open(&self, file: &FileRef) -> RResult<RestoreStream, BackendError> {
        guarded("open", || {
            let input = self
                .0
                .open(&StoredFile::from(file))
                .map_err(|error| to_backend(&error))?;
            Ok(RestoreStream::new(Input(input)))
        })
        .into()
    }

    fn local_path(&self, file: &FileRef) -> RResult<ROption<RString>, BackendError> {
        guarded("local_path", || {
            let path = self
                .0
                .local_path(&StoredFile::from(file))
                .map_err(|error| to_backend(&error))?;
            let Some(path) = path else {
                return Ok(ROption::RNone);
            };
            path.into_os_string()
                .into_string()
                .map(|text| ROption::RSome(RString::from(text)))
                .map_err(|path| {
                    BackendError::new(
                        BackendErrorKind::Io,
                        format!("the path {} is not UTF-8", path.display()),
                    )
                })
        })
        .into()
    }
}

struct Input(Box<dyn Read + Send>);

impl RestoreStreamApi for Input {
    fn read(&mut self, mut buffer: RSliceMut<'_, u8>) -> RResult<usize, BackendError> {
        guarded("read", || {
            loop {
                match self.0.read(buffer.as_mut_slice()) {
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    result => return result.map_err(|error| io_to_backend(&error)),
                }
            }
        })
        .into()
    }
}
