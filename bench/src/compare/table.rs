//! The table, as Markdown.

use super::rows::Row;
use crate::report::median;
use std::fmt::Write as _;

/// What one run of one side printed.
#[derive(Clone, Debug, serde::Deserialize)]
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

/// A row with the runs of both sides, in turn, or why there are none.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) row: Row,
    pub(crate) runs: Result<Vec<(Line, Line)>, String>,
}

/// The ratios of a row: medians over the pairs of runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratios {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
}

impl Measured {
    /// The ratios, if there are runs: above 1 we are faster.
    pub(crate) fn ratios(&self) -> Option<Ratios> {
        let runs = self.runs.as_ref().ok()?;
        let wall: Vec<f64> = runs
            .iter()
            .map(|(ours, theirs)| ours.records_per_s / theirs.records_per_s.max(1e-9))
            .collect();
        let cpu: Vec<f64> = runs
            .iter()
            .map(|(ours, theirs)| theirs.cpu_s_per_million / ours.cpu_s_per_million.max(1e-9))
            .collect();
        Some(Ratios {
            wall: median(&wall)?,
            cpu: median(&cpu)?,
        })
    }

    /// Whether both ratios reach the goal.
    pub(crate) fn is_reached(&self) -> bool {
        self.ratios()
            .is_some_and(|ratios| ratios.wall >= self.row.goal && ratios.cpu >= self.row.goal)
    }
}

/// The head of the table.
pub(crate) const HEAD: &str = "\
| row | workload, keys | state | P | records | against | M records/s | theirs | ratio | µs CPU a record | theirs | ratio | peak MB | theirs | goal | reached |
|---|---|---|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|
";

/// The line of one row.
pub(crate) fn line(measured: &Measured) -> String {
    let row = &measured.row;
    let keys = row
        .keys
        .map(|keys| format!(", {}", short(keys)))
        .unwrap_or_default();
    let state = match row.backend {
        "rocksdb" => format!("rocksdb, {} MB", row.managed_mb),
        backend => backend.to_owned(),
    };
    let mut text = format!(
        "| {} | {}{keys} | {state} | {} |",
        row.name, row.workload, row.parallelism
    );
    let (runs, ratios) = match (&measured.runs, measured.ratios()) {
        (Ok(runs), Some(ratios)) => (runs, ratios),
        (runs, _) => {
            let why = runs.as_ref().err().map_or("no runs", String::as_str);
            let why: String = why.replace(['\n', '|'], " ").chars().take(300).collect();
            let _ = writeln!(text, " | {} | failed: {why} |", row.rival.name());
            return text;
        }
    };
    let of = |side: fn(&(Line, Line)) -> f64| {
        let numbers: Vec<f64> = runs.iter().map(side).collect();
        median(&numbers).unwrap_or(0.0)
    };
    let records = runs.first().map_or(0, |(ours, _)| ours.records);
    let _ = writeln!(
        text,
        " {} | {} | {:.2} | {:.2} | **{:.2}** | {:.3} | {:.3} | **{:.2}** | {:.0} | {:.0} | {} | {} |",
        short(records),
        row.rival.name(),
        of(|(ours, _)| ours.records_per_s) / 1e6,
        of(|(_, theirs)| theirs.records_per_s) / 1e6,
        ratios.wall,
        of(|(ours, _)| ours.cpu_s_per_million),
        of(|(_, theirs)| theirs.cpu_s_per_million),
        ratios.cpu,
        of(|(ours, _)| megabytes(ours)),
        of(|(_, theirs)| megabytes(theirs)),
        row.goal,
        if measured.is_reached() { "yes" } else { "**no**" },
    );
    text
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
mod tests {
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

    #[test]
    fn a_goal_is_reached_by_both_ratios_or_not_at_all() {
        let row = rows::all().remove(0);
        let pair = |ours: (f64, f64), theirs: (f64, f64)| (run(ours.0, ours.1), run(theirs.0, theirs.1));
        let mut measured = Measured {
            row,
            runs: Ok(vec![
                pair((24e6, 0.05), (2e6, 1.0)),
                pair((20e6, 0.04), (1e6, 1.0)),
                pair((22e6, 0.10), (2e6, 1.0)),
            ]),
        };
        assert_eq!(
            measured.ratios(),
            Some(Ratios {
                wall: 12.0,
                cpu: 20.0
            })
        );
        let text = line(&measured);
        assert!(
            text.starts_with(
                "| heap-1k-p1 | keyed-count, 1k | hashmap | 1 | 30M | Flink | 22.00 | 2.00 | **12.00** |"
            ),
            "{text}"
        );
        assert!(text.ends_with("| 10 | yes |\n"), "{text}");
        assert_eq!(
            text.matches('|').count(),
            HEAD.lines().next().unwrap().matches('|').count()
        );
        measured.row.goal = 13.0;
        assert!(line(&measured).contains("**no**"));
        measured.runs = Err("a\nb".to_owned());
        assert!(line(&measured).ends_with("| Flink | failed: a b |\n"));
    }
}
