//! Snapshot files in a real folder, as the engine's file storage keeps them.

use abi_stable::std_types::{ROption, RResult, RSlice, RSliceMut, RString};
use millpond_backend_api::streams::{
    RestoreFilesApi, RestoreStreamApi, SnapshotStreamApi, SnapshotStreamsApi,
};
use millpond_backend_api::{
    BackendError, BackendErrorKind, FileRef, RestoreFiles, RestoreStream, SnapshotHandle, SnapshotStream,
    SnapshotStreams, StreamHint,
};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Clone, Debug)]
pub(crate) struct Folder {
    dir: Arc<tempfile::TempDir>,
    next: Arc<AtomicU64>,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self {
            dir: Arc::new(tempfile::tempdir().unwrap()),
            next: Arc::default(),
        }
    }

    pub(crate) fn path(&self, token: &str) -> PathBuf {
        self.dir.path().join(token)
    }

    pub(crate) fn streams(&self) -> SnapshotStreams {
        SnapshotStreams::new(self.clone())
    }

    pub(crate) fn files(&self) -> RestoreFiles {
        RestoreFiles::new(self.clone())
    }

    /// Deletes every file that none of `handles` names.
    pub(crate) fn keep_only<'a>(&self, handles: impl IntoIterator<Item = &'a SnapshotHandle>) {
        let kept: BTreeSet<String> = handles
            .into_iter()
            .flat_map(|handle| handle.files.iter().map(|file| file.token.to_string()))
            .collect();
        for entry in fs::read_dir(self.dir.path()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if !kept.contains(&name) {
                fs::remove_file(self.path(&name)).unwrap();
            }
        }
    }
}

impl SnapshotStreamsApi for Folder {
    fn open(&self, hint: StreamHint) -> RResult<SnapshotStream, BackendError> {
        let token = format!("f{}", self.next.fetch_add(1, Ordering::Relaxed));
        let file = File::create(self.path(&token)).unwrap();
        RResult::ROk(SnapshotStream::new(Writing {
            file,
            token,
            hint,
            crc32: crc32fast::Hasher::new(),
            size: 0,
        }))
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}

struct Writing {
    file: File,
    token: String,
    hint: StreamHint,
    crc32: crc32fast::Hasher,
    size: u64,
}

impl SnapshotStreamApi for Writing {
    fn write(&mut self, bytes: RSlice<'_, u8>) -> RResult<(), BackendError> {
        self.file.write_all(bytes.as_slice()).unwrap();
        self.crc32.update(bytes.as_slice());
        self.size += bytes.len() as u64;
        RResult::ROk(())
    }

    fn finish(&mut self) -> RResult<FileRef, BackendError> {
        if let ROption::RSome(expected) = self.hint.expected_bytes {
            assert_eq!(expected, self.size, "the size that was announced");
        }
        RResult::ROk(FileRef {
            token: self.token.clone().into(),
            size: self.size,
            crc32: self.crc32.clone().finalize(),
            shared: self.hint.shared,
        })
    }
}

impl RestoreFilesApi for Folder {
    fn open(&self, file: &FileRef) -> RResult<RestoreStream, BackendError> {
        match File::open(self.path(file.token.as_str())) {
            Ok(file) => RResult::ROk(RestoreStream::new(Reading(file))),
            Err(error) => RResult::RErr(BackendError::new(BackendErrorKind::Io, error.to_string())),
        }
    }

    fn local_path(&self, file: &FileRef) -> RResult<ROption<RString>, BackendError> {
        let path = self.path(file.token.as_str());
        RResult::ROk(ROption::RSome(path.to_str().unwrap().into()))
    }
}

struct Reading(File);

impl RestoreStreamApi for Reading {
    fn read(&mut self, mut buffer: RSliceMut<'_, u8>) -> RResult<usize, BackendError> {
        RResult::ROk(self.0.read(buffer.as_mut_slice()).unwrap())
    }
}
