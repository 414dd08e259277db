//! One long run with checkpoints: whether it stays as fast and as small as it was.

mod line;
mod source;

pub(crate) use line::DriftLine;

use crate::args::DriftArgs;
use crate::bench::print;
use crate::ends::{TallySink, TimedSource};
use crate::generate::{expected_counts_of, key_of};
use crate::job::CheckpointWatch;
use crate::probe::Probe;
use crate::process;
use crate::report::{Cost, ResultFields, progress};
use crate::settings::RunSettings;
use crate::work::NOT_VERIFIED;
use line::Interval;
use millpond_engine::api::{JobClient, JobProgress};
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::{Error, ErrorKind, Result};
use source::{Until, UntilSource};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often memory and checkpoints are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Runs it, and prints a JSON line for each interval and one for all; whether the result was right.
///
/// # Errors
/// The engine's, and when there are less than three intervals.
pub(crate) fn run(args: &DriftArgs) -> Result<bool> {
    let run = &args.run;
    if args.duration < 3 * args.report_every {
        return Err(Error::new(
            ErrorKind::Configuration,
            format!(
                "a run of {:?} has less than three intervals of {:?}, so no third can be set against another: give --for more or --report-every less",
                args.duration, args.report_every
            ),
        ));
    }
    let mut all_right = true;
    for number in 1..=run.runs {
        progress(&format!("drift: run {number} of {}", run.runs));
        process::reset_peak();
        let settings = RunSettings::of(run)?;
        let (probe, until) = (Arc::new(Probe::new()), Arc::<Until>::default());
        let env = settings.environment();
        let keys = args.keys;
        // More than there is time for.
        let numbers = SequenceSource::generate(0..u64::MAX / 2, move |index| key_of(index, keys));
        let source = UntilSource::new(numbers, Arc::clone(&until));
        env.from_source(TimedSource::new(source, Arc::clone(&probe)), "Source: Generator")
            .key_by(|key: &u64| *key)
            .count()
            .sink_to(TallySink::new(Arc::clone(&probe), run.emit));
        let (intervals, watch) = follow(env.execute_async("bench")?, args, &until)?;

        let measured = probe.measured();
        let parts = until.parts();
        let records = parts.iter().map(|part| part.count).sum();
        let expected = (run.verify && run.emit).then(|| {
            progress("working out the right answer in a plain loop");
            expected_counts_of(&parts, keys)
        });
        if expected == Some(None) {
            progress(NOT_VERIFIED);
        }
        let result = ResultFields::of(measured.tally, expected.flatten());
        all_right &= result.verified != Some(false) && measured.tally.outputs == records;
        let cost = Cost::of(&measured, records);
        print(&DriftLine::new(
            args, &settings, &intervals, records, cost, watch.seen, result,
        )?)?;
    }
    Ok(all_right)
}

/// Ends the job after its intervals, each of which is printed when it is over; the intervals, and the checkpoints.
fn follow(job: JobClient, args: &DriftArgs, until: &Until) -> Result<(Vec<Interval>, CheckpointWatch)> {
    let progress = job.progress();
    let mut watch = CheckpointWatch::default();
    let mut intervals: Vec<Interval> = Vec::new();
    let started = Instant::now();
    let mut before = Reading::now(&progress, started);
    let mut ends = args.report_every;
    while !job.is_finished() && ends <= args.duration {
        let checkpoints_before = watch.seen.duration_ms.len();
        let mut peak = (0, 0);
        while !job.is_finished() && started.elapsed() < ends {
            watch.look(&progress);
            let (rss, anonymous) = process::resident_kb();
            peak = (peak.0.max(rss), peak.1.max(anonymous));
            std::thread::sleep(LOOK_EVERY);
        }
        let now = Reading::now(&progress, started);
        let checkpoints = watch.seen.duration_ms.get(checkpoints_before..);
        let interval = Interval::between(
            intervals.len() + 1,
            &before,
            &now,
            peak,
            checkpoints.unwrap_or_default(),
        );
        print(&interval)?;
        intervals.push(interval);
        before = now;
        ends += args.report_every;
    }
    until.end();
    while !job.is_finished() {
        watch.look(&progress);
        std::thread::sleep(LOOK_EVERY);
    }
    watch.look(&progress);
    let result = job.wait()?;
    watch.end(&result);
    Ok((intervals, watch))
}

/// How far the run is.
#[derive(Clone, Copy, Debug)]
struct Reading {
    after: Duration,
    records: u64,
    cpu_ms: u64,
}

impl Reading {
    fn now(progress: &JobProgress, started: Instant) -> Self {
        Self {
            after: started.elapsed(),
            records: progress.source_records(),
            cpu_ms: process::cpu_ms(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Command, Workload};
    use clap::Parser;

    fn args(line: &str) -> DriftArgs {
        match Command::parse_from(line.split_whitespace()).workload {
            Workload::Drift(args) => args,
            other => panic!("another command: {other:?}"),
        }
    }

    #[test]
    fn a_short_run_comes_to_what_its_records_make_whenever_it_is_ended() {
        for parallelism in [1, 2] {
            let args = args(&format!(
                "bench drift --for 60ms --report-every 20ms --keys 100 --interval-ms 20 --parallelism {parallelism} --backend hashmap"
            ));
            assert!(run(&args).unwrap());
        }
    }

    #[test]
    fn a_run_without_three_intervals_is_refused_with_the_options_that_change_that() {
        let error = run(&args("bench drift --for 2s --report-every 1s")).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("--report-every"), "{text}");
    }
}
