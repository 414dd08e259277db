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
    /// Records of a run, so many that a run takes some seconds of the faster side and less than a minute of the slower one; `None`: the text.
    pub(crate) records: Option<u64>,
    /// Memory for RocksDB, of each side, in MiB.
    pub(crate) managed_mb: u64,
    pub(crate) rival: Rival,
    /// The least ratio that is wanted.
    pub(crate) goal: f64,
}

/// What we are set against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rival {
    Flink,
    /// The same work by hand on timely.
    Limit,
    /// Ourselves without checkpoints, while we take one every second.
    NoCheckpoints,
}

impl Rival {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flink => "Flink",
            Self::Limit => "timely by hand",
            Self::NoCheckpoints => "no checkpoints",
        }
    }
}

const MANAGED_MB: u64 = 1024;

/// All rows, in the order of the table.
pub(crate) fn all() -> Vec<Row> {
    let heap = |name: &str, workload, keys, records, parallelism, goal| Row {
        name: name.to_owned(),
        workload,
        backend: "hashmap",
        parallelism,
        keys: Some(keys),
        records: Some(records),
        managed_mb: MANAGED_MB,
        rival: Rival::Flink,
        goal,
    };
    let mut rows = Vec::new();
    for parallelism in [1, 2] {
        for (text, keys, records) in [
            ("1k", 1_000, 30_000_000),
            ("1m", 1_000_000, 30_000_000),
            ("10m", 10_000_000, 40_000_000),
        ] {
            let name = format!("heap-{text}-p{parallelism}");
            rows.push(heap(&name, "keyed-count", keys, records, parallelism, 10.0));
        }
    }
    for parallelism in [1, 2] {
        rows.push(Row {
            keys: None,
            records: None,
            ..heap(
                &format!("words-p{parallelism}"),
                "word-count",
                0,
                0,
                parallelism,
                5.0,
            )
        });
    }
    for parallelism in [1, 2] {
        let name = format!("window-p{parallelism}");
        rows.push(heap(
            &name,
            "tumbling-window",
            100_000,
            20_000_000,
            parallelism,
            5.0,
        ));
    }
    let rocksdb = |name: &str, keys, records, managed_mb, goal| Row {
        backend: "rocksdb",
        managed_mb,
        ..heap(name, "keyed-count", keys, records, 1, goal)
    };
    rows.push(rocksdb("rocksdb-1k", 1_000, 10_000_000, MANAGED_MB, 10.0));
    rows.push(rocksdb("rocksdb-1m", 1_000_000, 8_000_000, MANAGED_MB, 10.0));
    rows.push(rocksdb("rocksdb-10m", 10_000_000, 8_000_000, MANAGED_MB, 10.0));
    // The 1.55 million keys that there are at the end, of some 40 bytes in the database's memory tables, blocks and indexes, come to four times the memory. Each record
    // is a read from files and a write to them, so there are no more than are needed to get there.
    rows.push(rocksdb("rocksdb-4x", 2_000_000, 3_000_000, 16, 2.0));
    let limit = |name: &str, workload, keys, records, goal| Row {
        rival: Rival::Limit,
        ..heap(name, workload, keys, records, 1, goal)
    };
    rows.push(limit("limit-exchange", "exchange", 1_000_000, 100_000_000, 0.8));
    rows.push(limit("limit-1k", "keyed-count", 1_000, 100_000_000, 0.5));
    rows.push(limit("limit-10m", "keyed-count", 10_000_000, 60_000_000, 1.0));
    rows.push(Row {
        rival: Rival::NoCheckpoints,
        ..heap("checkpoints-heap", "keyed-count", 1_000_000, 150_000_000, 1, 0.9)
    });
    rows.push(Row {
        rival: Rival::NoCheckpoints,
        ..rocksdb("checkpoints-rocksdb", 1_000_000, 60_000_000, MANAGED_MB, 0.8)
    });
    rows
}

/// The rows that `wanted` names: names, or beginnings of names with a `*` behind; all rows if there is none.
///
/// # Errors
/// The names that there are, when one of the wanted is not among them.
pub(crate) fn choose(wanted: &[String]) -> Result<Vec<Row>, String> {
    let rows = all();
    let fits = |row: &Row, wanted: &str| match wanted.strip_suffix('*') {
        Some(start) => row.name.starts_with(start),
        None => row.name == wanted,
    };
    if let Some(unknown) = wanted.iter().find(|name| !rows.iter().any(|row| fits(row, name))) {
        let names: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
        return Err(format!("there is no row '{unknown}'; rows: {}", names.join(", ")));
    }
    Ok(rows
        .into_iter()
        .filter(|row| wanted.is_empty() || wanted.iter().any(|name| fits(row, name)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_by_name_and_by_beginning_and_names_are_unique() {
        let names = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
            choose(&wanted).map(|rows| rows.into_iter().map(|row| row.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["words-p2", "rocksdb-1*"]).unwrap().len(), 4);
        assert!(names(&["heap"]).unwrap_err().contains("heap-10m-p2"));
        let mut all = names(&[]).unwrap();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
