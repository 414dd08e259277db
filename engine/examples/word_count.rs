//! Counts words in text files, and writes a line `word<TAB>count` for each occurrence.
//!
//! ```text
//! cargo run --release --example word_count -- --input corpus/ --output counts/ --parallelism 2
//! ```
//!
//! With checkpoints and high availability the counts stay exact when the program is killed and started again with the same arguments:
//!
//! ```text
//! ... -D execution.checkpointing.interval=200ms -D execution.checkpointing.dir=file:///tmp/checkpoints \
//!     -D high-availability.type=filesystem -D high-availability.storageDir=file:///tmp/ha
//! ```

use clap::Parser;
use indicatif::ProgressBar;
use millpond_engine::Result;
use millpond_engine::api::{
    Collector, JobClient, JobExecutionResult, KeyedProcessFunction, ProcessContext,
    StreamExecutionEnvironment,
};
use millpond_engine::config::{CommonArgs, init_logging};
use millpond_engine::connectors::sinks::FileSink;
use millpond_engine::connectors::sources::TextFileSource;
use millpond_engine::state::{StateRegistry, ValueState};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Counts words in text files, and writes a line `word<TAB>count` for each occurrence
#[derive(Debug, Parser)]
struct Args {
    /// A text file, or a folder of text files. May be repeated
    #[arg(long, value_name = "PATH", required = true)]
    input: Vec<PathBuf>,

    /// The folder for the results: finished files are named part-<subtask>-<sequence>-<lineage>-<checkpoint>
    #[arg(long, value_name = "DIR")]
    output: PathBuf,

    /// Read at most so many records (lines) a second
    #[arg(long, value_name = "RECORDS_PER_SECOND", value_parser = records_per_second)]
    rate: Option<f64>,

    /// The number of subtasks of each operator; wins over parallelism.default
    #[arg(long, value_name = "N")]
    parallelism: Option<usize>,

    #[command(flatten)]
    common: CommonArgs,
}

fn records_per_second(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && f64::is_finite(rate) => Ok(rate),
        _ => Err("expected a number above 0".to_owned()),
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    init_logging();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "a program tells its user why it ends")]
            {
                eprintln!("word_count: {error}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let env = StreamExecutionEnvironment::from_args(&args.common)?;
    if let Some(parallelism) = args.parallelism {
        env.set_parallelism(parallelism);
    }
    // Lines as bytes, since words are taken as they are, also where they are not UTF-8.
    let mut lines = env
        .from_source(TextFileSource::paths(&args.input).bytes(), "text")
        .uid("text");
    if let Some(rate) = args.rate {
        lines = lines.rate_limit(rate);
    }
    lines
        .flat_map(|line: Vec<u8>, out| words(&line).for_each(|word| out.collect(word.to_vec())))
        .name("split")
        .key_by(Vec::clone)
        .process(CountWords::default())
        .name("count")
        .uid("count")
        .sink_to_2pc(FileSink::new(&args.output, write_row))
        .name("files")
        .uid("files");
    let job = env.execute_async("word_count")?;
    show_progress(&job);
    let result = job.wait()?;
    if result.had_finished_before {
        #[expect(clippy::print_stderr, reason = "a program tells its user why it did nothing")]
        {
            eprintln!(
                "word_count: this job had finished in an earlier run, so there was nothing to do; to count again, choose another \
                 high-availability.cluster-id or high-availability.storageDir, and another output folder"
            );
        }
    }
    if result.attempts > 0 {
        #[expect(clippy::print_stdout, reason = "the result of the program")]
        {
            println!("{}", summary(&result));
        }
    }
    Ok(())
}

/// The words of a line: what stands between spaces and tabs, as awk splits it.
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| matches!(byte, b' ' | b'\t' | b'\n'))
        .filter(|word| !word.is_empty())
}

fn write_row((word, count): &(Vec<u8>, u64), row: &mut Vec<u8>) {
    row.extend_from_slice(word);
    // Writing into a `Vec` cannot fail.
    let _ = writeln!(row, "\t{count}");
}

/// Emits each word with the number of times it has been seen, this time included.
#[derive(Clone, Default)]
struct CountWords {
    seen: Option<ValueState<u64>>,
}

impl KeyedProcessFunction<Vec<u8>, Vec<u8>, (Vec<u8>, u64)> for CountWords {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.seen = Some(states.value_state("seen")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        word: Vec<u8>,
        context: &mut ProcessContext<'_, Vec<u8>>,
        out: &mut Collector<(Vec<u8>, u64)>,
    ) -> Result<()> {
        let Some(seen) = self.seen else { return Ok(()) };
        let count = seen.value(context)?.unwrap_or(0) + 1;
        seen.update(context, &count)?;
        out.collect((word, count));
        Ok(())
    }
}

/// Shows how the job gets on until it has ended, if somebody looks.
fn show_progress(job: &JobClient) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    let bar = ProgressBar::new_spinner();
    let progress = job.progress();
    let start = Instant::now();
    while !job.is_finished() {
        let records = progress.source_records();
        let checkpoints = progress.checkpoints();
        let last = match checkpoints.last_completed_id {
            Some(id) => format!("checkpoint {id} in {} ms", checkpoints.last_duration_ms),
            None => "no checkpoint yet".to_owned(),
        };
        bar.set_message(format!(
            "{records} records, {} records/s, {last}",
            per_second(records, start.elapsed())
        ));
        bar.tick();
        std::thread::sleep(Duration::from_millis(100));
    }
    bar.finish_and_clear();
}

fn summary(result: &JobExecutionResult) -> String {
    let checkpoints = &result.checkpoints;
    let last = match checkpoints.completed {
        0 => "none".to_owned(),
        _ => format!(
            "{} ms, {} bytes",
            checkpoints.last_duration_ms, checkpoints.last_size_bytes
        ),
    };
    format!(
        "{} records, {:.3} s, {} records/s, {} checkpoints completed, last checkpoint: {last}",
        result.source_records,
        result.duration.as_secs_f64(),
        per_second(result.source_records, result.duration),
        checkpoints.completed,
    )
}

fn per_second(records: u64, time: Duration) -> u64 {
    let nanoseconds = time.as_nanos().max(1);
    u64::try_from(u128::from(records) * 1_000_000_000 / nanoseconds).unwrap_or(u64::MAX)
}
