//! Starting checkpoints: who goes first, and which numbers they get.

use super::{Coordinator, Ending, FINAL_RETRY_MS, Now, Pending, Phase, ms};
use crate::checkpoint::coordinator::{Action, CheckpointFailure, Report, RequestId};
use crate::checkpoint::store::CompletedCheckpoint;
use crate::checkpoint::{CheckpointId, Command, FileLocation, SnapshotKind, SnapshotOptions};

/// Requests of users that may wait at once.
pub(super) const QUEUE_MAX: usize = 1000;
/// Numbers recorded ahead, so that not every trigger has to be.
const RESERVE_AHEAD: u64 = 16;

impl Coordinator {
    pub(super) fn request(&mut self, request: RequestId, kind: SnapshotKind, out: &mut Vec<Action>) {
        let running = self
            .attempt
            .as_ref()
            .is_some_and(|attempt| !attempt.failing && attempt.ending == Ending::No);
        let refusal = if !running {
            Some(CheckpointFailure::NotRunning)
        } else if kind == SnapshotKind::CommitOnly {
            let reason = "only checkpoints and savepoints can be asked for".to_owned();
            Some(CheckpointFailure::NotStarted { reason })
        } else if self.requests.len() >= QUEUE_MAX {
            Some(CheckpointFailure::QueueFull)
        } else {
            None
        };
        match refusal {
            Some(failure) => {
                if let Some(savepoint) = kind.savepoint() {
                    out.push(Action::DiscardSavepoint(savepoint.folder.clone()));
                }
                let result = Err(failure);
                out.push(Action::Reply { request, result });
            }
            None => self.requests.push_back((request, kind)),
        }
    }

    /// The first number never used. Recording it comes before any use.
    pub(super) fn take_id(&mut self, out: &mut Vec<Action>) -> CheckpointId {
        let id = self.next_id;
        self.next_id = id.next();
        if self.next_id > self.reserved_below {
            self.reserved_below = CheckpointId(self.next_id.0.saturating_add(RESERVE_AHEAD));
            out.push(Action::ReserveIds {
                below: self.reserved_below,
            });
        }
        id
    }

    pub(super) fn trigger(
        &mut self,
        now: Now,
        mut kind: SnapshotKind,
        is_final: bool,
        request: Option<RequestId>,
        out: &mut Vec<Action>,
    ) -> Option<CheckpointId> {
        let id = self.take_id(out);
        // The files of somebody else are theirs to delete. So the first checkpoint of a job that was started from a snapshot is full, and so is one after
        // a checkpoint that names such files all the same.
        let stands_alone = self.store.latest_own().is_some() || self.latest().is_none();
        if kind == SnapshotKind::Checkpoint
            && (!stands_alone || self.latest().is_some_and(names_foreign_files))
        {
            kind = SnapshotKind::FullCheckpoint;
        }
        let builds_on = self.store.oldest_own().unwrap_or(id);
        let attempt = self.attempt.as_mut()?;
        attempt.epoch = id.next().0;
        let options = SnapshotOptions { kind, is_final };
        self.pending.insert(
            id,
            Pending {
                attempt: attempt.number,
                options: options.clone(),
                request,
                triggered_ms: now.ms,
                timestamp_ms: now.unix_ms,
                builds_on,
                phase: Phase::Waiting,
            },
        );
        out.push(Action::Send(Command::Trigger {
            id,
            timestamp_ms: now.unix_ms,
            options,
        }));
        out.push(Action::Report(Report::Triggered(id)));
        Some(id)
    }

    /// Starts what may start now: first the job's last checkpoint, then savepoints, which wait for nothing, then checkpoints that users ask for, then the periodic one.
    pub(super) fn trigger_what_is_due(&mut self, now: Now, out: &mut Vec<Action>) {
        let Some(attempt) = self.attempt.as_ref().filter(|attempt| !attempt.failing) else {
            return;
        };
        match attempt.ending {
            Ending::No => {}
            Ending::At(at) if at <= now.ms => {
                let kind = if self.settings.interval.is_some() && self.settings.final_checkpoint {
                    SnapshotKind::Checkpoint
                } else {
                    SnapshotKind::CommitOnly
                };
                let id = self.trigger(now, kind, true, None, out);
                if let (Some(attempt), Some(id)) = (&mut self.attempt, id) {
                    attempt.ending = Ending::Pending(id);
                }
                return;
            }
            Ending::At(_) | Ending::Pending(_) | Ending::Savepoint(_) | Ending::Stopped => return,
        }
        self.trigger_savepoints(now, out);
        if self
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.ending != Ending::No)
        {
            return;
        }
        while self.has_slot()
            && let Some((request, kind)) = self.requests.pop_front()
        {
            self.trigger(now, kind, false, Some(request), out);
        }
        if self.has_slot() {
            self.trigger_periodic(now, out);
        }
    }

    pub(super) fn trigger_periodic(&mut self, now: Now, out: &mut Vec<Action>) {
        let earliest = self
            .last_completion_ms
            .map(|completed| completed.saturating_add(ms(self.settings.min_pause)));
        let Some(attempt) = &mut self.attempt else { return };
        let (Some(due), Some(period)) = (attempt.next_periodic_ms, self.settings.period()) else {
            return;
        };
        if due > now.ms {
            return;
        }
        if let Some(earliest) = earliest.filter(|earliest| *earliest > now.ms) {
            attempt.next_periodic_ms = Some(earliest);
            return;
        }
        // At a fixed rate; what was missed is not made up for.
        let period = ms(period).max(1);
        let missed = (now.ms - due) / period;
        attempt.next_periodic_ms = Some(due.saturating_add((missed + 1).saturating_mul(period)));
        self.trigger(now, SnapshotKind::Checkpoint, false, None, out);
    }

    pub(super) fn advance_epoch(&mut self, epoch: u64, out: &mut Vec<Action>) {
        let ahead = self.attempt.as_ref().is_none_or(|attempt| attempt.epoch > epoch);
        if ahead {
            return;
        }
        let to = self.take_id(out).next().0;
        if let Some(attempt) = &mut self.attempt {
            attempt.epoch = to;
        }
        out.push(Action::Send(Command::AdvanceEpoch { to }));
    }

    /// Nothing was sent for numbers that are not recorded, so they are as good as never used, but they are not used again.
    pub(super) fn reserve_failed(&mut self, now: Now, reason: &str, out: &mut Vec<Action>) {
        let first = CheckpointId(self.reserved_below.0.saturating_sub(RESERVE_AHEAD + 1));
        self.reserved_below = self.next_id;
        let lost: Vec<_> = self.pending.range(first..).map(|(id, _)| *id).collect();
        for id in lost {
            let Some(pending) = self.pending.remove(&id) else {
                continue;
            };
            let failure = CheckpointFailure::NotStarted {
                reason: reason.to_owned(),
            };
            let discard = pending.options.kind.savepoint().is_some();
            self.give_up(id, &pending, failure, discard, out);
            self.go_on_reading(now, id);
            if let Some(attempt) = &mut self.attempt
                && attempt.ending == Ending::Pending(id)
            {
                attempt.ending = Ending::At(now.ms.saturating_add(FINAL_RETRY_MS));
            }
        }
        if let Some(attempt) = &mut self.attempt {
            attempt.epoch = attempt.epoch.min(first.0);
        }
    }
}

fn names_foreign_files(checkpoint: &CompletedCheckpoint) -> bool {
    checkpoint
        .metadata
        .subtasks()
        .flat_map(|subtask| subtask.files())
        .any(|file| matches!(&file.location, FileLocation::File(path) if path.starts_with('/')))
}
