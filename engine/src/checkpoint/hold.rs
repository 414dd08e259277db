//! Telling other programs that a snapshot on disk, or the folder of a job, is in use.
//!
//! A running job holds a shared lock on the `_metadata` of each checkpoint that it keeps and of the snapshot that it was started from, as long as it needs them; who wants
//! to own or to delete one takes an exclusive lock. Every process that writes checkpoints holds a shared lock on the job's folder, so that a
//! [sweep](crate::checkpoint::sweep) leaves it alone. The system takes the locks back when the process dies, however it dies. They reach as far as the locks
//! of the file system do.

use crate::{Error, ErrorKind, Result};
use std::fs::{self, File, Metadata, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A lock on the metadata of a snapshot or on a folder, released when it is dropped.
#[derive(Debug)]
pub(crate) struct SnapshotHold {
    file: File,
}

impl Drop for SnapshotHold {
    fn drop(&mut self) {
        // Closing would do, but not while a child that was just forked, and has not executed its program yet, has a copy of the handle.
        let _ = self.file.unlock();
    }
}

impl SnapshotHold {
    /// Says that the snapshot is needed; others may need it too.
    ///
    /// # Errors
    /// [`ErrorKind::Restore`] when another program owns it or is deleting it.
    pub(crate) fn shared(metadata: &Path) -> Result<Self> {
        Self::take(metadata, File::try_lock_shared)
    }

    /// Says that the folder is needed; waits while another program has it for itself, and tries again if that has deleted it. Where there are no locks, or no folder,
    /// there is none.
    pub(crate) fn waiting(folder: &Path, make: impl Fn(&Path) -> Result<()>) -> Result<Option<Self>> {
        loop {
            make(folder)?;
            let Ok(file) = File::open(folder) else {
                return Ok(None);
            };
            if file.lock_shared().is_err() {
                return Ok(None);
            }
            let hold = Self { file };
            if is_at(&hold.file, folder) {
                return Ok(Some(hold));
            }
        }
    }

    /// Takes the snapshot or folder for oneself.
    ///
    /// # Errors
    /// [`ErrorKind::Restore`] when another program needs it.
    pub(crate) fn exclusive(metadata: &Path) -> Result<Self> {
        Self::take(metadata, File::try_lock)
    }

    fn take(metadata: &Path, lock: impl FnOnce(&File) -> Result<(), TryLockError>) -> Result<Self> {
        let place = metadata.display();
        let file = File::open(metadata).map_err(|error| {
            Error::new(ErrorKind::Restore, format!("cannot open '{place}'")).with_source(error)
        })?;
        match lock(&file) {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(Error::new(
                ErrorKind::Restore,
                format!(
                    "'{place}' is in use: a running job needs it or has claimed it, or it is being deleted; wait until that program has ended"
                ),
            )),
            // Not every file system has locks; a job must not depend on them.
            Err(TryLockError::Error(error)) => {
                tracing::debug!(%error, file = %place, "the snapshot cannot be locked against others");
                Ok(Self { file })
            }
        }
    }
}

/// Whether the open file is the one that `path` names: a lock on one that was deleted or replaced excludes nobody.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    let id = |metadata: Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(there)) => id(open) == id(there),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_may_need_a_snapshot_and_one_may_own_it_and_never_both() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("_metadata");
        std::fs::write(&path, "m").unwrap();
        let needed = [
            SnapshotHold::shared(&path).unwrap(),
            SnapshotHold::shared(&path).unwrap(),
        ];
        let error = SnapshotHold::exclusive(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Restore);
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        drop(needed);
        let owned = SnapshotHold::exclusive(&path).unwrap();
        assert!(SnapshotHold::shared(&path).is_err());
        assert!(SnapshotHold::exclusive(&path).is_err());
        drop(owned);
        SnapshotHold::shared(&path).unwrap();
    }
}
