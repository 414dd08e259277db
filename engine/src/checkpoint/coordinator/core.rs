//! The coordinator as a state machine.

use super::assemble;
use super::budget::FailureBudget;
use super::{
    Action, CheckpointFailure, CheckpointStats, Event, FailCause, OperatorInfo, PersistFailure, Report,
    RequestId,
};
use crate::checkpoint::ha::JobEnd;
use crate::checkpoint::store::{CompletedCheckpoint, CompletedStore, Unused};
use crate::checkpoint::{
    Ack, CheckpointId, CheckpointMetadata, CheckpointSettings, Command, FileLocation, JobId, SnapshotKind,
    SnapshotOptions,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// The time, in the two ways that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since any fixed moment; never goes back.
    pub ms: u64,
    /// Milliseconds since 1970, as the machine believes.
    pub unix_ms: u64,
}

/// Requests of users that may wait at once.
const QUEUE_MAX: usize = 1000;
/// Numbers recorded ahead, so that not every trigger has to be.
const RESERVE_AHEAD: u64 = 16;
/// Pause before the last checkpoint of a job is tried again.
const FINAL_RETRY_MS: u64 = 100;

/// Decides about checkpoints; see the [module](super).
///
/// # Contract
/// 1. Every event is handed to [`on`](Self::on), and the actions are carried out in order before the next event is.
/// 2. [`Event::Tick`] is sent when [`next_wakeup`](Self::next_wakeup) has come (later is allowed, earlier is harmless).
#[derive(Debug)]
pub struct Coordinator {
    settings: CheckpointSettings,
    job_name: String,
    job_id: JobId,
    attempt: Option<Attempt>,
    next_id: CheckpointId,
    /// Numbers below are recorded as used.
    reserved_below: CheckpointId,
    pending: BTreeMap<CheckpointId, Pending>,
    requests: VecDeque<(RequestId, SnapshotKind)>,
    last_completion_ms: Option<u64>,
    budget: FailureBudget,
    store: CompletedStore,
    /// Checkpoints whose publication has an unknown outcome; their bytes are kept until the next publication.
    uncertain: BTreeSet<CheckpointId>,
    stats: CheckpointStats,
}

/// The running attempt.
#[derive(Debug)]
struct Attempt {
    number: u64,
    operators: Vec<OperatorInfo>,
    /// The epoch that sources are in, or a lower bound of it.
    epoch: u64,
    /// When the next periodic checkpoint is due.
    next_periodic_ms: Option<u64>,
    ending: Ending,
    /// The attempt was told to end.
    failing: bool,
}

/// How far the end of the job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Sources still run.
    No,
    /// The last checkpoint is to be triggered at this time.
    At(u64),
    /// The last checkpoint is under way.
    Pending(CheckpointId),
    /// The job was told to stop.
    Stopped,
}

#[derive(Debug)]
struct Pending {
    attempt: u64,
    options: SnapshotOptions,
    request: Option<RequestId>,
    triggered_ms: u64,
    timestamp_ms: u64,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Answers are outstanding.
    Waiting,
    /// Whole; waits until an older one is written.
    Whole(Box<CheckpointMetadata>),
    /// Being written and published.
    Persisting(Arc<CheckpointMetadata>),
}

impl Coordinator {
    /// A coordinator for one job. `next_id` is the first number that was never used, `store` has the checkpoints found at start.
    #[must_use]
    pub fn new(
        settings: CheckpointSettings,
        job_name: impl Into<String>,
        job_id: JobId,
        next_id: CheckpointId,
        store: CompletedStore,
    ) -> Self {
        let latest = store.latest();
        let next_id = latest.map_or(next_id, |latest| next_id.max(latest.id().next()));
        let mut stats = CheckpointStats {
            last_completed_id: latest.map(CompletedCheckpoint::id),
            ..CheckpointStats::default()
        };
        if let Some(latest) = latest {
            stats.last_full_size_bytes = latest.metadata.state_bytes();
            stats.last_path.clone_from(&latest.path);
        }
        Self {
            budget: FailureBudget::new(settings.tolerable_failures),
            settings,
            job_name: job_name.into(),
            job_id,
            attempt: None,
            next_id,
            reserved_below: next_id,
            pending: BTreeMap::new(),
            requests: VecDeque::new(),
            last_completion_ms: None,
            store,
            uncertain: BTreeSet::new(),
            stats,
        }
    }

    /// The checkpoint that a restart begins from.
    #[must_use]
    pub fn latest(&self) -> Option<&CompletedCheckpoint> {
        self.store.latest()
    }

    /// The checkpoints that are kept and the files that they share.
    #[must_use]
    pub fn store(&self) -> &CompletedStore {
        &self.store
    }

    /// The first number that was never used.
    #[must_use]
    pub fn next_id(&self) -> CheckpointId {
        self.next_id
    }

    /// How checkpoints have gone so far.
    #[must_use]
    pub fn stats(&self) -> CheckpointStats {
        CheckpointStats {
            in_progress: self.pending.len() as u64,
            ..self.stats.clone()
        }
    }

    /// When [`Event::Tick`] should be sent, in the milliseconds of [`Now::ms`]; none: only other events matter.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<u64> {
        let attempt = self.attempt.as_ref().filter(|attempt| !attempt.failing)?;
        let timeouts = self
            .pending
            .values()
            .filter(|pending| matches!(pending.phase, Phase::Waiting))
            .map(|pending| pending.triggered_ms.saturating_add(ms(self.settings.timeout)));
        let periodic = attempt.next_periodic_ms.filter(|_| self.has_slot());
        let last = match attempt.ending {
            Ending::At(at) => Some(at),
            _ => None,
        };
        timeouts.chain(periodic).chain(last).min()
    }

    /// Takes note of an event and says what is to be done about it.
    #[must_use]
    pub fn on(&mut self, now: Now, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        match event {
            Event::AttemptStarted {
                attempt,
                operators,
                first_delay,
            } => self.start(now, attempt, operators, first_delay, &mut out),
            Event::AttemptFailed | Event::Cancel => self.suspend(&mut out),
            Event::Tick => self.expire(now, &mut out),
            Event::UserTrigger { request, kind } => self.request(request, kind, &mut out),
            Event::Acks { id, acks } => self.acks(now, id, acks, &mut out),
            Event::EarlyDecline { id, ack } => {
                if let Some(failure) = assemble::first_decline(&[ack])
                    && matches!(self.phase(id), Some(Phase::Waiting))
                {
                    self.fail(now, id, failure, true, &mut out);
                }
            }
            Event::AllSourcesFinished => self.end(now),
            Event::SourceNeedsEpoch { epoch } => self.advance_epoch(epoch, &mut out),
            Event::Persisted { id, result } => self.persisted(now, id, result, &mut out),
            Event::ReserveFailed { reason } => self.reserve_failed(now, &reason, &mut out),
        }
        self.persist_next(&mut out);
        self.trigger_what_is_due(now, &mut out);
        out
    }

    /// The publication of the pointer was repeated with success: what was uncertain is settled, and its bytes can go.
    #[must_use]
    pub fn settled(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.uncertain)
            .into_iter()
            .map(Action::DiscardCheckpoint)
            .collect()
    }

    /// The job has ended: says what can be deleted.
    #[must_use]
    pub fn finish(&mut self, end: JobEnd) -> Vec<Action> {
        let mut out = Vec::new();
        self.suspend(&mut out);
        out.extend(self.settled());
        let unused = self.store.finish(end, self.settings.retention);
        discard(unused, &mut out);
        out
    }

    fn phase(&self, id: CheckpointId) -> Option<&Phase> {
        self.pending.get(&id).map(|pending| &pending.phase)
    }

    fn has_slot(&self) -> bool {
        self.pending.len() < usize::try_from(self.settings.max_concurrent.max(1)).unwrap_or(usize::MAX)
    }

    fn start(
        &mut self,
        now: Now,
        number: u64,
        operators: Vec<OperatorInfo>,
        first_delay: f64,
        out: &mut Vec<Action>,
    ) {
        // Whoever starts an attempt without ending the one before has lost it.
        self.suspend(out);
        let next_periodic_ms = self.settings.period().map(|period| {
            let pause = self.settings.min_pause;
            let spread = (period - pause).mul_f64(first_delay.clamp(0.0, 1.0));
            now.ms.saturating_add(ms(pause + spread))
        });
        self.attempt = Some(Attempt {
            number,
            operators,
            epoch: self.latest().map_or(1, |latest| latest.id().next().0),
            next_periodic_ms,
            ending: Ending::No,
            failing: false,
        });
    }

    /// Gives up what cannot be completed any more. What is whole is still written: the next attempt may begin from it.
    fn suspend(&mut self, out: &mut Vec<Action>) {
        self.attempt = None;
        let (given_up, whole): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|(_, pending)| matches!(pending.phase, Phase::Waiting));
        self.pending = whole;
        for (id, pending) in given_up {
            self.give_up(id, pending.request, CheckpointFailure::Suspended, out);
            out.push(Action::DiscardCheckpoint(id));
        }
        for (request, _) in std::mem::take(&mut self.requests) {
            let result = Err(CheckpointFailure::Suspended);
            out.push(Action::Reply { request, result });
        }
    }

    fn request(&mut self, request: RequestId, kind: SnapshotKind, out: &mut Vec<Action>) {
        let running = self
            .attempt
            .as_ref()
            .is_some_and(|attempt| !attempt.failing && attempt.ending == Ending::No);
        let refusal = if !running {
            Some(CheckpointFailure::NotRunning)
        } else if kind == SnapshotKind::Savepoint || kind == SnapshotKind::CommitOnly {
            let reason = "only checkpoints can be asked for".to_owned();
            Some(CheckpointFailure::NotStarted { reason })
        } else if self.requests.len() >= QUEUE_MAX {
            Some(CheckpointFailure::QueueFull)
        } else {
            None
        };
        match refusal {
            Some(failure) => out.push(Action::Reply {
                request,
                result: Err(failure),
            }),
            None => self.requests.push_back((request, kind)),
        }
    }

    /// The first number never used. Recording it comes before any use.
    fn take_id(&mut self, out: &mut Vec<Action>) -> CheckpointId {
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

    fn trigger(
        &mut self,
        now: Now,
        mut kind: SnapshotKind,
        is_final: bool,
        request: Option<RequestId>,
        out: &mut Vec<Action>,
    ) -> Option<CheckpointId> {
        let id = self.take_id(out);
        // A snapshot that names files of somebody else must not go on for ever: they may delete them.
        if kind == SnapshotKind::Checkpoint && self.latest().is_some_and(names_foreign_files) {
            kind = SnapshotKind::FullCheckpoint;
        }
        let attempt = self.attempt.as_mut()?;
        attempt.epoch = id.next().0;
        let options = SnapshotOptions { kind, is_final };
        self.pending.insert(
            id,
            Pending {
                attempt: attempt.number,
                options,
                request,
                triggered_ms: now.ms,
                timestamp_ms: now.unix_ms,
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

    /// Starts what may start now: first the job's last checkpoint, then what users ask for, then the periodic one.
    fn trigger_what_is_due(&mut self, now: Now, out: &mut Vec<Action>) {
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
            Ending::At(_) | Ending::Pending(_) | Ending::Stopped => return,
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

    fn trigger_periodic(&mut self, now: Now, out: &mut Vec<Action>) {
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

    fn expire(&mut self, now: Now, out: &mut Vec<Action>) {
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

    fn acks(&mut self, now: Now, id: CheckpointId, acks: Vec<Ack>, out: &mut Vec<Action>) {
        let conflict = self
            .store
            .registry_mut()
            .register(id, assemble::snapshots(&acks))
            .err();
        let Some(pending) = self.pending.get_mut(&id) else {
            // An epoch without a checkpoint is passed as well, and nobody answers then.
            if !acks.is_empty() && !self.store.contains(id) {
                out.push(Action::Report(Report::LateAcks(id)));
                out.push(Action::DiscardCheckpoint(id));
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
                pending.phase = Phase::Whole(Box::new(CheckpointMetadata {
                    job_name: self.job_name.clone(),
                    job_id: self.job_id.clone(),
                    id,
                    attempt: pending.attempt,
                    mode: self.settings.mode,
                    epoch: id.0,
                    timestamp_ms: pending.timestamp_ms,
                    is_savepoint: false,
                    operators,
                }));
            }
        }
    }

    /// The oldest checkpoint that is whole is written, one at a time.
    fn persist_next(&mut self, out: &mut Vec<Action>) {
        let busy = self
            .pending
            .values()
            .any(|pending| matches!(pending.phase, Phase::Persisting(_)));
        if busy {
            return;
        }
        for (id, pending) in &mut self.pending {
            if let Phase::Whole(metadata) = &pending.phase {
                out.push(Action::Persist {
                    metadata: metadata.clone(),
                    retained: self.store.retained_with(*id),
                    next_id: self.reserved_below,
                });
                pending.phase = Phase::Persisting(Arc::new((**metadata).clone()));
                return;
            }
        }
    }

    fn persisted(
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
            }) => {
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
        let Phase::Persisting(metadata) = pending.phase else {
            return;
        };
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
        let unused = self.store.add(CompletedCheckpoint {
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
        let older: Vec<_> = self.pending.range(..id).map(|(older, _)| *older).collect();
        for older in older {
            self.fail(now, older, CheckpointFailure::Subsumed { by: id }, true, out);
        }
        out.extend(self.settled());
        discard(unused, out);
    }

    /// The end of a job that writes no checkpoints: sinks have prepared, and now commit.
    fn committed(&mut self, id: CheckpointId, out: &mut Vec<Action>) {
        self.pending.remove(&id);
        out.push(Action::Send(Command::Complete { id }));
        out.push(Action::Send(Command::Stop));
        if let Some(attempt) = &mut self.attempt {
            attempt.ending = Ending::Stopped;
        }
    }

    fn give_up(
        &mut self,
        id: CheckpointId,
        request: Option<RequestId>,
        failure: CheckpointFailure,
        out: &mut Vec<Action>,
    ) {
        self.stats.failed += 1;
        self.stats.last_failure = Some(failure.to_string());
        if let Some(request) = request {
            let result = Err(failure.clone());
            out.push(Action::Reply { request, result });
        }
        out.push(Action::Report(Report::Failed {
            id,
            failure,
            counted: self.budget.count(),
        }));
    }

    /// Gives a checkpoint up, and the attempt with it if that was one too many.
    fn fail(
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
        let exceeded = self.budget.failed(id, &failure);
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
        self.give_up(id, pending.request, failure.clone(), out);
        if discard {
            out.push(Action::DiscardCheckpoint(id));
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

    fn end(&mut self, now: Now) {
        if let Some(attempt) = &mut self.attempt
            && attempt.ending == Ending::No
        {
            attempt.ending = Ending::At(now.ms);
            attempt.next_periodic_ms = None;
        }
    }

    fn advance_epoch(&mut self, epoch: u64, out: &mut Vec<Action>) {
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
    fn reserve_failed(&mut self, now: Now, reason: &str, out: &mut Vec<Action>) {
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
            self.give_up(id, pending.request, failure, out);
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

fn discard(unused: Unused, out: &mut Vec<Action>) {
    out.extend(unused.checkpoints.into_iter().map(Action::DiscardCheckpoint));
    if !unused.files.is_empty() {
        out.push(Action::DiscardFiles(unused.files));
    }
}

fn names_foreign_files(checkpoint: &CompletedCheckpoint) -> bool {
    checkpoint
        .metadata
        .subtasks()
        .flat_map(|subtask| subtask.files())
        .any(|file| matches!(&file.location, FileLocation::File(path) if path.starts_with('/')))
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
