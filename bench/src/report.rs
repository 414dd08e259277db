//! The lines that are printed. Field names are those of the harness that measures other engines on the same work.

use crate::generate::Tally;
use crate::job::Checkpoints;
use crate::probe::Measured;
use serde::Serialize;
use std::io::Write;

/// One run of one engine.
#[derive(Debug, Serialize)]
pub(crate) struct Row<'a> {
    pub(crate) engine: &'a str,
    pub(crate) version: &'a str,
    pub(crate) workload: &'a str,
    pub(crate) run: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) backend: Option<&'a str>,
    pub(crate) parallelism: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<String>,
    pub(crate) interval_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keys: Option<u64>,
    /// Of words, how many there were.
    pub(crate) records: u64,
    pub(crate) warmup_records: u64,
    pub(crate) emit: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) window_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) records_per_event_ms: Option<u64>,
    pub(crate) loadavg_start: Option<f64>,
    #[serde(flatten)]
    pub(crate) cost: Cost,
    #[serde(flatten)]
    pub(crate) checkpoints: Option<CheckpointFields>,
    pub(crate) vm_hwm_mb: u64,
    pub(crate) outputs: u64,
    #[serde(flatten)]
    pub(crate) result: Option<ResultFields>,
    pub(crate) loadavg_end: Option<f64>,
}

/// What a run took.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cost {
    pub(crate) wall_s: f64,
    pub(crate) records_per_s: f64,
    pub(crate) cpu_s: f64,
    pub(crate) cpu_s_per_million: f64,
    pub(crate) submit_to_first_record_ms: u64,
    pub(crate) end_of_input_to_job_done_ms: u64,
}

impl Cost {
    #[expect(
        clippy::cast_precision_loss,
        reason = "records beyond 2^53 would take years to process"
    )]
    pub(crate) fn of(measured: &Measured, records: u64) -> Self {
        let records = records as f64;
        Self {
            wall_s: round(measured.wall_s, 1e4),
            records_per_s: (records / measured.wall_s.max(1e-9)).round(),
            cpu_s: round(measured.cpu_s, 1e2),
            cpu_s_per_million: round(measured.cpu_s / (records / 1e6).max(1e-9), 1e4),
            submit_to_first_record_ms: measured.to_first_record_ms,
            end_of_input_to_job_done_ms: measured.after_end_ms,
        }
    }
}

/// How checkpoints of a run went.
#[derive(Debug, Serialize)]
pub(crate) struct CheckpointFields {
    checkpoints_completed: u64,
    checkpoints_failed: u64,
    checkpoint_ms: Vec<u64>,
    checkpoint_state_bytes: Vec<u64>,
    checkpoint_new_bytes: Vec<u64>,
    sync_ms: Vec<f64>,
}

impl From<Checkpoints> for CheckpointFields {
    fn from(seen: Checkpoints) -> Self {
        Self {
            checkpoints_completed: seen.completed,
            checkpoints_failed: seen.failed,
            checkpoint_ms: seen.duration_ms,
            checkpoint_state_bytes: seen.state_bytes,
            checkpoint_new_bytes: seen.new_bytes,
            sync_ms: seen.sync_ms,
        }
    }
}

/// What came out, where it was looked at.
#[derive(Debug, Serialize)]
pub(crate) struct ResultFields {
    pub(crate) sum_counts: u64,
    pub(crate) checksum: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_checksum: Option<String>,
}

impl ResultFields {
    pub(crate) fn of(tally: Tally, expected: Option<Tally>) -> Self {
        let wrong = expected.filter(|expected| *expected != tally);
        Self {
            sum_counts: tally.sum_counts,
            checksum: format!("{:x}", tally.checksum),
            verified: expected.map(|expected| expected == tally),
            expected_checksum: wrong.map(|expected| format!("{:x}", expected.checksum)),
        }
    }
}

/// Millpond over the limit, from the runs of both in turn.
#[derive(Debug, Serialize)]
pub(crate) struct Ratio {
    /// The median over the pairs of runs: records a second of Millpond over those of the limit.
    ratio_records_per_s: f64,
    /// The same for records per second of CPU time; no number, `null` in JSON, where a run was too short to have a CPU time.
    ratio_records_per_cpu_s: f64,
    /// Of each pair.
    ratios_records_per_s: Vec<f64>,
}

impl Ratio {
    /// The ratio of pairs of runs, Millpond's first; `None` if there are none.
    pub(crate) fn of(pairs: &[(Cost, Cost)]) -> Option<Self> {
        let by_wall: Vec<f64> = pairs
            .iter()
            .map(|(ours, limit)| ours.records_per_s / limit.records_per_s)
            .collect();
        let by_cpu: Vec<f64> = pairs
            .iter()
            .map(|(ours, limit)| limit.cpu_s / ours.cpu_s)
            .collect();
        Some(Self {
            ratio_records_per_s: round(median(&by_wall)?, 1e3),
            ratio_records_per_cpu_s: round(median(&by_cpu)?, 1e3),
            ratios_records_per_s: by_wall.iter().map(|ratio| round(*ratio, 1e3)).collect(),
        })
    }
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(numbers: &[f64]) -> Option<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

/// `number` with so many digits behind the point as `scale` has zeros.
pub(crate) fn round(number: f64, scale: f64) -> f64 {
    (number * scale).round() / scale
}

/// How numbers are spread; 99 % is by nearest rank, thus the highest of less than a hundred.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Spread {
    /// The spread of `numbers`, with three digits behind the point; `None` if there are none.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * 99).div_ceil(100);
        Some(Self {
            p50: round(median(&sorted)?, 1e3),
            p99: round(*sorted.get(rank.checked_sub(1)?)?, 1e3),
            max: round(*sorted.last()?, 1e3),
        })
    }
}

/// Prints a JSON line to standard output.
///
/// # Errors
/// When nobody reads it any more.
pub(crate) fn print_line(line: &impl Serialize) -> std::io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&text)?;
    out.flush()
}

/// Tells a person what goes on.
pub(crate) fn progress(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_the_mean_of_the_middle() {
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn the_99th_of_a_hundred_is_the_last_but_one() {
        let spread = Spread::of((1..=100).rev().map(f64::from));
        let expected = Spread {
            p50: 50.5,
            p99: 99.0,
            max: 100.0,
        };
        assert_eq!(spread, Some(expected));
        assert_eq!(Spread::of([7.0, 3.0]).map(|spread| spread.p99), Some(7.0));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn there_is_no_ratio_of_cpu_times_that_are_too_short() {
        let cost = |cpu_s| Cost {
            wall_s: 1.0,
            records_per_s: 8.0,
            cpu_s,
            cpu_s_per_million: 1.0,
            submit_to_first_record_ms: 0,
            end_of_input_to_job_done_ms: 0,
        };
        let ratio = |ours, limit| {
            let ratio = Ratio::of(&[(cost(ours), cost(limit))]).unwrap();
            serde_json::to_value(ratio).unwrap()["ratio_records_per_cpu_s"].clone()
        };
        assert_eq!(ratio(0.5, 1.0), 2.0);
        for (ours, limit) in [(0.0, 0.01), (0.0, 0.0)] {
            assert!(ratio(ours, limit).is_null());
        }
    }

    #[test]
    fn a_wrong_result_is_told_with_the_right_one() {
        let mut tally = Tally::default();
        tally.add(1, 1);
        let wrong = ResultFields::of(Tally::default(), Some(tally));
        assert_eq!(wrong.verified, Some(false));
        assert_eq!(wrong.expected_checksum, Some(format!("{:x}", tally.checksum)));
        assert_eq!(ResultFields::of(tally, Some(tally)).verified, Some(true));
        assert_eq!(ResultFields::of(tally, None).verified, None);
    }
}
