//! Savepoints: beside the checkpoints, but for the one that a job stops with.
//!
//! A plain savepoint takes a number and an epoch as a checkpoint does, and nothing else: it is not kept among the checkpoints, subsumes none and is subsumed
//! by none, tells no sink to commit, and its failure never counts. The one that a job stops with is the job's last checkpoint at the same time: sinks commit what
//! it covers, so a restart must begin from it, and it is kept like a checkpoint until the job has ended.

use super::{Attempt, Coordinator, Ending, Now, Pending};
use crate::ErrorKind;
use crate::checkpoint::coordinator::{Action, CheckpointFailure, FailCause, Report, RequestId};
use crate::checkpoint::ha::JobEnd;
use crate::checkpoint::restore;
use crate::checkpoint::store::CompletedCheckpoint;
use crate::checkpoint::{
    CheckpointId, CheckpointMetadata, Command, SavepointOptions, SnapshotKind, StopMode,
};
use std::sync::Arc;

/// A savepoint is complete and the job is told to stop with it; whoever asked is answered when it has.
#[derive(Debug)]
pub(super) struct Stopping {
    request: Option<RequestId>,
    id: CheckpointId,
    folder: String,
}

impl Coordinator {
    /// Starts the savepoints that wait, however many checkpoints are under way. The one that the job stops with is the last.
    pub(super) fn trigger_savepoints(&mut self, now: Now, out: &mut Vec<Action>) {
        let is_savepoint = |(_, kind): &(RequestId, SnapshotKind)| kind.savepoint().is_some();
        while let Some(index) = self.requests.iter().position(is_savepoint)
            && let Some((request, kind)) = self.requests.remove(index)
        {
            let stops = kind.stop().is_some();
            let id = self.trigger(now, kind, false, Some(request), out);
            if let (true, Some(attempt), Some(id)) = (stops, &mut self.attempt, id) {
                attempt.ending = Ending::Savepoint(id);
                return;
            }
        }
    }

    /// The metadata of a savepoint is in its folder.
    pub(super) fn saved(
        &mut self,
        now: Now,
        pending: Pending,
        metadata: &Arc<CheckpointMetadata>,
        savepoint: &SavepointOptions,
        out: &mut Vec<Action>,
    ) {
        let (id, folder) = (metadata.id, &savepoint.folder);
        self.stats.savepoints += 1;
        self.stats.last_savepoint = Some(folder.clone());
        self.last_completion_ms = Some(now.ms);
        out.push(Action::Report(Report::Saved {
            id,
            duration_ms: now.ms.saturating_sub(pending.triggered_ms),
            new_bytes: metadata.new_bytes(),
            folder: folder.clone(),
        }));
        let is_running = |attempt: &&mut Attempt| attempt.number == pending.attempt;
        let latest_completed = self.store.latest_own();
        let attempt = self.attempt.as_mut().filter(is_running);
        if savepoint.stop.is_none() {
            if attempt.is_some() {
                out.push(Action::Send(Command::Abort { id, latest_completed }));
            }
            if let Some(request) = pending.request {
                let result = Ok((id, Some(folder.clone())));
                out.push(Action::Reply { request, result });
            }
            return;
        }
        if let Some(attempt) = attempt {
            attempt.ending = Ending::Stopped;
            out.push(Action::Send(Command::Complete { id }));
            out.push(Action::Send(Command::Stop));
            self.stopping = Some(Stopping {
                request: pending.request,
                id,
                folder: folder.clone(),
            });
        } else if let Some(request) = pending.request {
            out.push(not_stopped(request, folder));
        }
        let subsumed = self.store.add(CompletedCheckpoint {
            // Its files are not the job's to delete.
            metadata: Arc::new(restore::with_absolute_paths(metadata, folder.as_ref())),
            path: Some(folder.clone()),
        });
        self.completed(now, id, subsumed, out);
    }

    /// A savepoint that is given up: its folder goes, now and again when nobody can be writing to it any more.
    pub(super) fn discard_savepoint(&mut self, id: CheckpointId, folder: &str, out: &mut Vec<Action>) {
        self.abandoned.insert(id, folder.to_owned());
        out.push(Action::DiscardSavepoint(folder.to_owned()));
    }

    /// Nobody writes for an earlier attempt any more.
    pub(super) fn discard_abandoned(&mut self, out: &mut Vec<Action>) {
        let abandoned = std::mem::take(&mut self.abandoned);
        out.extend(abandoned.into_values().map(Action::DiscardSavepoint));
    }

    /// The savepoint that the job was to stop with was given up after it had been triggered. Sources that stand still go on. After the end of event time there
    /// is no way on but from the latest checkpoint.
    pub(super) fn stop_failed(
        &mut self,
        now: Now,
        id: CheckpointId,
        mode: StopMode,
        failure: &CheckpointFailure,
        out: &mut Vec<Action>,
    ) {
        self.go_on_reading(now, id);
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| !attempt.failing) else {
            return;
        };
        if mode == StopMode::Drain {
            attempt.failing = true;
            out.push(Action::Fail(FailCause {
                kind: ErrorKind::Storage,
                message: format!(
                    "the savepoint that the job was to end with, drained, failed, and the end of event time cannot be taken back, so the job goes on from its latest \
                     checkpoint: {failure}"
                ),
            }));
        }
    }

    /// There will be no savepoint `id` to stop with: the job goes on, or comes to its end by itself.
    pub(super) fn go_on_reading(&mut self, now: Now, id: CheckpointId) {
        if let Some(attempt) = &mut self.attempt
            && attempt.ending == Ending::Savepoint(id)
        {
            attempt.ending = Ending::No;
            if attempt.sources_ended {
                self.end(now);
            }
        }
    }

    /// The attempt that was told to stop with a savepoint has ended in another way.
    pub(super) fn stop_was_interrupted(&mut self, out: &mut Vec<Action>) {
        if let Some(stopping) = self.stopping.take()
            && let Some(request) = stopping.request
        {
            out.push(not_stopped(request, &stopping.folder));
        }
    }

    /// What the end of the job is, if every attempt has ended well: it may have been stopped with a savepoint, and whoever asked for that is answered now.
    #[must_use]
    pub fn finished(&mut self) -> (JobEnd, Vec<Action>) {
        let Some(stopping) = self.stopping.take() else {
            return (JobEnd::Finished, Vec::new());
        };
        self.stats.stopped_with = Some(stopping.folder.clone());
        let reply = stopping.request.map(|request| Action::Reply {
            request,
            result: Ok((stopping.id, Some(stopping.folder))),
        });
        (JobEnd::Stopped, reply.into_iter().collect())
    }
}

fn not_stopped(request: RequestId, folder: &str) -> Action {
    let savepoint = folder.to_owned();
    Action::Reply {
        request,
        result: Err(CheckpointFailure::NotStopped { savepoint }),
    }
}
