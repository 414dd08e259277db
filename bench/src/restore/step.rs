//! The processes of `restore`: one leaves a checkpoint, the others restore it.

use crate::args::{RestoreArgs, StepArgs};
use crate::keeper::{Director, JobSetup, Opened, Phase, Start, with_value_type};
use crate::process::{self, storage_read_bytes, unix_time};
use crate::report::{print_line, round};
use millpond_engine::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The answer of the process that leaves a checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Taken {
    /// Its metadata.
    pub(super) checkpoint: PathBuf,
    pub(super) state_bytes: u64,
}

/// The answer of a process that restores. Times are in milliseconds; with several subtasks they are those of the slowest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Restored {
    /// From just before the engine opens the state handles to the value of the first record, read and checked.
    pub(super) first_record_ms: f64,
    /// From the same moment to every key's value, read and checked.
    pub(super) all_keys_ms: f64,
    /// From just before the engine opens the state handles to the function's `open`: what the backend does with the handles.
    pub(super) open_ms: f64,
    /// From the start of the process to its first statement.
    pub(super) process_start_ms: f64,
    /// From there until the engine opens the state handles: settings, metadata, threads, dataflow.
    pub(super) engine_start_ms: f64,
    /// From the start of the process to the value of the first record.
    pub(super) process_to_first_record_ms: f64,
    /// Bytes that came from the disk until all keys were read; 0 where the page cache had everything.
    pub(super) storage_read_bytes: u64,
    pub(super) vm_hwm_mb: u64,
    /// Under the names of the other workloads: keys that were read, within `all_keys_ms`.
    pub(super) records: u64,
    pub(super) wall_s: f64,
    pub(super) records_per_s: f64,
    /// From the start of the process until all keys were read, all threads.
    pub(super) cpu_s: f64,
    pub(super) keys_read: u64,
    pub(super) writes_read: u64,
    pub(super) verified: bool,
    /// The checkpoint that it left, if it should.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) left: Option<PathBuf>,
}

/// The error in the answer of a process.
pub(super) fn error_in(answer: &str) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_str(answer).ok()?;
    answer.get("error")?.as_str().map(str::to_owned)
}

/// Runs one step and prints its answer; whether every value was right.
///
/// # Errors
/// When the job fails.
pub(crate) fn run(args: &StepArgs) -> Result<bool> {
    let began = Instant::now();
    let now_ns = unix_time().as_nanos();
    let process_start = now_ns.saturating_sub(u128::from(args.started_unix_ns));
    let process_start = Duration::from_nanos(u64::try_from(process_start).unwrap_or(0));
    let bytes = args.restore.state.value_bytes;
    let (dir, restore) = (args.checkpoint_dir.as_path(), &args.restore);
    let unknown = || Error::new(ErrorKind::Configuration, "no such width");
    let printed = if let Some(checkpoint) = &args.checkpoint {
        let started = Started { began, process_start };
        let to = args.rescale_to;
        let answer = with_value_type!(bytes, read(restore, dir, checkpoint, to, started));
        print_line(&answer.ok_or_else(unknown)??)
    } else {
        print_line(&with_value_type!(bytes, fill(restore, dir)).ok_or_else(unknown)??)
    };
    printed.map_err(|error| Error::new(ErrorKind::JobFailed, "standard output").with_source(error))?;
    Ok(true)
}

/// The number of keys that are changed before each increment.
fn changed(keys: u64) -> u64 {
    keys.div_ceil(100)
}

fn fill<const W: usize, const T: usize>(args: &RestoreArgs, dir: &Path) -> Result<Taken> {
    let mut director = Director::start::<W, T>(&JobSetup {
        args: &args.state,
        parallelism: args.state.parallelism,
        dir,
        interval: Duration::from_millis(100),
        start: Start::Empty,
        phase: Phase::Pause,
    })?;
    // An empty checkpoint is held while the state is filled, so that the next one has everything and is the first of its kind.
    director.hold()?;
    director.complete(Phase::Fill)?;
    director.next_checkpoint()?;
    for _ in 0..args.increments {
        director.hold()?;
        director.complete(Phase::UpdateDistinct(changed(args.state.keys)))?;
        director.next_checkpoint()?;
    }
    leave(director)
}

/// Ends the job and leaves its newest checkpoint.
fn leave(mut director: Director) -> Result<Taken> {
    // No other one completes from here on, so the newest is what is left.
    director.hold()?;
    director.run_for(Duration::from_millis(100))?;
    let newest = director.completed.last().cloned();
    director.cancel()?;
    let last = newest.ok_or_else(|| Error::new(ErrorKind::Bug, "no checkpoint"))?;
    Ok(Taken {
        checkpoint: last.path,
        state_bytes: last.state_bytes,
    })
}

/// When the process was.
#[derive(Clone, Copy, Debug)]
struct Started {
    /// Its first statement.
    began: Instant,
    /// From its start to there.
    process_start: Duration,
}

fn read<const W: usize, const T: usize>(
    args: &RestoreArgs,
    dir: &Path,
    checkpoint: &Path,
    rescale_to: Option<u32>,
    Started { began, process_start }: Started,
) -> Result<Restored> {
    let keys = args.state.keys;
    let to_read = args.state.keys_to_read();
    let mut director = Director::start::<W, T>(&JobSetup {
        args: &args.state,
        parallelism: rescale_to.unwrap_or(args.state.parallelism),
        dir,
        interval: Duration::from_millis(100),
        start: match rescale_to {
            None => Start::From(checkpoint),
            Some(_) => Start::On(checkpoint),
        },
        phase: Phase::Read(to_read),
    })?;
    let control = Arc::clone(&director.control);
    director.wait(|_| control.all_read().is_some())?;
    let all = control.opened();
    let cpu_ms = process::cpu_ms();
    let storage_read_bytes = storage_read_bytes();
    let vm_hwm_mb = process::peak_mb();
    let (keys_read, writes_read) = (control.read(), control.writes_read());
    let left = match rescale_to {
        None => {
            director.finish()?;
            None
        }
        Some(_) => {
            director.next_checkpoint()?;
            Some(leave(director)?.checkpoint)
        }
    };

    let no_subtask = || Error::new(ErrorKind::Bug, "no subtask has read a value");
    let ms = |duration: Duration| round(duration.as_secs_f64() * 1e3, 1e3);
    let longest = |of: &dyn Fn(&Opened) -> Duration| all.iter().map(of).max().ok_or_else(no_subtask);
    let first_made = all
        .iter()
        .map(|opened| opened.made)
        .min()
        .ok_or_else(no_subtask)?;
    let first_record = longest(&|opened| opened.first_read - opened.made)?;
    let all_read = control.all_read().ok_or_else(no_subtask)? - first_made;
    let engine_start = longest(&|opened| opened.made - began)?;
    Ok(Restored {
        first_record_ms: ms(first_record),
        all_keys_ms: ms(all_read),
        open_ms: ms(longest(&|opened| opened.opened - opened.made)?),
        process_start_ms: ms(process_start),
        engine_start_ms: ms(engine_start),
        process_to_first_record_ms: ms(process_start + longest(&|opened| opened.first_read - began)?),
        storage_read_bytes,
        vm_hwm_mb,
        records: keys_read,
        wall_s: round(all_read.as_secs_f64(), 1e6),
        records_per_s: per_s(keys_read, all_read),
        cpu_s: round(Duration::from_millis(cpu_ms).as_secs_f64(), 1e2),
        keys_read,
        writes_read,
        verified: keys_read == to_read
            && (to_read < keys || writes_read == keys + u64::from(args.increments) * changed(keys)),
        left,
    })
}

#[expect(clippy::cast_precision_loss, reason = "keys are below 2^53")]
fn per_s(records: u64, wall: Duration) -> f64 {
    (records as f64 / wall.as_secs_f64().max(1e-9)).round()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Command, Workload};
    use clap::Parser;

    fn arguments(line: &str) -> RestoreArgs {
        let Workload::Restore(args) = Command::parse_from(line.split_whitespace()).workload else {
            panic!("another command");
        };
        args
    }

    #[test]
    fn what_was_left_is_read_again_at_another_parallelism() {
        let dir = tempfile::tempdir().unwrap();
        let args = arguments("bench restore --keys 1000 --increments 2");
        let taken = fill::<2, 0>(&args, dir.path()).unwrap();
        assert!(taken.checkpoint.is_file(), "{taken:?}");
        let args = arguments("bench restore --keys 1000 --increments 2 --parallelism 2");
        let read = |args, checkpoint: &Path, to| {
            let started = Started {
                began: Instant::now(),
                process_start: Duration::ZERO,
            };
            read::<2, 0>(args, dir.path(), checkpoint, to, started)
        };
        let restored = read(&args, &taken.checkpoint, None).unwrap();
        assert!(restored.verified);
        assert_eq!((restored.keys_read, restored.writes_read), (1000, 1020));
        assert_eq!(restored.records, 1000);
        assert!(
            (restored.wall_s * 1e3 - restored.all_keys_ms).abs() < 0.002,
            "{restored:?}"
        );
        assert!(restored.first_record_ms <= restored.all_keys_ms, "{restored:?}");
        assert!(restored.open_ms <= restored.first_record_ms, "{restored:?}");

        let too_many = arguments("bench restore --keys 1001");
        let error = read(&too_many, &taken.checkpoint, None).unwrap_err().to_string();
        assert!(
            error.contains("wrong result: the value of key 1000 is missing"),
            "{error}"
        );

        let out = read(&args, &taken.checkpoint, Some(3)).unwrap();
        assert!(out.verified);
        let left = out.left.expect("the next restore starts from what it leaves");
        assert_ne!(left, taken.checkpoint);
        let some = arguments("bench restore --keys 1000 --increments 2 --read-keys 100");
        let back = read(&some, &left, None).unwrap();
        assert!(back.verified && back.left.is_none());
        assert_eq!(back.keys_read, 100);
        assert!(read(&args, &left, None).unwrap().verified);
    }
}
