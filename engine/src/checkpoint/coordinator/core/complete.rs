//! Ending checkpoints: complete, expired, declined, subsumed.

use super::{Coordinator, Ending, FINAL_RETRY_MS, Now, Pending, Phase, ms};
use crate::checkpoint::coordinator::{
    Action, CheckpointFailure, FailCause, PersistFailure, Report, assemble,
};
use crate::checkpoint::store::CompletedCheckpoint;
use crate::checkpoint::{Ack, CheckpointId, CheckpointMetadata, Command, SnapshotKind};
use std::sync::Arc;

impl Coordinator {
    pub(super) fn expire(&mut self, now: Now, out: &mut Vec<Action>) {
        let timeout = self.settings.timeout;
        let expired: Vec<_> = self
            .pending
            .iter()
            .filter(|(_, pending)| {
                matches!(pending.phase, Phase::Waiting)
                    && pending.triggered_ms.saturating_add(ms(timeout)) <= now.ms
            })
            .map(|(id, _)| *id)
            .collect();
        for id in expired {
            self.fail(now, id, CheckpointFailure::Expired { timeout }, true, out);
        }
    }

    pub(super) fn acks(&mut self, now: Now, id: CheckpointId, acks: Vec<Ack>, out: &mut Vec<Action>) {
        let conflict = self
            .store
            .registry_mut()
            .register(id, assemble::snapshots(&acks))
            .err();
        let Some(pending) = self.pending.get_mut(&id) else {
            // An epoch without a checkpoint is passed as well, and nobody answers then.
            let abandoned = self.abandoned.remove(&id);
            if !acks.is_empty() && !self.store.contains(id) {
                out.push(Action::Report(Report::LateAcks(id)));
                out.push(abandoned.map_or(Action::DiscardCheckpoint(id), Action::DiscardSavepoint));
            }
            return;
        };
        if !matches!(pending.phase, Phase::Waiting) {
            return;
        }
        if let Some(failure) = assemble::first_decline(&acks) {
            return self.fail(now, id, failure, true, out);
        }
        let Some(attempt) = &self.attempt else { return };
        let assembled = match conflict {
            Some(conflict) => Err(conflict.to_string()),
            None => assemble::operators(&attempt.operators, acks),
        };
        match assembled {
            Err(reason) => self.fail(now, id, CheckpointFailure::Finalize { reason }, true, out),
            Ok(_) if pending.options.kind == SnapshotKind::CommitOnly => self.committed(id, out),
            Ok(operators) => {
                pending.phase = Phase::Whole(Arc::new(CheckpointMetadata {
                    job_name: self.job_name.clone(),
                    job_id: self.job_id.clone(),
                    id,
                    lineage: self.lineage.clone(),
                    attempt: pending.attempt,
                    mode: self.settings.mode,
                    epoch: id.0,
                    timestamp_ms: pending.timestamp_ms,
                    is_savepoint: pending.options.kind.savepoint().is_some(),
                    operators,
                }));
            }
        }
    }

    /// The oldest checkpoint that is whole is written, one at a time.
    pub(super) fn persist_next(&mut self, out: &mut Vec<Action>) {
        let busy = self
            .pending
            .values()
            .any(|pending| matches!(pending.phase, Phase::Persisting(_)));
        if busy {
            return;
        }
        for (id, pending) in &mut self.pending {
            if let Phase::Whole(metadata) = &pending.phase {
                let metadata = Arc::clone(metadata);
                let retained = || (self.store.retained_with(*id), self.reserved_below);
                out.push(match pending.options.kind.savepoint() {
                    Some(savepoint) => Action::PersistSavepoint {
                        metadata: Arc::clone(&metadata),
                        savepoint: savepoint.clone(),
                        retained: savepoint.stop.map(|_| retained()),
                    },
                    None => {
                        let (retained, next_id) = retained();
                        Action::Persist {
                            metadata: Arc::clone(&metadata),
                            retained,
                            next_id,
                        }
                    }
                });
                pending.phase = Phase::Persisting(metadata);
                return;
            }
        }
    }

    pub(super) fn persisted(
        &mut self,
        now: Now,
        id: CheckpointId,
        result: Result<Option<String>, PersistFailure>,
        out: &mut Vec<Action>,
    ) {
        let path = match result {
            Ok(path) => path,
            Err(PersistFailure {
                reason,
                unknown_outcome,
                fenced,
            }) => {
                if fenced {
                    self.lost_the_job(reason.clone(), out);
                }
                if unknown_outcome {
                    self.uncertain.insert(id);
                }
                return self.fail(
                    now,
                    id,
                    CheckpointFailure::Finalize { reason },
                    !unknown_outcome,
                    out,
                );
            }
        };
        let Some(pending) = self.pending.remove(&id) else {
            return;
        };
        let Phase::Persisting(metadata) = &pending.phase else {
            return;
        };
        let metadata = Arc::clone(metadata);
        if let Some(savepoint) = pending.options.kind.savepoint().cloned() {
            return self.saved(now, pending, &metadata, &savepoint, out);
        }
        let duration_ms = now.ms.saturating_sub(pending.triggered_ms);
        self.stats.completed += 1;
        self.stats.last_completed_id = Some(id);
        self.stats.last_duration_ms = duration_ms;
        self.stats.last_size_bytes = metadata.new_bytes();
        self.stats.last_full_size_bytes = metadata.state_bytes();
        self.stats.last_path.clone_from(&path);
        self.last_completion_ms = Some(now.ms);
        self.budget.succeeded(id);
        out.push(Action::Report(Report::Completed {
            id,
            duration_ms,
            new_bytes: metadata.new_bytes(),
            path: path.clone(),
        }));
        let subsumed = self.store.add(CompletedCheckpoint {
            metadata,
            path: path.clone(),
        });
        if let Some(attempt) = self
            .attempt
            .as_mut()
            .filter(|attempt| attempt.number == pending.attempt)
        {
            out.push(Action::Send(Command::Complete { id }));
            if pending.options.is_final {
                attempt.ending = Ending::Stopped;
                out.push(Action::Send(Command::Stop));
            }
        }
        if let Some(request) = pending.request {
            let result = Ok((id, path));
            out.push(Action::Reply { request, result });
        }
        self.completed(now, id, subsumed, out);
    }

    /// `id` is among the completed checkpoints, in the place of those that it has `subsumed`: nothing older is wanted any more, but for savepoints.
    pub(super) fn completed(
        &mut self,
        now: Now,
        id: CheckpointId,
        subsumed: Vec<CheckpointId>,
        out: &mut Vec<Action>,
    ) {
        let older: Vec<_> = self
            .pending
            .range(..id)
            .filter(|(_, pending)| pending.options.kind.savepoint().is_none())
            .map(|(older, _)| *older)
            .collect();
        for older in older {
            self.fail(now, older, CheckpointFailure::Subsumed { by: id }, true, out);
        }
        out.extend(self.settled());
        out.extend(self.discard_left_behind());
        out.extend(subsumed.into_iter().map(Action::DiscardCheckpoint));
        out.extend(self.store.take_claimed().map(Action::DiscardClaimed));
    }

    /// The end of a job that writes no checkpoints: sinks have prepared, and now commit.
    pub(super) fn committed(&mut self, id: CheckpointId, out: &mut Vec<Action>) {
        self.pending.remove(&id);
        out.push(Action::Send(Command::Complete { id }));
        out.push(Action::Send(Command::Stop));
        if let Some(attempt) = &mut self.attempt {
            attempt.ending = Ending::Stopped;
        }
    }

    /// Answers for a checkpoint that will not be, and with `discard` has what is there of it deleted.
    pub(super) fn give_up(
        &mut self,
        id: CheckpointId,
        pending: &Pending,
        failure: CheckpointFailure,
        discard: bool,
        out: &mut Vec<Action>,
    ) {
        let savepoint = pending.options.kind.savepoint();
        // Before the answer: whoever asked finds nothing left.
        match savepoint {
            Some(savepoint) if discard => self.discard_savepoint(id, &savepoint.folder, out),
            Some(_) => {}
            None => {
                self.stats.failed += 1;
                self.stats.last_failure = Some(failure.to_string());
            }
        }
        if let Some(request) = pending.request {
            let result = Err(failure.clone());
            out.push(Action::Reply { request, result });
        }
        out.push(Action::Report(match savepoint {
            Some(_) => Report::NotSaved { id, failure },
            None => Report::Failed {
                id,
                failure,
                counted: self.budget.count(),
            },
        }));
        if discard && savepoint.is_none() {
            out.push(Action::DiscardCheckpoint(id));
        }
    }

    /// Gives a checkpoint up, and the attempt with it if that was one too many.
    pub(super) fn fail(
        &mut self,
        now: Now,
        id: CheckpointId,
        failure: CheckpointFailure,
        discard: bool,
        out: &mut Vec<Action>,
    ) {
        let Some(pending) = self.pending.remove(&id) else {
            return;
        };
        let savepoint = pending.options.kind.savepoint();
        let exceeded = savepoint.is_none() && self.budget.failed(id, &failure);
        if self
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.number == pending.attempt)
        {
            out.push(Action::Send(Command::Abort {
                id,
                latest_completed: self.store.latest_own(),
            }));
        }
        self.give_up(id, &pending, failure.clone(), discard, out);
        if let Some(mode) = pending.options.kind.stop() {
            return self.stop_failed(now, id, mode, &failure, out);
        }
        let tolerable = self.budget.tolerable();
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| !attempt.failing) else {
            return;
        };
        if exceeded {
            attempt.failing = true;
            out.push(Action::Fail(FailCause {
                kind: failure.error_kind(),
                message: format!(
                    "checkpoint {id} failed, and with it more than the {tolerable} checkpoints in a row that may \
                     (execution.checkpointing.tolerable-failed-checkpoints): {failure}"
                ),
            }));
        } else if attempt.ending == Ending::Pending(id) {
            attempt.ending = Ending::At(now.ms.saturating_add(FINAL_RETRY_MS));
        }
    }
}
