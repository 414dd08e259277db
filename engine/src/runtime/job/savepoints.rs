//! Asking for savepoints, on behalf of a program or of somebody outside.

use crate::checkpoint::coordinator::CoordinatorHandle;
use crate::checkpoint::storage::{create_savepoint_folder, parse_location};
use crate::checkpoint::{JobId, SavepointFormat, SavepointOptions, SnapshotKind, StopMode};
use crate::config::options::storage::SAVEPOINT_DIR;
use crate::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// A savepoint that somebody wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The folder below which it gets one of its own: a path or `file://` address. None: the configured one.
    pub(crate) target: Option<String>,
    pub(crate) format: SavepointFormat,
    /// How the job ends with it.
    pub(crate) stop: Option<StopMode>,
}

/// Takes savepoints of a running job; in the coordinator's process.
#[derive(Clone, Debug)]
pub(crate) struct Savepoints {
    coordinator: CoordinatorHandle,
    /// `execution.checkpointing.savepoint-dir`.
    default_target: Option<PathBuf>,
}

impl Savepoints {
    pub(super) fn new(coordinator: CoordinatorHandle, default_target: Option<PathBuf>) -> Self {
        Self {
            coordinator,
            default_target,
        }
    }

    /// Takes one and waits for it; returns its folder. One that the job stops with has been taken when the job has ended.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when there is no target, [`ErrorKind::Storage`] when it cannot be written to or the savepoint failed; no folder is left
    /// then. [`ErrorKind::Cancelled`] when the job has ended.
    pub(crate) fn take(&self, wanted: &Wanted) -> Result<PathBuf> {
        let target = match (&wanted.target, &self.default_target) {
            (Some(target), _) => parse_location("the target of the savepoint", target)?,
            (None, Some(target)) => target.clone(),
            (None, None) => {
                return Err(Error::new(
                    ErrorKind::Configuration,
                    format!(
                        "no folder for the savepoint: name one, or set {} to the folder of savepoints that are asked for without one",
                        SAVEPOINT_DIR.key()
                    ),
                ));
            }
        };
        let folder = create_savepoint_folder(&target, self.job_id())?;
        let options = SavepointOptions {
            folder: folder.clone(),
            format: wanted.format,
            stop: wanted.stop,
        };
        let taken = self
            .coordinator
            .trigger_and_wait(SnapshotKind::Savepoint(options));
        match taken {
            Ok(_) => Ok(PathBuf::from(folder)),
            Err(error) => {
                // A coordinator that has ended has not deleted the folder, in which nobody has written.
                let _ = std::fs::remove_dir(Path::new(&folder));
                Err(error.context("the savepoint was not taken"))
            }
        }
    }

    fn job_id(&self) -> &JobId {
        self.coordinator.job_id()
    }
}
