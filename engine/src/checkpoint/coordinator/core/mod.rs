//! The coordinator as a state machine.

mod complete;
mod savepoint;
mod trigger;

use super::assemble;
use super::budget::FailureBudget;
use super::{Action, CheckpointFailure, CheckpointStats, Event, FailCause, OperatorInfo, RequestId};
use crate::ErrorKind;
use crate::checkpoint::ha::JobEnd;
use crate::checkpoint::store::{CompletedCheckpoint, CompletedStore, Unused};
use crate::checkpoint::{
    CheckpointId, CheckpointMetadata, CheckpointSettings, JobId, Lineage, SnapshotKind, SnapshotOptions,
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
    lineage: Lineage,
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
    /// Checkpoints of a lineage that was left because one of them is damaged; kept for whoever wants to look, until the new lineage has one of its own.
    left_behind: BTreeSet<CheckpointId>,
    /// How many checkpoints are being deleted.
    cleaning: u32,
    /// The folders of savepoints that were given up, to which subtasks may still be writing.
    abandoned: BTreeMap<CheckpointId, String>,
    /// The savepoint that the job is stopping with.
    stopping: Option<savepoint::Stopping>,
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
    /// Every source has emitted all it had.
    sources_ended: bool,
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
    /// The savepoint that the job is to stop with is under way: sources stand still.
    Savepoint(CheckpointId),
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
    /// The oldest checkpoint whose files its snapshots may name: the oldest that was retained at the trigger, else itself.
    builds_on: CheckpointId,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Answers are outstanding.
    Waiting,
    /// Whole; waits until an older one is written.
    Whole(Arc<CheckpointMetadata>),
    /// Being written and published.
    Persisting(Arc<CheckpointMetadata>),
}

impl Coordinator {
    /// A coordinator for one job. `lineage` is the line that its next checkpoint is on, `next_id` the first number that was never used, `store` has the checkpoints found at start.
    #[must_use]
    pub fn new(
        settings: CheckpointSettings,
        job_name: impl Into<String>,
        job_id: JobId,
        lineage: Lineage,
        next_id: CheckpointId,
        store: CompletedStore,
    ) -> Self {
        let latest = store.latest();
        let next_id = latest.map_or(next_id, |latest| next_id.max(latest.id().next()));
        let mut coordinator = Self {
            budget: FailureBudget::new(settings.tolerable_failures),
            settings,
            job_name: job_name.into(),
            job_id,
            lineage,
            attempt: None,
            next_id,
            reserved_below: next_id,
            pending: BTreeMap::new(),
            requests: VecDeque::new(),
            last_completion_ms: None,
            store,
            uncertain: BTreeSet::new(),
            left_behind: BTreeSet::new(),
            cleaning: 0,
            abandoned: BTreeMap::new(),
            stopping: None,
            stats: CheckpointStats::default(),
        };
        coordinator.note_latest();
        coordinator
    }

    /// Takes note of `times` that recovery went back before this coordinator was made.
    #[must_use]
    pub fn after_going_back(mut self, times: u64) -> Self {
        self.stats.went_back += times;
        self
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

    /// The line that the next checkpoint is on.
    #[must_use]
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
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
            Event::Cleaned => self.cleaning = self.cleaning.saturating_sub(1),
            Event::ReserveFailed { reason, fenced } => {
                self.reserve_failed(now, &reason, &mut out);
                if fenced {
                    self.lost_the_job(reason, &mut out);
                }
            }
        }
        self.discard_unused_files(&mut out);
        self.persist_next(&mut out);
        self.note_cleaning(&out);
        self.trigger_what_is_due(now, &mut out);
        out
    }

    /// Checkpoints wait when deleting does not keep up with them, or storage would fill with what nobody needs.
    fn note_cleaning(&mut self, actions: &[Action]) {
        let is_cleaning = |action: &&Action| matches!(action, Action::DiscardCheckpoint(_));
        let begun = actions.iter().filter(is_cleaning).count();
        self.cleaning = self
            .cleaning
            .saturating_add(u32::try_from(begun).unwrap_or(u32::MAX));
    }

    /// The publication of the pointer was repeated with success: what was uncertain is settled, and its bytes can go.
    #[must_use]
    pub fn settled(&mut self) -> Vec<Action> {
        let settled = std::mem::take(&mut self.uncertain).into_iter();
        settled.map(Action::DiscardCheckpoint).collect()
    }

    fn discard_left_behind(&mut self) -> impl Iterator<Item = Action> {
        std::mem::take(&mut self.left_behind)
            .into_iter()
            .map(Action::DiscardCheckpoint)
    }

    /// The checkpoints that outlive a job that ends in this way.
    #[must_use]
    pub fn kept_after(&self, end: JobEnd) -> Vec<CheckpointId> {
        match self.settings.retention.keeps(end) {
            true => self.store.retained(),
            false => Vec::new(),
        }
    }

    /// The job has ended: says what can be deleted.
    #[must_use]
    pub fn finish(&mut self, end: JobEnd) -> Vec<Action> {
        let mut out = Vec::new();
        self.suspend(&mut out);
        self.discard_abandoned(&mut out);
        out.extend(self.settled());
        out.extend(self.discard_left_behind());
        let unused = self.store.finish(end, self.settings.retention);
        discard(unused, &mut out);
        out
    }

    /// A file goes as soon as nothing can need it: no retained checkpoint, none under way that was triggered while one was retained that names it, and none
    /// of which nobody knows whether it was published.
    fn discard_unused_files(&mut self, out: &mut Vec<Action>) {
        let under_way = self.pending.values().map(|pending| pending.builds_on);
        let others = under_way.chain(self.uncertain.iter().copied()).min();
        let files = self.store.take_unused_files(others.unwrap_or(self.next_id));
        if !files.is_empty() {
            out.push(Action::DiscardFiles(files));
        }
    }

    /// A checkpoint is damaged: the job goes on, on the line `lineage`, from `to`, an older one that is kept, or a snapshot of somebody else in the place of the one it was started from.
    /// Everything newer is dropped, and no number is used a second time. To be called between attempts, after high availability has forgotten the newer ones.
    pub fn go_back(&mut self, to: CompletedCheckpoint, lineage: Lineage) {
        self.lineage = lineage;
        if self.store.contains(to.id()) {
            self.left_behind.extend(self.store.go_back(to.id()));
        } else {
            self.store.set_initial(to);
        }
        self.stats.went_back += 1;
        self.note_latest();
    }

    /// Checkpoints that were dropped and whose files are not to be deleted yet.
    pub fn left_behind(&self) -> impl Iterator<Item = CheckpointId> {
        self.left_behind.iter().copied()
    }

    fn note_latest(&mut self) {
        let latest = self.store.latest();
        self.stats.last_completed_id = latest.map(CompletedCheckpoint::id);
        self.stats.last_full_size_bytes = latest.map_or(0, |latest| latest.metadata.state_bytes());
        self.stats.last_path = latest.and_then(|latest| latest.path.clone());
    }

    fn phase(&self, id: CheckpointId) -> Option<&Phase> {
        self.pending.get(&id).map(|pending| &pending.phase)
    }

    fn has_slot(&self) -> bool {
        let max = self.settings.max_concurrent.max(1);
        self.pending.len() < usize::try_from(max).unwrap_or(usize::MAX) && self.cleaning <= max
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
        self.discard_abandoned(out);
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
            sources_ended: false,
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
            self.give_up(id, &pending, CheckpointFailure::Suspended, true, out);
        }
        self.stop_was_interrupted(out);
        for (request, kind) in std::mem::take(&mut self.requests) {
            if let Some(savepoint) = kind.savepoint() {
                out.push(Action::DiscardSavepoint(savepoint.folder.clone()));
            }
            let result = Err(CheckpointFailure::Suspended);
            out.push(Action::Reply { request, result });
        }
    }

    /// Another program leads the job now: the attempt ends, whatever failures are tolerable.
    fn lost_the_job(&mut self, message: String, out: &mut Vec<Action>) {
        if let Some(attempt) = self.attempt.as_mut().filter(|attempt| !attempt.failing) {
            attempt.failing = true;
            let kind = ErrorKind::Fenced;
            out.push(Action::Fail(FailCause { kind, message }));
        }
    }

    fn end(&mut self, now: Now) {
        let Some(attempt) = &mut self.attempt else { return };
        attempt.sources_ended = true;
        if attempt.ending == Ending::No {
            attempt.ending = Ending::At(now.ms);
            attempt.next_periodic_ms = None;
        }
    }
}

fn discard(unused: Unused, out: &mut Vec<Action>) {
    out.extend(unused.claimed.map(Action::DiscardClaimed));
    out.extend(unused.checkpoints.into_iter().map(Action::DiscardCheckpoint));
    if !unused.files.is_empty() {
        out.push(Action::DiscardFiles(unused.files));
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
