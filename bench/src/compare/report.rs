//! The results as Markdown.

use super::record::{Record, Recorded, Setup};
use super::rows::{self, Rival, Row};
use super::table::{self, Outcome};
use std::fmt::Write as _;

const REMARKS: &str = "## Remarks";

/// The whole file.
pub(super) fn report(recorded: &Recorded, remarks: &str) -> String {
    let mut text = String::from(
        "# Results\n\n\
         Written by `millpond-bench compare`; the [README](README.md) has the definitions, and `RESULTS.json` what each run printed. Medians over the runs, the sides in turn, each run in a process of its \
         own; a ratio is the median over the pairs of runs, above 1 where Millpond is faster. A goal that is judged by both is reached by both ratios, the other ones by that of records a second (wall).\n\n",
    );
    for line in facts(recorded) {
        let _ = writeln!(text, "- {line}");
    }
    let _ = write!(text, "\n{}", tables(recorded));
    text.push_str("\n## Goals\n\n");
    text.push_str(&goals(recorded));
    if !remarks.is_empty() {
        let _ = write!(text, "\n{REMARKS}\n\n{remarks}");
    }
    text
}

/// What stands in the results from the heading on, without it.
pub(super) fn remarks_of(results: &str) -> String {
    let after = results.split_once(&format!("\n{REMARKS}\n"));
    after.map_or_else(String::new, |(_, remarks)| remarks.trim_start().to_owned())
}

/// What was measured with what; each thing once, with the commits where they are not all the same.
fn facts(recorded: &Recorded) -> Vec<String> {
    let mut facts = Vec::new();
    let distinct = |of: &dyn Fn(&Setup) -> Option<String>| {
        let mut seen: Vec<String> = Vec::new();
        for record in recorded.records() {
            let fact = of(&record.setup);
            seen.extend(fact.filter(|fact| !seen.contains(fact)));
        }
        seen
    };
    facts.extend(distinct(&|setup| Some(setup.machine.clone())));
    // One measurement of many.
    facts.extend(distinct(&|setup| setup.disk.clone()).pop());
    facts.extend(distinct(&|setup| Some(setup.millpond.clone())));
    facts.extend(distinct(&|setup| setup.flink.clone()));
    facts.extend(distinct(&|setup| {
        Some(format!(
            "at {}: `cargo run --release -p millpond-bench --features rocksdb -- {}`",
            setup.commit, setup.command
        ))
    }));
    facts
}

/// The tables: that of the pairs, and that of long runs.
pub(super) fn tables(recorded: &Recorded) -> String {
    let rows = rows::all();
    let lines = |is_in: &dyn Fn(&Row) -> bool| -> String {
        let wanted = rows.iter().filter(|row| is_in(row));
        let found = wanted.filter_map(|row| Some((row, recorded.find(&row.name)?)));
        found
            .map(|(row, record)| table::line(row, &record.outcome, &record.setup.commit))
            .collect()
    };
    let mut text = table::HEAD.to_owned();
    text.push_str(&lines(&|row| row.rival != Rival::Before));
    let drift = lines(&|row| row.rival == Rival::Before);
    if !drift.is_empty() {
        let _ = write!(
            text,
            "\nOne long run each with a checkpoint every second: medians over the intervals of its middle and last third, peaks of memory. Steady: at most 5 % fewer records a second and at most 5 % more \
             memory in the last third.\n\n{}{drift}",
            table::DRIFT_HEAD
        );
    }
    text
}

/// What was not reached, and what was not measured.
fn goals(recorded: &Recorded) -> String {
    let mut text = String::new();
    let (mut reached, mut missing) = (0, Vec::new());
    for row in rows::all() {
        match recorded.find(&row.name).map(|record| shortfall(&row, record)) {
            None => missing.push(row.name),
            Some(None) => reached += 1,
            Some(Some(shortfall)) => {
                let _ = writeln!(text, "- **not reached**: {}, {shortfall}", row.name);
            }
        }
    }
    if text.is_empty() && reached > 0 {
        text.push_str("- every goal of the rows that were measured is reached\n");
    }
    if !missing.is_empty() {
        let _ = writeln!(text, "- not measured: {}", missing.join(", "));
    }
    text
}

/// What a row falls short of; `None` if of nothing.
fn shortfall(row: &Row, record: &Record) -> Option<String> {
    match &record.outcome {
        Outcome::Failed(_) => Some("which could not be measured".to_owned()),
        Outcome::Drift(drift) => (!drift.is_steady).then(|| {
            format!(
                "which went to {:.3} times the records a second and {:.3} times the memory",
                drift.records_per_s_thirds.ratio, drift.rss_mb_thirds.ratio
            )
        }),
        Outcome::Runs(_) => {
            let (ratios, goal) = (record.outcome.ratios()?, row.goal?);
            match ratios.reach(row) {
                Some(true) => return None,
                Some(false) => {}
                None => return Some("whose runs were too short to tell: more --records".to_owned()),
            }
            Some(format!(
                "{:.2} in records a second and {:.2} in records a second of CPU time, of {goal} by {}",
                ratios.wall,
                ratios.cpu,
                row.rival.judged().name()
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::record;
    use super::*;
    use crate::drift::DriftLine;

    #[test]
    fn a_goal_that_is_not_reached_and_a_row_that_is_missing_are_told() {
        let mut recorded = Recorded::default();
        recorded.put(record("heap-1k-p1", "aaa", &[12.0]));
        recorded.put(record("words-p1", "bbb", &[3.0, 4.0, 5.5]));
        let mut drift = record("drift-heap", "ccc", &[]);
        drift.outcome = Outcome::Drift(Box::new(DriftLine {
            is_steady: false,
            ..DriftLine::example()
        }));
        recorded.put(drift);
        let text = report(&recorded, "Why.\n");
        for expected in [
            "- **not reached**: words-p1, 4.00 in records a second and 4.00",
            "- **not reached**: drift-heap, which went to 1.000 times",
            "- not measured: heap-1m-p1, ",
            "| no | 3 | bbb |".replace("no", "**no**").as_str(),
            "| yes | 1 | aaa |",
            "- at bbb: `cargo run --release -p millpond-bench --features rocksdb -- compare --rows words-p1`",
            "\n## Remarks\n\nWhy.\n",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        assert!(!text.contains("reached**: heap-1k-p1"), "{text}");
        assert_eq!(text.matches("- a machine\n").count(), 1);
    }

    #[test]
    fn remarks_go_from_one_file_to_the_next() {
        let mut recorded = Recorded::default();
        recorded.put(record("heap-1k-p1", "aaa", &[12.0]));
        let text = report(&recorded, "By hand.\n\n## More\n");
        assert!(text.contains("every goal of the rows that were measured is reached"));
        assert_eq!(remarks_of(&text), "By hand.\n\n## More\n");
        assert_eq!(report(&recorded, &remarks_of(&text)), text);
        assert_eq!(remarks_of("# Results\n"), "");
    }
}
