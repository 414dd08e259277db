//! What was measured, kept from one comparison to the next: a file beside the table, with a line for each row.

use super::rows;
use super::table::Outcome;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A row that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) setup: Setup,
    /// How busy the machine was when the row was over, its own runs among what kept it so.
    pub(super) load: Option<f64>,
    pub(super) outcome: Outcome,
}

/// What it was measured with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Setup {
    pub(super) machine: String,
    pub(super) disk: Option<String>,
    pub(super) millpond: String,
    pub(super) commit: String,
    /// The arguments of this program.
    pub(super) command: String,
    pub(super) flink: Option<String>,
}

/// All rows that were measured, in the order of the table.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Recorded(Vec<Record>);

impl Recorded {
    /// What was measured for the table in `results` so far; nothing if nothing was.
    ///
    /// # Errors
    /// When the file beside it is there and cannot be read.
    pub(super) fn read(results: &Path) -> Result<Self, String> {
        let file = beside(results);
        let wrong = |error: &dyn std::fmt::Display| {
            format!(
                "{} cannot be read: {error}; without --merge the results begin anew",
                file.display()
            )
        };
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(wrong(&error)),
        };
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let records: Result<Vec<Record>, _> = lines.map(serde_json::from_str).collect();
        let mut recorded = Self(records.map_err(|error| wrong(&error))?);
        recorded.sort();
        Ok(recorded)
    }

    /// Replaces what there was of the row.
    pub(super) fn put(&mut self, record: Record) {
        self.0.retain(|other| other.name != record.name);
        self.0.push(record);
        self.sort();
    }

    /// In the order of the table, without rows that it does not have any more.
    fn sort(&mut self) {
        let rows = rows::all();
        let place = |record: &Record| rows.iter().position(|row| row.name == record.name);
        self.0.retain(|record| place(record).is_some());
        self.0.sort_by_key(place);
    }

    pub(super) fn records(&self) -> &[Record] {
        &self.0
    }

    pub(super) fn find(&self, name: &str) -> Option<&Record> {
        self.0.iter().find(|record| record.name == name)
    }

    /// Writes the file beside the table.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self, results: &Path) -> std::io::Result<()> {
        let mut text = String::new();
        for record in &self.0 {
            text.push_str(&serde_json::to_string(record)?);
            text.push('\n');
        }
        std::fs::write(beside(results), text)
    }
}

/// Where the records of a table are.
pub(super) fn beside(results: &Path) -> PathBuf {
    results.with_extension("json")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::compare::table::tests::pair;

    /// A row that came to such ratios, in the runs of a commit.
    pub(in super::super) fn record(name: &str, commit: &str, ratios: &[f64]) -> Record {
        let runs = ratios.iter().map(|ratio| pair((ratio * 1e6, 1.0), (1e6, *ratio)));
        Record {
            name: name.to_owned(),
            setup: Setup {
                machine: "a machine".to_owned(),
                disk: Some("a disk".to_owned()),
                millpond: "Millpond 1".to_owned(),
                commit: commit.to_owned(),
                command: format!("compare --rows {name}"),
                flink: None,
            },
            load: Some(1.0),
            outcome: Outcome::Runs(runs.collect()),
        }
    }

    #[test]
    fn a_row_that_is_measured_again_replaces_the_old_one_and_all_others_stay_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let results = folder.path().join("RESULTS.md");
        assert_eq!(Recorded::read(&results), Ok(Recorded::default()));

        let mut first = Recorded::default();
        for name in [
            "drift-heap",
            "words-p1",
            "heap-1k-p1",
            "a row that there was once",
        ] {
            first.put(record(name, "old", &[2.0, 3.0]));
        }
        first.write(&results).unwrap();
        let mut second = Recorded::read(&results).unwrap();
        assert_eq!(second, first);
        second.put(record("words-p1", "new", &[5.0]));
        second.write(&results).unwrap();

        let third = Recorded::read(&results).unwrap();
        let commits: Vec<_> = third
            .records()
            .iter()
            .map(|record| (record.name.as_str(), record.setup.commit.as_str()))
            .collect();
        assert_eq!(
            commits,
            [("heap-1k-p1", "old"), ("words-p1", "new"), ("drift-heap", "old")]
        );
        let Outcome::Runs(runs) = &third.find("words-p1").unwrap().outcome else {
            panic!("no runs");
        };
        assert_eq!(runs.len(), 1);
    }

    #[test]
    fn a_damaged_file_is_not_taken_for_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let results = folder.path().join("RESULTS.md");
        std::fs::write(beside(&results), "{\"name\":").unwrap();
        let error = Recorded::read(&results).unwrap_err();
        assert!(
            error.contains("RESULTS.json") && error.contains("--merge"),
            "{error}"
        );
    }
}
