//! What is compared: one row of the table each.

/// A row: our run, and what it is set against.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// What the command line calls it.
    pub(crate) name: String,
    pub(crate) workload: &'static str,
    pub(crate) backend: &'static str,
    pub(crate) parallelism: u32,
    pub(crate) keys: Option<u64>,
    /// Records of a run, so many that a run takes some seconds of the faster side and less than a minute of the slower one; `None`: the text, or as many as there is time for.
    pub(crate) records: Option<u64>,
    /// Memory for RocksDB, of each side, in MiB.
    pub(crate) managed_mb: u64,
    pub(crate) rival: Rival,
    /// The least ratio that is wanted, if one is.
    pub(crate) goal: Option<f64>,
}

/// What we are set against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rival {
    Flink,
    /// The same work by hand on timely.
    Limit,
    /// The same counts in a loop over RocksDB.
    BareRocksDb,
    /// Ourselves without checkpoints, while we take one every second.
    NoCheckpoints,
    /// The state backend within the program, while we use it in a library.
    Linked,
    /// Ourselves with one subtask.
    OneSubtask,
    /// Ourselves with a tenth of the keys and of the records.
    TenthOfKeys,
    /// Ourselves some minutes before, in the same run.
    Before,
}

/// By which ratio a goal is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// Records a second.
    Wall,
    /// Records a second, and records a second of CPU time too.
    Both,
}

impl Rival {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flink => "Flink",
            Self::Limit => "timely by hand",
            Self::BareRocksDb => "RocksDB by hand",
            Self::NoCheckpoints => "no checkpoints",
            Self::Linked => "linked, not a `.so`",
            Self::OneSubtask => "P = 1",
            Self::TenthOfKeys => "a tenth of the keys",
            Self::Before => "earlier in the run",
        }
    }

    pub(crate) fn judged(self) -> Judged {
        match self {
            Self::Flink => Judged::Both,
            _ => Judged::Wall,
        }
    }
}

impl Judged {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wall => "wall",
            Self::Both => "both",
        }
    }
}

const MANAGED_MB: u64 = 1024;

/// All rows, in the order of the table.
pub(crate) fn all() -> Vec<Row> {
    let mut rows = against_flink();
    rows.extend(against_limits());
    rows.extend(against_ourselves());
    rows
}

fn heap(name: &str, workload: &'static str, keys: u64, records: u64, goal: f64) -> Row {
    Row {
        name: name.to_owned(),
        workload,
        backend: "hashmap",
        parallelism: 1,
        keys: Some(keys),
        records: Some(records),
        managed_mb: MANAGED_MB,
        rival: Rival::Flink,
        goal: Some(goal),
    }
}

fn rocksdb(name: &str, keys: u64, records: u64, goal: f64) -> Row {
    Row {
        backend: "rocksdb",
        ..heap(name, "keyed-count", keys, records, goal)
    }
}

fn words(name: &str, parallelism: u32) -> Row {
    Row {
        keys: None,
        records: None,
        parallelism,
        ..heap(name, "word-count", 0, 0, 5.0)
    }
}

fn against_flink() -> Vec<Row> {
    let mut rows = Vec::new();
    for parallelism in [1, 2] {
        for (text, keys, records) in [
            ("1k", 1_000, 30_000_000),
            ("1m", 1_000_000, 30_000_000),
            ("10m", 10_000_000, 100_000_000),
        ] {
            let name = format!("heap-{text}-p{parallelism}");
            rows.push(Row {
                parallelism,
                ..heap(&name, "keyed-count", keys, records, 10.0)
            });
        }
    }
    rows.extend([1, 2].map(|parallelism| words(&format!("words-p{parallelism}"), parallelism)));
    rows.extend([1, 2].map(|parallelism| Row {
        parallelism,
        ..heap(
            &format!("window-p{parallelism}"),
            "tumbling-window",
            100_000,
            20_000_000,
            5.0,
        )
    }));
    rows.push(rocksdb("rocksdb-1k", 1_000, 10_000_000, 10.0));
    rows.push(rocksdb("rocksdb-1m", 1_000_000, 8_000_000, 10.0));
    rows.push(rocksdb("rocksdb-10m", 10_000_000, 8_000_000, 10.0));
    // The 1.55 million keys that there are at the end, of some 40 bytes in the database's memory tables, blocks and indexes, come to four times the memory. Each record
    // is a read from files and a write to them, so there are no more than are needed to get there.
    rows.push(Row {
        managed_mb: 16,
        ..rocksdb("rocksdb-4x", 2_000_000, 3_000_000, 2.0)
    });
    rows
}

fn against_limits() -> Vec<Row> {
    let limit = |row| Row {
        rival: Rival::Limit,
        ..row
    };
    vec![
        limit(heap("limit-exchange", "exchange", 1_000_000, 100_000_000, 0.8)),
        limit(heap("limit-1k", "keyed-count", 1_000, 100_000_000, 0.5)),
        limit(heap("limit-10m", "keyed-count", 10_000_000, 100_000_000, 1.0)),
        Row {
            rival: Rival::BareRocksDb,
            goal: None,
            ..rocksdb("limit-rocksdb", 1_000_000, 8_000_000, 0.0)
        },
    ]
}

fn against_ourselves() -> Vec<Row> {
    let checkpoints = |row| Row {
        rival: Rival::NoCheckpoints,
        ..row
    };
    let library = |row| Row {
        rival: Rival::Linked,
        ..row
    };
    let files = |name, keys, records| Row {
        backend: "filesystem",
        ..heap(name, "keyed-count", keys, records, 0.9)
    };
    let two = |row| Row {
        parallelism: 2,
        rival: Rival::OneSubtask,
        goal: None,
        ..row
    };
    let drift = |row: Row| Row {
        workload: "drift",
        records: None,
        rival: Rival::Before,
        goal: None,
        ..row
    };
    vec![
        checkpoints(heap(
            "checkpoints-heap",
            "keyed-count",
            1_000_000,
            200_000_000,
            0.9,
        )),
        // At least ten checkpoints, so that what compaction takes behind them is among it.
        checkpoints(rocksdb("checkpoints-rocksdb", 1_000_000, 200_000_000, 0.8)),
        library(files("so-files-1k", 1_000, 100_000_000)),
        library(files("so-files-1m", 1_000_000, 60_000_000)),
        library(rocksdb("so-rocksdb-1m", 1_000_000, 60_000_000, 0.9)),
        two(heap("scale-1k", "keyed-count", 1_000, 100_000_000, 0.0)),
        two(heap("scale-1m", "keyed-count", 1_000_000, 60_000_000, 0.0)),
        two(heap("scale-10m", "keyed-count", 10_000_000, 60_000_000, 0.0)),
        two(words("scale-words", 2)),
        two(heap("scale-window", "tumbling-window", 100_000, 30_000_000, 0.0)),
        // Some 5 GB of memory.
        Row {
            rival: Rival::TenthOfKeys,
            goal: None,
            ..heap("keys-100m", "keyed-count", 100_000_000, 400_000_000, 0.0)
        },
        drift(heap("drift-heap", "keyed-count", 1_000_000, 0, 0.0)),
        // So much memory that its cache of blocks is full within the first third.
        Row {
            managed_mb: 256,
            ..drift(rocksdb("drift-rocksdb", 1_000_000, 0, 0.0))
        },
    ]
}

/// The rows that `wanted` names: names, or beginnings of names with a `*` behind; all rows if there is none. Those that `unwanted` names are left out.
///
/// # Errors
/// The names that there are, when one of the given ones is not among them.
pub(crate) fn choose(wanted: &[String], unwanted: &[String]) -> Result<Vec<Row>, String> {
    let rows = all();
    let fits = |row: &Row, wanted: &str| match wanted.strip_suffix('*') {
        Some(start) => row.name.starts_with(start),
        None => row.name == wanted,
    };
    let mut given = wanted.iter().chain(unwanted);
    if let Some(unknown) = given.find(|name| !rows.iter().any(|row| fits(row, name))) {
        let names: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
        return Err(format!("there is no row '{unknown}'; rows: {}", names.join(", ")));
    }
    let is_in = |names: &[String], row: &Row| names.iter().any(|name| fits(row, name));
    let chosen: Vec<_> = rows
        .into_iter()
        .filter(|row| (wanted.is_empty() || is_in(wanted, row)) && !is_in(unwanted, row))
        .collect();
    if chosen.is_empty() {
        return Err("--without leaves no row to measure".to_owned());
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_by_name_and_by_beginning_and_names_are_unique() {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let names_without = |wanted: &[&str], unwanted: &[&str]| {
            choose(&owned(wanted), &owned(unwanted))
                .map(|rows| rows.into_iter().map(|row| row.name).collect::<Vec<_>>())
        };
        let names = |wanted: &[&str]| names_without(wanted, &[]);
        assert_eq!(names(&["words-p2", "rocksdb-1*"]).unwrap().len(), 4);
        assert_eq!(
            names_without(&["rocksdb-1*"], &["rocksdb-1m"]).unwrap(),
            ["rocksdb-1k", "rocksdb-10m"]
        );
        assert!(names_without(&[], &["heap"]).is_err());
        let none_left = names_without(&["words-p2"], &["words-*"]);
        assert!(none_left.unwrap_err().contains("no row"));
        assert!(names(&["heap"]).unwrap_err().contains("heap-10m-p2"));
        let mut all = names(&[]).unwrap();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
