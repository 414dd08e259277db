//! Asking for savepoints, on behalf of a program or of somebody outside.

use crate::checkpoint::coordinator::{CheckpointFailure, CoordinatorHandle};
use crate::checkpoint::hold::SnapshotHold;
use crate::checkpoint::storage::{create_savepoint_folder, discard_unfinished_savepoints, parse_location};
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

/// Why there is no savepoint.
#[derive(Debug)]
pub(crate) struct NotTaken {
    pub(crate) error: Error,
    /// Because not all subtasks run, which may be otherwise in a while.
    pub(crate) not_running: bool,
}

impl From<Error> for NotTaken {
    fn from(error: Error) -> Self {
        Self {
            error,
            not_running: false,
        }
    }
}

impl Savepoints {
    /// Deletes what an earlier run of the job has left of savepoints that were not complete when it was killed.
    pub(super) fn new(coordinator: CoordinatorHandle, default_target: Option<PathBuf>) -> Self {
        if let Some(target) = &default_target {
            discard_unfinished_savepoints(target, coordinator.job_id());
        }
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
    pub(crate) fn take(&self, wanted: &Wanted) -> Result<PathBuf, NotTaken> {
        let folder = create_savepoint_folder(&self.target(wanted)?, self.job_id())?;
        // For as long as somebody may be writing to it.
        let _hold = SnapshotHold::waiting(Path::new(&folder), |_| Ok(()))?;
        let options = SavepointOptions {
            folder: folder.clone(),
            format: wanted.format,
            stop: wanted.stop,
        };
        let kind = SnapshotKind::Savepoint(options);
        match self.coordinator.trigger_and_wait(kind) {
            Ok(Ok(_)) => Ok(PathBuf::from(folder)),
            Ok(Err(failure)) => Err(NotTaken {
                not_running: failure == CheckpointFailure::NotRunning,
                error: Error::new(
                    failure.error_kind(),
                    format!("the savepoint was not taken: {failure}"),
                ),
            }),
            Err(ended) => {
                // A coordinator that has ended has not deleted the folder, in which nobody has written.
                let _ = std::fs::remove_dir(Path::new(&folder));
                Err(ended.context("the savepoint was not taken").into())
            }
        }
    }

    fn target(&self, wanted: &Wanted) -> Result<PathBuf> {
        match (&wanted.target, &self.default_target) {
            (Some(target), _) => parse_location("the target of the savepoint", target),
            (None, Some(target)) => Ok(target.clone()),
            (None, None) => Err(Error::new(
                ErrorKind::Configuration,
                format!(
                    "no folder for the savepoint: name one, or set {} to the folder of savepoints that are asked for without one",
                    SAVEPOINT_DIR.key()
                ),
            )),
        }
    }

    fn job_id(&self) -> &JobId {
        self.coordinator.job_id()
    }
}
