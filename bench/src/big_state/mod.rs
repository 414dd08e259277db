//! `big-state`: what checkpoints of a large state cost the job that they are taken of.
//!
//! One job goes through all parts, so that they have the same memory, the same disk and the same hour. Parts without and with checkpoints
//! alternate, and whether a checkpoint may complete is decided at the gate (see `keeper/gate.rs`).

mod report;
mod shared;

use crate::args::BigStateArgs;
use crate::disk::plain_write;
use crate::keeper::{CheckpointFacts, Director, JobSetup, Phase, Start, with_value_type};
use crate::report::{print_line, progress};
use crate::sampler::{Sample, Sampler};
use crate::{process, scratch};
use millpond_engine::checkpoint::CheckpointId;
use millpond_engine::{Error, ErrorKind, Result};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs it and prints the line; whether every value was right.
///
/// # Errors
/// When the job or a checkpoint fails.
pub(crate) fn run(args: &BigStateArgs) -> Result<bool> {
    let loadavg_start = process::load_average();
    let measured = with_value_type!(args.state.value_bytes, measure(args))
        .ok_or_else(|| Error::new(ErrorKind::Configuration, "no such width"))??;
    let row = report::Row::of(args, &measured, loadavg_start);
    print_line(&row)
        .map_err(|error| Error::new(ErrorKind::JobFailed, "standard output").with_source(error))?;
    Ok(measured.is_right())
}

/// A stretch of time in which random updates went on.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    begin: Sample,
    end: Sample,
    seconds: f64,
    cpu_ms: u64,
}

impl Stretch {
    fn updates(&self) -> u64 {
        self.end.processed - self.begin.processed
    }

    /// Whether the checkpoint was triggered in this part.
    fn has(&self, facts: &CheckpointFacts) -> bool {
        (self.begin.unix_ms..self.end.unix_ms).contains(&facts.triggered_unix_ms)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "updates of some seconds are below 2^53"
    )]
    fn updates_per_s(&self) -> f64 {
        self.updates() as f64 / self.seconds
    }
}

/// A checkpoint after some keys were changed and nothing else.
#[derive(Clone, Debug)]
struct Increment {
    keys: u64,
    facts: CheckpointFacts,
}

/// What was seen.
#[derive(Debug)]
struct Measured {
    fill_s: f64,
    /// The first checkpoint of all keys.
    first: CheckpointFacts,
    /// How long plain writes of as many bytes took.
    plain: Vec<Duration>,
    /// Parts without checkpoints, and the part with them that followed.
    pairs: Vec<(Stretch, Stretch)>,
    /// When updates went on, in milliseconds since 1970.
    update_ms: (u64, u64),
    increments: Vec<Increment>,
    completed: Vec<CheckpointFacts>,
    /// Checkpoints that the gate held, with how long the bench waited for their writing to end, in milliseconds.
    held: Vec<(CheckpointId, f64)>,
    samples: Vec<Sample>,
    keys_read: u64,
    /// Of all values at the end.
    writes_read: u64,
    /// `None` where only a part of the keys is read.
    writes_expected: Option<u64>,
    keys_expected: u64,
    /// Resident memory before the state was filled: what the job takes without it.
    rss_empty_kb: u64,
}

impl Measured {
    fn is_right(&self) -> bool {
        let has_read = self.keys_read == self.keys_expected;
        has_read
            && self
                .writes_expected
                .is_none_or(|writes| writes == self.writes_read)
    }
}

fn measure<const W: usize, const T: usize>(args: &BigStateArgs) -> Result<Measured> {
    let folder = scratch::new_folder(args.state.dir.as_deref())?;
    let director = Director::start::<W, T>(&JobSetup {
        args: &args.state,
        parallelism: args.state.parallelism,
        dir: folder.path(),
        interval: args.checkpoint_interval,
        start: Start::Empty,
        phase: Phase::Pause,
    })?;
    let mut script = Script {
        sampler: Sampler::start(Arc::clone(&director.control)),
        director,
        held: Vec::new(),
        time: Duration::from_secs(args.update_seconds),
    };
    // The first checkpoint comes before the first record and is held: no other one is taken while the state is filled.
    script.hold()?;
    progress(&format!("filling {} keys", args.state.keys));
    let rss_empty_kb = script.now().rss_kb;
    let started = Instant::now();
    script.director.complete(Phase::Fill)?;
    let fill_s = started.elapsed().as_secs_f64();

    progress("checkpoints of all keys, and plain writes of as many bytes, nothing else going on");
    let (first, plain) = script.full_checkpoints(folder.path(), args.runs)?;
    progress("updates");
    let from_ms = script.now().unix_ms;
    let pairs = script.pairs(args.runs)?;
    let update_ms = (from_ms, script.now().unix_ms);
    progress("checkpoints after 1 % of the keys was changed");
    let increments = script.increments(args.runs, args.state.keys)?;
    progress("reading keys");
    let control = Arc::clone(&script.director.control);
    let processed = control.processed();
    let to_read = args.state.keys_to_read();
    script.director.complete(Phase::Read(to_read))?;

    let Script {
        director,
        held,
        sampler,
        ..
    } = script;
    let completed = director.completed.clone();
    director.finish()?;
    Ok(Measured {
        fill_s,
        first,
        plain,
        pairs,
        update_ms,
        increments,
        completed,
        held,
        samples: sampler.samples(),
        keys_read: control.read(),
        writes_read: control.writes_read(),
        writes_expected: (to_read == args.state.keys).then_some(processed),
        keys_expected: to_read,
        rss_empty_kb,
    })
}

/// The parts of a run.
struct Script {
    director: Director,
    sampler: Sampler,
    held: Vec<(CheckpointId, f64)>,
    /// Of each measured part.
    time: Duration,
}

impl Script {
    /// Lets no checkpoint complete any more, and waits until the one that is held has written its snapshots. The engine does not tell when
    /// that is, so this waits half as long again as the slowest has taken so far; the report says if that was not enough.
    fn hold(&mut self) -> Result<()> {
        let id = self.director.hold()?;
        let slowest = self.director.completed.iter().map(|facts| facts.async_ms_max);
        let settle_ms = slowest.fold(0.0, f64::max) * 1.5 + 100.0;
        self.director.run_for(Duration::from_secs_f64(settle_ms / 1e3))?;
        self.held.push((id, settle_ms));
        Ok(())
    }

    fn full_checkpoints(&mut self, dir: &Path, runs: u32) -> Result<(CheckpointFacts, Vec<Duration>)> {
        let mut plain = Vec::new();
        let mut first = None;
        for _ in 0..runs {
            let facts = self.director.next_checkpoint()?;
            progress(&format!(
                "  checkpoint {}: {} bytes in {:.0} ms, synchronous part {:.3} ms",
                facts.id, facts.new_bytes, facts.async_ms_max, facts.sync_ms_max
            ));
            let first = first.get_or_insert(facts);
            self.hold()?;
            plain.push(plain_write(dir, first.new_bytes)?);
        }
        let first = first.ok_or_else(|| Error::new(ErrorKind::Bug, "no runs"))?;
        Ok((first, plain))
    }

    fn pairs(&mut self, runs: u32) -> Result<Vec<(Stretch, Stretch)>> {
        const WARM_UP: Duration = Duration::from_secs(1);
        let mut pairs = Vec::new();
        self.director.begin(Phase::Update)?;
        self.director.run_for(WARM_UP)?;
        for run in 1..=runs {
            let without = self.stretch()?;
            self.director.gate.open();
            let with = self.stretch()?;
            progress(&format!(
                "  {run} of {runs}: {:.0} updates/s without checkpoints, {:.0} with them",
                without.updates_per_s(),
                with.updates_per_s()
            ));
            pairs.push((without, with));
            self.hold()?;
        }
        self.director.complete(Phase::Pause)?;
        Ok(pairs)
    }

    fn stretch(&mut self) -> Result<Stretch> {
        let (begin, cpu_ms, started) = (self.now(), process::cpu_ms(), Instant::now());
        self.director.run_for(self.time)?;
        Ok(Stretch {
            begin,
            end: self.now(),
            seconds: started.elapsed().as_secs_f64(),
            cpu_ms: process::cpu_ms() - cpu_ms,
        })
    }

    fn increments(&mut self, runs: u32, keys: u64) -> Result<Vec<Increment>> {
        let changed = keys.div_ceil(100);
        // Completes the one that is held, and takes one with all that the updates have changed.
        self.director.next_checkpoint()?;
        let mut increments = Vec::new();
        for _ in 0..runs {
            // The next one that completes is the one that is held now, before the change; the one behind it has the change and nothing else.
            self.hold()?;
            self.director.complete(Phase::UpdateDistinct(changed))?;
            let facts = self.director.next_checkpoint()?;
            progress(&format!(
                "  {changed} keys: {} bytes written in {} ms, synchronous part {:.3} ms, state of {} bytes",
                facts.new_bytes, facts.duration_ms, facts.sync_ms_max, facts.state_bytes
            ));
            increments.push(Increment { keys: changed, facts });
        }
        Ok(increments)
    }

    fn now(&self) -> Sample {
        Sample::now(&self.director.control)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Command, Workload};
    use clap::Parser;

    #[test]
    fn every_part_of_a_run_is_measured_and_no_write_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let line = "bench big-state --keys 1000 --value-bytes 16 --update-seconds 1 --runs 1 --checkpoint-interval 50ms \
                    --parallelism 2 --dir";
        let line = line.split_whitespace().map(Into::into);
        let command = Command::parse_from(line.chain([dir.path().as_os_str().to_owned()]));
        let Workload::BigState(args) = command.workload else {
            panic!("another command");
        };
        let seen = measure::<2, 0>(&args).unwrap();
        assert!(seen.is_right());
        assert_eq!(seen.keys_read, 1000);
        assert!(seen.writes_read > 1000 + 10);
        assert!(seen.first.is_full() && seen.first.new_bytes >= 24_000);
        assert_eq!((seen.pairs.len(), seen.plain.len()), (1, 1));
        let (without, with) = seen.pairs[0];
        let triggered_in = |part: Stretch| seen.completed.iter().filter(move |facts| part.has(facts));
        assert_eq!(triggered_in(without).count(), 0);
        // Twenty if the machine has nothing else to do. The last one may be held: the gate shuts while it runs.
        let (held, free): (Vec<_>, Vec<_>) = triggered_in(with).partition(|facts| seen.is_held(facts));
        assert!(held.len() <= 1, "{seen:?}");
        assert!(!free.is_empty(), "{seen:?}");
        assert_eq!(
            seen.increments
                .iter()
                .map(|increment| increment.keys)
                .sum::<u64>(),
            10
        );
        let line = serde_json::to_value(report::Row::of(&args, &seen, None)).unwrap();
        assert_eq!(line["records"], with.updates(), "those with checkpoints");
        assert_eq!(line["checkpoint_ms"].as_array().unwrap().len(), free.len());
        // The folder of the run is gone.
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
