//! A program that is changed around its state goes on from a savepoint of what it was.

use super::results;
use crate::harness::{FILES, HEAP, ROCKSDB, Settings, has_rocksdb};
use millpond_engine::Result;
use millpond_engine::api::{
    Collector, JobClient, KeyedProcessFunction, ProcessContext, StreamExecutionEnvironment,
};
use millpond_engine::checkpoint::SavepointFormat;
use millpond_engine::config::Configuration;
use millpond_engine::connectors::sinks::FileSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::state::{StateRegistry, ValueState};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const KEYS: u64 = 25;
const RECORDS: u64 = 6000;

/// Counts the records of a key.
#[derive(Clone)]
struct Count {
    count: Option<ValueState<u64>>,
    processed: Arc<AtomicU64>,
}

impl KeyedProcessFunction<u64, u64, (u64, u64)> for Count {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.count = Some(states.value_state("count")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        number: u64,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<(u64, u64)>,
    ) -> Result<()> {
        let count = self.count.unwrap();
        let now = count.value(context)?.unwrap_or(0) + 1;
        count.update(context, &now)?;
        self.processed.fetch_add(1, Ordering::Relaxed);
        out.collect((number, now));
        Ok(())
    }
}

/// A version of the program.
struct Version<'a> {
    settings: Settings,
    from: Option<&'a Path>,
    parallelism: usize,
    /// Operators without state before and behind the one with state, chained and not, and another source.
    is_changed: bool,
    rate: f64,
}

impl Version<'_> {
    fn start(&self, processed: &Arc<AtomicU64>, folder: &Path) -> JobClient {
        let mut config = Configuration::new();
        for (key, value) in self.settings {
            config.set_string(*key, *value);
        }
        let checkpoints = folder.join("checkpoints");
        config.set_string("execution.checkpointing.dir", checkpoints.to_str().unwrap());
        if let Some(from) = self.from {
            config.set_string("execution.state-recovery.path", from.to_str().unwrap());
        }
        let env = StreamExecutionEnvironment::with_configuration(config);
        env.set_parallelism(self.parallelism);
        let mut numbers = env
            .from_source(SequenceSource::new(0..RECORDS), "numbers")
            .uid("numbers")
            .set_parallelism(1)
            .rate_limit(self.rate);
        if self.is_changed {
            numbers = numbers
                .map(|number| number + 1)
                .uid("one more")
                .rebalance()
                .map(|number| number - 1)
                .uid("one less")
                .set_parallelism(1)
                .filter(|number| *number < RECORDS)
                .union(&env.from_collection([RECORDS]).uid("another source"));
        }
        let mut counts = numbers
            .key_by(|number| number % KEYS)
            .process(Count {
                count: None,
                processed: Arc::clone(processed),
            })
            .uid("count");
        if self.is_changed {
            counts = counts.map(|count| count).uid("nothing");
        }
        let sink = FileSink::new(folder.join("output"), |(number, count): &(u64, u64), row| {
            let _ = writeln!(row, "{number} {count}"); // a `Vec` takes everything
        });
        counts.sink_to_2pc(sink).uid("results");
        env.execute_async("changed").unwrap()
    }
}

fn goes_on_changed(settings: Settings, format: SavepointFormat) {
    let folder = tempfile::tempdir().unwrap();
    let processed = Arc::new(AtomicU64::new(0));
    let first = Version {
        settings,
        from: None,
        parallelism: 2,
        is_changed: false,
        rate: 1000.0,
    };
    let job = first.start(&processed, folder.path());
    while processed.load(Ordering::Relaxed) < KEYS * 2 {
        assert!(!job.is_finished());
        std::thread::sleep(Duration::from_millis(2));
    }
    let savepoint = job
        .stop_with_savepoint(Some(folder.path().to_str().unwrap()), false, format)
        .unwrap();
    job.wait().unwrap();
    let before = results(folder.path()).len();
    let second = Version {
        from: Some(&savepoint),
        parallelism: 3,
        is_changed: true,
        rate: 1e9,
        ..first
    };
    second.start(&processed, folder.path()).wait().unwrap();
    let mut all = results(folder.path());
    assert!((1..all.len()).contains(&before), "{before} of {}", all.len());
    all.sort_unstable();
    let numbers: Vec<_> = all.iter().map(|(number, _)| *number).collect();
    assert_eq!(
        numbers,
        (0..=RECORDS).collect::<Vec<_>>(),
        "each number once, and the new source's"
    );
    let mut counts: Vec<_> = all
        .iter()
        .map(|(number, count)| (number % KEYS, *count))
        .collect();
    counts.sort_unstable();
    let per_key = RECORDS / KEYS;
    let expected: Vec<_> = (0..KEYS)
        .flat_map(|key| (1..=per_key + u64::from(key == RECORDS % KEYS)).map(move |count| (key, count)))
        .collect();
    assert_eq!(counts, expected);
}

#[test]
fn operators_without_state_come_and_go_around_a_savepoint() {
    for format in [SavepointFormat::Canonical, SavepointFormat::Native] {
        goes_on_changed(HEAP, format);
        goes_on_changed(FILES, format);
        if has_rocksdb() {
            goes_on_changed(ROCKSDB, format);
        }
    }
}
