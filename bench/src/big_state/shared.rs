//! The fields that other workloads, and the harness for other engines, have as well: about the parts with checkpoints, all of them together.

use super::{Measured, Stretch};
use crate::job::Checkpoints;
use crate::keeper::CheckpointFacts;
use crate::report::{CheckpointFields, round};
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(super) struct SharedFields {
    /// Updates.
    records: u64,
    wall_s: f64,
    records_per_s: f64,
    cpu_s: f64,
    cpu_s_per_million: f64,
    #[serde(flatten)]
    checkpoints: CheckpointFields,
}

impl SharedFields {
    #[expect(
        clippy::cast_precision_loss,
        reason = "updates and milliseconds of a run are below 2^53"
    )]
    pub(super) fn of(seen: &Measured) -> Self {
        let parts = || seen.pairs.iter().map(|(_, with)| with);
        let records: u64 = parts().map(Stretch::updates).sum();
        let wall_s: f64 = parts().map(|part| part.seconds).sum();
        let cpu_s = parts().map(|part| part.cpu_ms).sum::<u64>() as f64 / 1e3;
        Self {
            records,
            wall_s: round(wall_s, 1e4),
            records_per_s: (records as f64 / wall_s.max(1e-9)).round(),
            cpu_s: round(cpu_s, 1e2),
            cpu_s_per_million: round(cpu_s / (records as f64 / 1e6).max(1e-9), 1e4),
            checkpoints: checkpoints(seen).into(),
        }
    }
}

/// Those that were triggered in these parts and that nobody held. None has failed: the workload would have.
fn checkpoints(seen: &Measured) -> Checkpoints {
    let mut all = Checkpoints::default();
    let in_parts = |facts: &CheckpointFacts| seen.pairs.iter().any(|(_, with)| with.has(facts));
    let completed = seen.completed.iter();
    for facts in completed.filter(|facts| in_parts(facts) && !seen.is_held(facts)) {
        all.completed += 1;
        all.duration_ms.push(facts.duration_ms);
        all.state_bytes.push(facts.state_bytes);
        all.new_bytes.push(facts.new_bytes);
        all.sync_ms.push(facts.sync_ms_max);
    }
    all
}
