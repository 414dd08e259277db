//! The table, as Markdown.

use super::rows::{Judged, Row};
use crate::drift::DriftLine;
use crate::report::median;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// What one run of one side printed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) engine: String,
    #[serde(default)]
    pub(crate) version: String,
    pub(crate) records: u64,
    pub(crate) records_per_s: f64,
    pub(crate) cpu_s_per_million: f64,
    pub(crate) vm_hwm_mb: u64,
    pub(crate) sum_counts: u64,
    pub(crate) checksum: String,
    #[serde(default)]
    pub(crate) checkpoints_completed: u64,
}

/// What a row came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The runs of both sides, in turn.
    Runs(Vec<(Line, Line)>),
    /// One long run.
    Drift(Box<DriftLine>),
    /// Why it could not be measured.
    Failed(String),
}

/// The ratios of a row: medians over the pairs of runs. Not a number where a run was too short to have a time, or had no records.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratios {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
}

impl Outcome {
    /// The ratios, if there are runs: above 1 we are faster.
    pub(crate) fn ratios(&self) -> Option<Ratios> {
        let Self::Runs(runs) = self else {
            return None;
        };
        let wall: Vec<f64> = runs
            .iter()
            .map(|(ours, theirs)| over(ours.records_per_s, theirs.records_per_s))
            .collect();
        let cpu: Vec<f64> = runs
            .iter()
            .map(|(ours, theirs)| over(theirs.cpu_s_per_million, ours.cpu_s_per_million))
            .collect();
        let of_all = |ratios: &[f64]| {
            if ratios.iter().all(|ratio| ratio.is_finite()) {
                median(ratios)
            } else {
                Some(f64::NAN)
            }
        };
        Some(Ratios {
            wall: of_all(&wall)?,
            cpu: of_all(&cpu)?,
        })
    }
}

/// How many times `one` is `other`; not a number if one of them is 0.
fn over(one: f64, other: f64) -> f64 {
    if one > 0.0 && other > 0.0 {
        one / other
    } else {
        f64::NAN
    }
}

impl Ratios {
    /// Whether the goal of `row` is reached, by the ratios that it is judged by; `None` if it has none, or the runs were too short to tell.
    pub(crate) fn reach(self, row: &Row) -> Option<bool> {
        let goal = row.goal?;
        let judged = match row.rival.judged() {
            Judged::Wall => self.wall,
            Judged::Both if self.cpu.is_nan() || self.cpu < self.wall => self.cpu,
            Judged::Both => self.wall,
        };
        (!judged.is_nan()).then_some(judged >= goal)
    }
}

/// A ratio as the table has it.
fn shown(ratio: f64) -> String {
    if ratio.is_nan() {
        "too short".to_owned()
    } else {
        format!("**{ratio:.2}**")
    }
}

/// The head of the table.
pub(crate) const HEAD: &str = "\
| row | workload, keys | state | P | records | against | M records/s | theirs | ratio | µs CPU a record | theirs | ratio | peak MB | theirs | goal | by | reached | runs | commit |
|---|---|---|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|---|--:|---|
";

/// The head of the table of long runs.
pub(crate) const DRIFT_HEAD: &str = "\
| row | keys | state | P | minutes | records | checkpoints | M records/s: middle | last | ratio | µs CPU a record: middle | last | resident MB: middle | last | ratio | steady | commit |
|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|---|
";

/// The line of one row.
pub(crate) fn line(row: &Row, outcome: &Outcome, commit: &str) -> String {
    let why = match outcome {
        Outcome::Drift(drift) => return drift_line(row, drift, commit),
        Outcome::Failed(why) => why.as_str(),
        Outcome::Runs(_) => "no runs",
    };
    let keys = row
        .keys
        .map(|keys| format!(", {}", short(keys)))
        .unwrap_or_default();
    let mut text = format!(
        "| {} | {}{keys} | {} | {} |",
        row.name,
        row.workload,
        state(row),
        row.parallelism
    );
    let (Outcome::Runs(runs), Some(ratios)) = (outcome, outcome.ratios()) else {
        let why: String = why.replace(['\n', '|'], " ").chars().take(300).collect();
        let _ = writeln!(text, " | {} | failed: {why} |", row.rival.name());
        return text;
    };
    let of = |side: fn(&(Line, Line)) -> f64| {
        let numbers: Vec<f64> = runs.iter().map(side).collect();
        median(&numbers).unwrap_or(0.0)
    };
    let records = runs.first().map_or(0, |(ours, _)| ours.records);
    let (goal, judged) = match row.goal {
        Some(goal) => (goal.to_string(), row.rival.judged().name()),
        None => ("-".to_owned(), "-"),
    };
    let _ = writeln!(
        text,
        " {} | {} | {:.2} | {:.2} | {} | {:.3} | {:.3} | {} | {:.0} | {:.0} | {goal} | {judged} | {} | {} | {commit} |",
        short(records),
        row.rival.name(),
        of(|(ours, _)| ours.records_per_s) / 1e6,
        of(|(_, theirs)| theirs.records_per_s) / 1e6,
        shown(ratios.wall),
        of(|(ours, _)| ours.cpu_s_per_million),
        of(|(_, theirs)| theirs.cpu_s_per_million),
        shown(ratios.cpu),
        of(|(ours, _)| megabytes(ours)),
        of(|(_, theirs)| megabytes(theirs)),
        match ratios.reach(row) {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "-",
        },
        runs.len(),
    );
    text
}

fn drift_line(row: &Row, drift: &DriftLine, commit: &str) -> String {
    format!(
        "| {} | {} | {} | {} | {:.1} | {:.0}M | {} | {:.2} | {:.2} | **{:.3}** | {:.3} | {:.3} | {:.0} | {:.0} | **{:.3}** | {} | {commit} |\n",
        row.name,
        short(drift.keys),
        state(row),
        drift.parallelism,
        drift.wall_s / 60.0,
        drift.records_per_s * drift.wall_s / 1e6,
        drift.checkpoints_completed,
        drift.records_per_s_thirds.middle / 1e6,
        drift.records_per_s_thirds.last / 1e6,
        drift.records_per_s_thirds.ratio,
        drift.cpu_s_per_million_thirds.middle,
        drift.cpu_s_per_million_thirds.last,
        drift.rss_mb_thirds.middle,
        drift.rss_mb_thirds.last,
        drift.rss_mb_thirds.ratio,
        if drift.is_steady { "yes" } else { "**no**" },
    )
}

fn state(row: &Row) -> String {
    match row.backend {
        "rocksdb" => format!("rocksdb, {} MB", row.managed_mb),
        backend => backend.to_owned(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "megabytes are far below 2^53")]
fn megabytes(line: &Line) -> f64 {
    line.vm_hwm_mb as f64
}

/// A number as the command line takes it.
fn short(number: u64) -> String {
    match number {
        0 => "0".to_owned(),
        millions if millions % 1_000_000 == 0 => format!("{}M", millions / 1_000_000),
        thousands if thousands % 1000 == 0 => format!("{}k", thousands / 1000),
        other => other.to_string(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::rows;
    use super::*;

    fn run(records_per_s: f64, cpu_s_per_million: f64) -> Line {
        Line {
            engine: "e".to_owned(),
            version: "1".to_owned(),
            records: 30_000_000,
            records_per_s,
            cpu_s_per_million,
            vm_hwm_mb: 100,
            sum_counts: 1,
            checksum: "c".to_owned(),
            checkpoints_completed: 0,
        }
    }

    /// One run of each side: records a second, and CPU seconds a million records.
    pub(in super::super) fn pair(ours: (f64, f64), theirs: (f64, f64)) -> (Line, Line) {
        (run(ours.0, ours.1), run(theirs.0, theirs.1))
    }

    #[test]
    fn a_line_has_medians_and_the_median_over_the_pairs() {
        let row = rows::all().remove(0);
        let outcome = Outcome::Runs(vec![
            pair((24e6, 0.05), (2e6, 1.0)),
            pair((20e6, 0.04), (1e6, 1.0)),
            pair((22e6, 0.10), (2e6, 1.0)),
        ]);
        assert_eq!(
            outcome.ratios(),
            Some(Ratios {
                wall: 12.0,
                cpu: 20.0
            })
        );
        let text = line(&row, &outcome, "abc");
        assert!(
            text.starts_with(
                "| heap-1k-p1 | keyed-count, 1k | hashmap | 1 | 30M | Flink | 22.00 | 2.00 | **12.00** |"
            ),
            "{text}"
        );
        assert!(text.ends_with("| 10 | both | yes | 3 | abc |\n"), "{text}");
        let columns = |text: &str| text.lines().next().unwrap().matches('|').count();
        assert_eq!(columns(&text), columns(HEAD));
        let failed = Outcome::Failed("a\nb".to_owned());
        assert!(line(&row, &failed, "abc").ends_with("| Flink | failed: a b |\n"));
    }

    #[test]
    fn runs_that_took_no_time_or_had_no_records_have_no_ratio() {
        let row = rows::all().remove(0);
        for (short, columns) in [
            (
                pair((2e6, 0.0), (1e6, 1.0)),
                "**2.00** | 0.000 | 1.000 | too short",
            ),
            (
                pair((0.0, 0.0), (0.0, 0.0)),
                "too short | 0.000 | 0.000 | too short",
            ),
        ] {
            let outcome = Outcome::Runs(vec![pair((2e6, 0.5), (1e6, 1.0)), short.clone(), short]);
            let text = line(&row, &outcome, "abc");
            assert!(text.contains(columns), "{text}");
            assert!(text.contains("| both | - |"), "{text}");
        }
    }

    #[test]
    fn flink_must_be_beaten_by_both_ratios_and_what_costs_us_is_about_records_a_second() {
        let named = |name: &str| rows::all().into_iter().find(|row| row.name == name).unwrap();
        let ratios = |wall, cpu| Ratios { wall, cpu };
        let flink = named("heap-1k-p1");
        assert_eq!(ratios(10.0, 10.0).reach(&flink), Some(true));
        assert_eq!(ratios(10.0, 9.9).reach(&flink), Some(false));
        assert_eq!(ratios(9.9, 10.0).reach(&flink), Some(false));
        for name in [
            "checkpoints-heap",
            "limit-exchange",
            "limit-10m",
            "limit-1k",
            "so-files-1m",
        ] {
            let row = named(name);
            let goal = row.goal.unwrap();
            assert_eq!(ratios(goal, goal / 2.0).reach(&row), Some(true), "{name}");
            assert_eq!(ratios(goal * 0.99, goal).reach(&row), Some(false), "{name}");
        }
        assert_eq!(ratios(0.1, 0.1).reach(&named("scale-1m")), None);
        assert_eq!(ratios(f64::NAN, 20.0).reach(&flink), None);
        assert_eq!(ratios(20.0, f64::NAN).reach(&flink), None);
        assert_eq!(ratios(20.0, f64::NAN).reach(&named("limit-1k")), Some(true));
    }

    #[test]
    fn a_long_run_has_as_many_columns_as_its_table() {
        let row = rows::all()
            .into_iter()
            .find(|row| row.name == "drift-heap")
            .unwrap();
        let text = line(&row, &Outcome::Drift(Box::new(DriftLine::example())), "abc");
        let columns = |text: &str| text.lines().next().unwrap().matches('|').count();
        assert_eq!(columns(&text), columns(DRIFT_HEAD), "{text}");
        assert!(text.ends_with("| yes | abc |\n"), "{text}");
    }
}
