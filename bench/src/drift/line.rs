//! What a long run prints, and what it is judged by.

use super::Reading;
use crate::args::DriftArgs;
use crate::job::Checkpoints;
use crate::process;
use crate::report::{Cost, ResultFields, median, round};
use crate::settings::RunSettings;
use millpond_engine::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// The last third must have at least this part of the middle third's records a second.
const SPEED_KEPT: f64 = 0.95;
/// The last third may have at most so many times the middle third's memory.
const MEMORY_GROWN: f64 = 1.05;

/// One interval of a run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Interval {
    workload: &'static str,
    interval: usize,
    /// When it was over, from the start of the job.
    elapsed_s: f64,
    records: u64,
    records_per_s: f64,
    cpu_s: f64,
    cpu_s_per_million: f64,
    /// Peaks: resident memory, and what of it is neither file nor shared.
    rss_mb: f64,
    anonymous_mb: f64,
    checkpoints_completed: usize,
    /// The median.
    checkpoint_ms: Option<f64>,
    loadavg: Option<f64>,
}

impl Interval {
    /// What happened between two readings, with the peaks of memory in KiB and the durations of checkpoints in milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "all numbers are far below 2^53")]
    pub(super) fn between(
        interval: usize,
        before: &Reading,
        now: &Reading,
        (rss_kb, anonymous_kb): (u64, u64),
        checkpoint_ms: &[u64],
    ) -> Self {
        let records = now.records.saturating_sub(before.records);
        let wall_s = now.after.saturating_sub(before.after).as_secs_f64();
        let cpu_s = now.cpu_ms.saturating_sub(before.cpu_ms) as f64 / 1e3;
        let durations: Vec<f64> = checkpoint_ms.iter().map(|ms| *ms as f64).collect();
        Self {
            workload: "drift",
            interval,
            elapsed_s: round(now.after.as_secs_f64(), 1e2),
            records,
            records_per_s: (records as f64 / wall_s.max(1e-9)).round(),
            cpu_s: round(cpu_s, 1e2),
            cpu_s_per_million: round(cpu_s / (records as f64 / 1e6).max(1e-9), 1e4),
            rss_mb: round(rss_kb as f64 / 1024.0, 1e1),
            anonymous_mb: round(anonymous_kb as f64 / 1024.0, 1e1),
            checkpoints_completed: checkpoint_ms.len(),
            checkpoint_ms: median(&durations),
            loadavg: process::load_average(),
        }
    }
}

/// Medians over the intervals of the middle and of the last third of a run. The first third is for filling state and memory.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Thirds {
    pub(crate) middle: f64,
    pub(crate) last: f64,
    /// The last over the middle one.
    pub(crate) ratio: f64,
}

impl Thirds {
    /// Those of numbers in their order; `None` of less than three.
    fn of(numbers: &[f64]) -> Option<Self> {
        let third = numbers.len() / 3;
        let (front, last) = numbers.split_at_checked(numbers.len() - third)?;
        let (_, middle) = front.split_at_checked(front.len() - third)?;
        let (middle, last) = (median(middle)?, median(last)?);
        Some(Self {
            middle: round(middle, 1e4),
            last: round(last, 1e4),
            ratio: round(last / middle.max(1e-9), 1e4),
        })
    }
}

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DriftLine {
    pub(crate) engine: String,
    pub(crate) version: String,
    pub(crate) workload: String,
    pub(crate) backend: Option<String>,
    pub(crate) parallelism: u32,
    pub(crate) keys: u64,
    pub(crate) interval_ms: u64,
    pub(crate) report_every_s: f64,
    pub(crate) intervals: usize,
    pub(crate) records: u64,
    pub(crate) wall_s: f64,
    pub(crate) records_per_s: f64,
    pub(crate) cpu_s: f64,
    pub(crate) cpu_s_per_million: f64,
    pub(crate) vm_hwm_mb: u64,
    pub(crate) records_per_s_thirds: Thirds,
    pub(crate) cpu_s_per_million_thirds: Thirds,
    pub(crate) rss_mb_thirds: Thirds,
    pub(crate) anonymous_mb_thirds: Thirds,
    pub(crate) checkpoint_ms_thirds: Option<Thirds>,
    pub(crate) checkpoints_completed: u64,
    pub(crate) checkpoints_failed: u64,
    pub(crate) sum_counts: u64,
    pub(crate) checksum: String,
    pub(crate) verified: Option<bool>,
    /// Neither slower nor larger in the last third than in the middle one, but for what measurements differ by.
    pub(crate) is_steady: bool,
}

impl DriftLine {
    /// The line of a run that is over.
    ///
    /// # Errors
    /// When it was over before there were three intervals.
    pub(super) fn new(
        args: &DriftArgs,
        settings: &RunSettings,
        intervals: &[Interval],
        records: u64,
        cost: Cost,
        checkpoints: Checkpoints,
        result: ResultFields,
    ) -> Result<Self> {
        let thirds = |of: fn(&Interval) -> f64| {
            let numbers: Vec<f64> = intervals.iter().map(of).collect();
            Thirds::of(&numbers).ok_or_else(|| {
                Error::new(
                    ErrorKind::JobFailed,
                    format!("the run was over after {} intervals", numbers.len()),
                )
            })
        };
        let durations: Option<Vec<f64>> = intervals.iter().map(|interval| interval.checkpoint_ms).collect();
        let (speed, memory) = (
            thirds(|interval| interval.records_per_s)?,
            thirds(|interval| interval.rss_mb)?,
        );
        Ok(Self {
            engine: "millpond".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            workload: "drift".to_owned(),
            backend: Some(settings.backend()?),
            parallelism: args.run.parallelism,
            keys: args.keys,
            interval_ms: settings.interval_ms()?,
            report_every_s: args.report_every.as_secs_f64(),
            intervals: intervals.len(),
            records,
            wall_s: cost.wall_s,
            records_per_s: cost.records_per_s,
            cpu_s: cost.cpu_s,
            cpu_s_per_million: cost.cpu_s_per_million,
            vm_hwm_mb: process::peak_mb(),
            records_per_s_thirds: speed,
            cpu_s_per_million_thirds: thirds(|interval| interval.cpu_s_per_million)?,
            rss_mb_thirds: memory,
            anonymous_mb_thirds: thirds(|interval| interval.anonymous_mb)?,
            checkpoint_ms_thirds: durations.and_then(|numbers| Thirds::of(&numbers)),
            checkpoints_completed: checkpoints.completed,
            checkpoints_failed: checkpoints.failed,
            sum_counts: result.sum_counts,
            checksum: result.checksum,
            verified: result.verified,
            is_steady: is_steady(speed, memory),
        })
    }

    /// Of a run that was steady.
    #[cfg(test)]
    pub(crate) fn example() -> Self {
        let same = |number| Thirds {
            middle: number,
            last: number,
            ratio: 1.0,
        };
        Self {
            engine: "millpond".to_owned(),
            version: "1".to_owned(),
            workload: "drift".to_owned(),
            backend: Some("hashmap".to_owned()),
            parallelism: 1,
            keys: 1_000_000,
            interval_ms: 1000,
            report_every_s: 10.0,
            intervals: 60,
            records: 600_000_000,
            wall_s: 600.0,
            records_per_s: 1e6,
            cpu_s: 600.0,
            cpu_s_per_million: 1.0,
            vm_hwm_mb: 100,
            records_per_s_thirds: same(1e6),
            cpu_s_per_million_thirds: same(1.0),
            rss_mb_thirds: same(100.0),
            anonymous_mb_thirds: same(90.0),
            checkpoint_ms_thirds: None,
            checkpoints_completed: 600,
            checkpoints_failed: 0,
            sum_counts: 1,
            checksum: "c".to_owned(),
            verified: Some(true),
            is_steady: true,
        }
    }
}

fn is_steady(speed: Thirds, memory: Thirds) -> bool {
    speed.ratio >= SPEED_KEPT && memory.ratio <= MEMORY_GROWN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirds_are_the_medians_of_the_middle_and_the_last_and_leave_the_first_out() {
        let thirds = Thirds::of(&[999.0, 999.0, 1.0, 3.0, 1.0, 2.0]).unwrap();
        assert!((thirds.middle - 2.0).abs() < 1e-9, "{thirds:?}");
        assert!((thirds.last - 1.5).abs() < 1e-9, "{thirds:?}");
        assert!((thirds.ratio - 0.75).abs() < 1e-9, "{thirds:?}");
        // What is left over belongs to the first.
        let of_seven = Thirds::of(&[9.0, 9.0, 9.0, 2.0, 2.0, 1.0, 1.0]).unwrap();
        assert!((of_seven.ratio - 0.5).abs() < 1e-9, "{of_seven:?}");
        assert_eq!(Thirds::of(&[1.0, 1.0]), None);
    }

    #[test]
    fn a_run_that_slows_down_or_grows_is_not_steady() {
        let thirds = |ratio| Thirds {
            middle: 1.0,
            last: ratio,
            ratio,
        };
        assert!(is_steady(thirds(0.96), thirds(1.04)));
        assert!(is_steady(thirds(2.0), thirds(0.5)));
        assert!(!is_steady(thirds(0.94), thirds(1.0)));
        assert!(!is_steady(thirds(1.0), thirds(1.06)));
    }
}
