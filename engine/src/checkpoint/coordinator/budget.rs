//! How many failures in a row a job takes.

use super::CheckpointFailure;
use crate::checkpoint::CheckpointId;
use std::collections::BTreeSet;

/// Counts consecutive failures, as Flink's `CheckpointFailureManager`: only those of reasons that count, each checkpoint once, and only if it is newer than the
/// last success. A success sets the count to zero.
#[derive(Debug)]
pub(super) struct FailureBudget {
    tolerable: u32,
    counted: BTreeSet<CheckpointId>,
    last_success: Option<CheckpointId>,
}

impl FailureBudget {
    pub(super) fn new(tolerable: u32) -> Self {
        Self {
            tolerable,
            counted: BTreeSet::new(),
            last_success: None,
        }
    }

    /// Takes note of a failure; true if it was one too many, after which counting starts afresh.
    pub(super) fn failed(&mut self, id: CheckpointId, failure: &CheckpointFailure) -> bool {
        if !failure.counts() || self.last_success.is_some_and(|success| id <= success) {
            return false;
        }
        self.counted.insert(id);
        let exceeded = self.count() > self.tolerable;
        if exceeded {
            self.counted.clear();
        }
        exceeded
    }

    pub(super) fn succeeded(&mut self, id: CheckpointId) {
        self.counted.clear();
        self.last_success = self.last_success.max(Some(id));
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.counted.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn tolerable(&self) -> u32 {
        self.tolerable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::DeclineKind;
    use std::time::Duration;

    fn decline(kind: DeclineKind) -> CheckpointFailure {
        CheckpointFailure::Declined {
            operator: "a".into(),
            subtask: 0,
            reason: "r".into(),
            kind,
        }
    }

    #[test]
    fn reasons_that_count() {
        let timeout = Duration::ZERO;
        let reason = String::new;
        for (failure, counts) in [
            (decline(DeclineKind::Storage), true),
            (decline(DeclineKind::StateTooLarge), true),
            (decline(DeclineKind::SnapshotFailed), true),
            (decline(DeclineKind::NotReady), false),
            (decline(DeclineKind::Closing), false),
            (decline(DeclineKind::Aborted), false),
            (CheckpointFailure::Expired { timeout }, true),
            (CheckpointFailure::Finalize { reason: reason() }, true),
            (CheckpointFailure::Subsumed { by: CheckpointId(2) }, false),
            (CheckpointFailure::Suspended, false),
            (CheckpointFailure::NotStarted { reason: reason() }, false),
            (CheckpointFailure::NotRunning, false),
            (CheckpointFailure::QueueFull, false),
        ] {
            let mut budget = FailureBudget::new(0);
            assert_eq!(budget.failed(CheckpointId(1), &failure), counts, "{failure:?}");
        }
    }

    /// `f<n>`: checkpoint n fails, `s<n>`: it succeeds; `!` marks a failure that is one too many.
    #[test]
    fn consecutive_failures_are_counted() {
        for (tolerable, script) in [
            (0, "f1! f2! s3 f4!"),
            (1, "f1 f2! f3 f4!"),
            (1, "f1 s2 f3 s4 f5 f6!"),
            // One checkpoint counts once, however often it is reported.
            (1, "f1 f1 f1 f2!"),
            // A failure that is older than a success tells nothing.
            (0, "s5 f4 f5 f6!"),
            (2, "f1 f2 f3! f4 f5 f6!"),
        ] {
            let mut budget = FailureBudget::new(tolerable);
            for step in script.split(' ') {
                let id = CheckpointId(step.trim_end_matches('!')[1..].parse().unwrap());
                if step.starts_with('s') {
                    budget.succeeded(id);
                } else {
                    let exceeded = budget.failed(id, &decline(DeclineKind::Storage));
                    assert_eq!(exceeded, step.ends_with('!'), "{tolerable}: {script}: {step}");
                }
            }
        }
    }
}
