//! Two releases of a job, of which the second has other types in its states: what the first has stored migrates, whatever is killed meanwhile.

mod golden;
mod plan;
mod releases;
mod rewind;

use crate::harness::{FILES, HEAP, Program, ROCKSDB, ROCKSDB_NO_MEMORY, Settings, has_rocksdb};
use crate::plugins::redb_library;
use std::path::Path;

/// Keys of the job, each with all kinds of states.
const KEYS: u64 = 37;

/// The job in its release `schema`, over `records` records of `keys` keys.
fn evolving(folder: &Path, schema: u8, records: u64, keys: u64) -> Program {
    Program::subject(&folder.join("logs"), "evolving")
        .option("output", folder.join("output").display())
        .option("records", records)
        .option("keys", keys)
        .option("schema", schema)
        .set("control.dir", folder.join("control").display())
        .set(
            "execution.checkpointing.dir",
            folder.join("checkpoints").display(),
        )
}

/// A backend: its name in tests, and its settings.
struct Backend {
    name: &'static str,
    settings: Vec<(String, String)>,
}

impl Backend {
    fn new(name: &'static str, settings: Settings) -> Self {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Self {
            name,
            settings: settings.iter().map(own).collect(),
        }
    }

    /// The program on this backend.
    fn of(&self, program: Program) -> Program {
        let settings = self.settings.iter();
        settings.fold(program, |program, (key, value)| program.set(key, value))
    }
}

/// Those that come with Millpond, and the example of somebody else's.
fn backends() -> Vec<Backend> {
    let mut backends = vec![Backend::new("heap", HEAP), Backend::new("filesystem", FILES)];
    let library = redb_library(None).display().to_string();
    backends.push(Backend {
        name: "redb",
        settings: vec![
            ("state.backend".to_owned(), library),
            (
                "execution.checkpointing.data-inline-threshold".to_owned(),
                "0 b".to_owned(),
            ),
        ],
    });
    if has_rocksdb() {
        backends.push(Backend::new("rocksdb", ROCKSDB));
    }
    backends
}

/// The same, and RocksDB with so little memory that both databases of a migration are looked up and written out all the time.
fn backends_and_little_memory() -> Vec<Backend> {
    let mut backends = backends();
    if has_rocksdb() {
        backends.push(Backend::new("rocksdb without memory", ROCKSDB_NO_MEMORY));
    }
    backends
}

/// What the job writes for the records `from .. to` of `keys` keys, by whichever release, as a model has it that begins with record 0.
fn lines_of_records(from: u64, to: u64, keys: u64) -> Vec<Vec<u8>> {
    (from..to)
        .map(|record| {
            let (key, number) = (record % keys, record / keys);
            let all: Vec<u64> = (0..=number).map(|number| number * keys + key).collect();
            let last = record
                .checked_sub(keys)
                .map_or_else(|| "-".to_owned(), |last| last.to_string());
            let total: u64 = (0..=number).sum();
            let begun = usize::try_from(number - number % 5).unwrap();
            let recent: Vec<String> = all[begun..].iter().map(u64::to_string).collect();
            let kinds: Vec<String> = (0..3)
                .map(|kind| (kind, (0..=number).filter(|number| number % 3 == kind).count()))
                .filter(|(_, count)| *count > 0)
                .map(|(kind, count)| format!("{kind}:{count}"))
                .collect();
            let sum: u64 = all.iter().sum();
            let mood = match number {
                0 => "None".to_owned(),
                odd if odd % 2 == 1 => format!("Busy({})", odd - 1),
                _ => "Calm".to_owned(),
            };
            let merged = if number % 4 == 3 {
                let [first, .., a, b, c] = &all[all.len() - 4..] else {
                    unreachable!("a fourth record has three before it");
                };
                // In the order in which the namespaces were named.
                let (count, mean) = (number + 1, sum / (number + 1));
                format!("{first},{c},{a},{b}:{count}:{mean}")
            } else {
                "-".to_owned()
            };
            format!(
                "{record} {} {last} {total} {} {} {sum} {} {mood} {merged}",
                number + 1,
                recent.join(","),
                kinds.join(","),
                sum / (number + 1)
            )
            .into_bytes()
        })
        .collect()
}

/// What it writes for the timers that the records before `to` have set.
fn lines_of_timers(to: u64, keys: u64) -> Vec<Vec<u8>> {
    (0..to)
        .map(|record| format!("timer {}", record + 2 * keys).into_bytes())
        .collect()
}

fn sorted(mut lines: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    lines.sort_unstable();
    lines
}
