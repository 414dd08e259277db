//! Savepoints of jobs of which a part has finished, while another one goes on.

use super::results;
use millpond_engine::api::{
    Collector, FunctionContext, JobClient, KeyedProcessFunction, ProcessContext, ProcessFunction,
    StreamExecutionEnvironment,
};
use millpond_engine::checkpoint::restore::{self, OperatorFate};
use millpond_engine::checkpoint::{OperatorId, SavepointFormat};
use millpond_engine::config::Configuration;
use millpond_engine::connectors::sinks::FileSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::state::{FunctionInitializationContext, ListStateDescriptor, OperatorListState};
use millpond_engine::{ErrorKind, Result};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the short source has.
const SHORT: u64 = 100;

/// Hands on the sum of all numbers when they have ended.
#[derive(Clone, Default)]
struct Sum {
    sum: Option<OperatorListState<u64>>,
}

impl ProcessFunction<u64, u64> for Sum {
    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        self.sum = Some(context.get_list_state(&ListStateDescriptor::new("sum"))?);
        Ok(())
    }

    fn process_element(
        &mut self,
        number: u64,
        context: &mut FunctionContext<'_>,
        _: &mut Collector<u64>,
    ) -> Result<()> {
        let sum = self.sum.unwrap();
        let before = sum.get(context.list_states())?.first().copied().unwrap_or(0);
        sum.update(context.list_states(), vec![before + number])
    }

    fn end_input(&mut self, context: &mut FunctionContext<'_>, out: &mut Collector<u64>) -> Result<()> {
        let sum = self.sum.unwrap();
        out.collect(sum.get(context.list_states())?.first().copied().unwrap_or(0));
        Ok(())
    }
}

/// Hands on what comes.
#[derive(Clone)]
struct Same;

impl KeyedProcessFunction<u64, u64, u64> for Same {
    fn process_element(
        &mut self,
        number: u64,
        _: &mut ProcessContext<'_, u64>,
        out: &mut Collector<u64>,
    ) -> Result<()> {
        out.collect(number);
        Ok(())
    }
}

/// A source that ends soon is summed up; beside it is one with `long` numbers.
struct Job<'a> {
    folder: &'a Path,
    from: Option<&'a Path>,
    long: u64,
    rate: f64,
    /// The operator behind the short source reads this one as well.
    another: Option<&'a str>,
}

impl Job<'_> {
    fn env(&self) -> StreamExecutionEnvironment {
        let mut config = Configuration::new();
        if let Some(from) = self.from {
            config.set_string("execution.state-recovery.path", from.to_str().unwrap());
        }
        let env = StreamExecutionEnvironment::with_configuration(config);
        env.set_parallelism(1);
        let mut short = env
            .from_source(SequenceSource::new(0..SHORT), "short")
            .uid("short");
        let long = env
            .from_source(SequenceSource::new(0..self.long), "long")
            .uid("long")
            .rate_limit(self.rate);
        if self.another == Some("long") {
            short = short.union(&long.map(|number| number));
        } else if let Some(another) = self.another {
            short = short.union(&env.from_collection([1_u64]).uid(another));
        }
        short
            .process(Sum::default())
            .uid("sum")
            .union(
                &long
                    .key_by(|number| *number)
                    .process(Same)
                    .uid("same")
                    .filter(|_| false),
            )
            .sink_to_2pc(FileSink::new(self.folder.join("output"), |sum: &u64, row| {
                let _ = writeln!(row, "{sum} 0"); // a `Vec` takes everything
            }))
            .uid("sums");
        env
    }

    fn start(&self) -> Result<JobClient> {
        self.env().execute_async("finished")
    }
}

/// A savepoint of a job whose short source has finished. The job goes on, and is cancelled when the savepoint is taken.
fn savepoint_with_a_finished_source(folder: &Path) -> PathBuf {
    let job = Job {
        folder,
        from: None,
        long: u64::MAX,
        rate: 500.0,
        another: None,
    };
    let running = job.start().unwrap();
    loop {
        assert!(!running.is_finished());
        let taken = running.trigger_savepoint(Some(folder.to_str().unwrap()), SavepointFormat::Canonical);
        // Not all subtasks may run yet.
        let Ok(savepoint) = taken else {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        };
        let metadata = restore::load(&savepoint).unwrap().metadata;
        let has_finished = |uid: &str| metadata.operator(&OperatorId::new(uid)).unwrap().is_finished();
        if has_finished("short") {
            assert!(has_finished("sum"), "it has processed all that the source gave");
            assert!(!has_finished("long") && !has_finished("same") && !has_finished("sums"));
            running.cancel();
            assert_eq!(running.wait().unwrap_err().kind(), ErrorKind::Cancelled);
            return savepoint;
        }
    }
}

#[test]
fn a_function_does_what_it_does_at_the_end_of_its_input_once_over_a_restore() {
    let folder = tempfile::tempdir().unwrap();
    let savepoint = savepoint_with_a_finished_source(folder.path());
    let second = Job {
        folder: folder.path(),
        from: Some(&savepoint),
        long: 2000,
        rate: 1e9,
        another: None,
    };
    second.start().unwrap().wait().unwrap();
    assert_eq!(results(folder.path()), [(SHORT * (SHORT - 1) / 2, 0)]);
}

#[test]
fn a_finished_operator_is_not_restored_behind_a_source_that_gives_more() {
    let folder = tempfile::tempdir().unwrap();
    let savepoint = savepoint_with_a_finished_source(folder.path());
    for (another, part) in [
        ("new", "'new', which is new"),
        ("long", "'long', which had more to read"),
    ] {
        let job = Job {
            folder: folder.path(),
            from: Some(&savepoint),
            long: 1000,
            rate: 1e9,
            another: Some(another),
        };
        let error = job.start().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Restore);
        for part in [part, "(uid 'sum')", "had processed all its input"] {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
        let report = job.env().restore_report("finished").unwrap();
        assert!(!report.would_work());
        assert!(
            report.all_problems().any(|problem| problem.contains(part)),
            "{report}"
        );
    }
    let job = Job {
        folder: folder.path(),
        from: Some(&savepoint),
        long: 1000,
        rate: 1e9,
        another: None,
    };
    let report = job.env().restore_report("finished").unwrap();
    assert!(report.would_work(), "{report}");
    let fates: Vec<_> = report
        .operators
        .iter()
        .map(|operator| (operator.uid.as_str(), operator.fate, operator.is_finished))
        .collect();
    let expected = [
        ("short", true),
        ("long", false),
        ("sum", true),
        ("same", false),
        ("sums", false),
    ];
    assert_eq!(
        fates,
        expected.map(|(uid, is_finished)| (uid, OperatorFate::Restored, is_finished))
    );
    let text = report.to_string();
    assert!(
        text.contains("operator 'short' (uid 'short'): found, had processed all its input"),
        "{text}"
    );
}
