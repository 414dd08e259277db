//! Whole programs that are asked for savepoints from outside, stopped and killed.

use super::{ask, assert_self_contained, control_below, copied, moved, savepoints};
use crate::harness::{
    FILES, HEAP, Program, ROCKSDB, Random, Settings, Strace, assert_exactly, awk_lines, finished_lines,
    has_rocksdb, number, write_text,
};
use millpond_engine::checkpoint::{SavepointFormat, StopMode, restore};
use millpond_engine::control::Request;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const KEYS: u64 = 120;
const PER_KEY: u64 = 500;
const EVENTS: u64 = KEYS * PER_KEY;

/// A job over numbered events in which each key must see exactly the next one, which goes on when it is killed.
fn numbered_events(folder: &Path, settings: Settings, rate: u64) -> Program {
    Program::subject(&folder.join("logs"), "numbered-events")
        .option("output", folder.join("output").display())
        .option("keys", KEYS)
        .option("per-key", PER_KEY)
        .option("rate", rate)
        .set_all(settings)
        .set("control.dir", folder.join("control").display())
        .durable(folder, 50)
}

#[track_caller]
fn assert_all_events(folder: &Path) {
    let mut found: Vec<(u64, u64)> = finished_lines(&folder.join("output"))
        .into_iter()
        .map(|line| {
            let line = String::from_utf8(line).unwrap();
            let (key, number) = line.split_once(' ').unwrap();
            (key.parse().unwrap(), number.parse().unwrap())
        })
        .collect();
    found.sort_unstable();
    let expected: Vec<_> = (0..KEYS)
        .flat_map(|key| (0..PER_KEY).map(move |number| (key, number)))
        .collect();
    assert!(found == expected, "{} events of {EVENTS}", found.len());
}

fn some_format(random: &mut Random) -> SavepointFormat {
    match random.below(2) {
        0 => SavepointFormat::Canonical,
        _ => SavepointFormat::Native,
    }
}

/// Savepoints all the time, while the program is killed at any moment: the job is exactly-once, each savepoint that was answered for is whole, and
/// what is not complete is not taken for one.
fn kill_loop(name: &str, settings: Settings) {
    let kills = number("MILLPOND_KILLS", 3);
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::of_test(name);
    let program = numbered_events(folder.path(), settings, EVENTS * 1000 / ((kills + 1) * 1500));
    let target = folder.path().join("savepoints");
    let control = control_below(folder.path());
    let ended = AtomicBool::new(false);
    let answered: Vec<PathBuf> = std::thread::scope(|scope| {
        let mut format = Random::of_test(name);
        let (ended, control, target) = (&ended, &control, &target);
        let asker = scope.spawn(move || {
            let mut answered = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                let request = Request {
                    target: Some(target.to_str().unwrap().to_owned()),
                    format: some_format(&mut format),
                    stop: None,
                };
                // A job that was killed is soon started again, and one that has ended is not.
                let patience = Duration::from_millis(700);
                answered.extend(millpond_engine::control::request(control, &request, patience));
            }
            answered
        });
        for kill in 0.. {
            let mut running = program.clone().option("parallelism", 1 + random.below(3)).start();
            let is_last = kill >= kills;
            let ended = if is_last || running.ends_within(random.milliseconds(600..2500)) {
                running.wait().expect_code(0)
            } else {
                running.kill()
            };
            assert!(!ended.log.contains("FAULT"), "{}", ended.log);
            if !ended.was_killed() {
                break;
            }
        }
        ended.store(true, Ordering::Relaxed);
        asker.join().unwrap()
    });
    assert_all_events(folder.path());
    for savepoint in &answered {
        assert_self_contained(savepoint);
    }
    let complete = savepoints(&target);
    for savepoint in fs::read_dir(&target).into_iter().flatten().flatten() {
        let path = savepoint.path();
        if complete.contains(&path) {
            assert_self_contained(&path);
        } else {
            restore::load(&path).unwrap_err();
            assert!(!answered.contains(&path));
        }
    }
    eprintln!(
        "{name}: {} savepoints answered for, {} complete",
        answered.len(),
        complete.len()
    );
}

#[test]
fn a_job_that_is_killed_during_savepoints_is_exactly_once_and_accepts_no_half_savepoint() {
    kill_loop("savepoints and kills", HEAP);
}

#[test]
fn increments_are_not_built_on_savepoints_whatever_is_killed() {
    kill_loop("savepoints and kills on files", FILES);
}

/// Checkpoint, savepoint, checkpoint: lives that end by a kill or by a savepoint, which may be killed as well; the next one goes on from the folder of the last savepoint,
/// moved, or by itself from its last checkpoint.
fn lives(name: &str, settings: Settings) {
    let lives = number("MILLPOND_KILLS", 5) + 1;
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::of_test(name);
    let program = numbered_events(folder.path(), settings, EVENTS * 1000 / (lives * 1200));
    let control = control_below(folder.path());
    let mut from: Option<PathBuf> = None;
    for life in 0.. {
        let mut program = program.clone().option("parallelism", 1 + random.below(4));
        if let Some(from) = &from {
            program = program.option("from-savepoint", from.display());
        }
        let mut running = program.start();
        let target = folder.path().join(format!("target-{life}"));
        if life >= lives {
            let ended = running.wait().expect_code(0);
            assert!(!ended.log.contains("FAULT"), "{}", ended.log);
            break;
        }
        let pause = random.milliseconds(100..900);
        if running.ends_within(pause) {
            let ended = running.wait().expect_code(0);
            assert!(!ended.log.contains("FAULT"), "{}", ended.log);
            break;
        }
        let (stops, kills) = [(true, false), (false, true), (true, true)][random.index(3)];
        let ended = std::thread::scope(|scope| {
            let asked = stops.then(|| {
                let request = Request {
                    format: some_format(&mut random),
                    stop: Some(StopMode::Suspend),
                    target: Some(target.to_str().unwrap().to_owned()),
                };
                let control = &control;
                // A program that was killed or has finished will not notice it.
                let patience = Duration::from_secs(if kills { 1 } else { 10 });
                scope.spawn(move || millpond_engine::control::request(control, &request, patience))
            });
            let ended = if kills {
                let finished = running.ends_within(random.milliseconds(0..900));
                if finished { running.wait() } else { running.kill() }
            } else {
                running.wait()
            };
            let answer = asked.map(|asked| asked.join().unwrap());
            if let Some(Ok(path)) = &answer {
                assert!(path.starts_with(&target));
                assert_self_contained(path);
            }
            assert!(
                ended.was_killed()
                    || answer.as_ref().is_none_or(Result::is_ok)
                    || ended.log.contains(" records, "),
                "{answer:?}\n{}",
                ended.log
            );
            ended
        });
        assert!(!ended.log.contains("FAULT"), "{}", ended.log);
        // Complete is complete, also if nobody was told.
        let has_stopped = match savepoints(&target).pop() {
            Some(savepoint) => {
                let elsewhere = folder.path().join("elsewhere");
                // A job that resumes by itself may need it where it was.
                from = Some(copied(&savepoint, &elsewhere));
                true
            }
            None => false,
        };
        if !ended.was_killed() && !has_stopped {
            // It came to its end before it was asked.
            break;
        }
    }
    assert_all_events(folder.path());
}

#[test]
fn lives_that_end_by_kills_and_by_savepoints_see_each_event_once() {
    lives("checkpoint, savepoint, checkpoint", HEAP);
}

#[test]
fn lives_that_end_by_kills_and_by_savepoints_see_each_event_once_on_files() {
    lives("checkpoint, savepoint, checkpoint on files", FILES);
}

/// Stops a job with a savepoint and kills it at the `k`-th of `calls` in one of its threads, for some `k` up to the last one; each time goes on from what is left.
fn crash_while_stopping(calls: &str, calls_about: u64, crashes_max: u64) {
    if !Strace::is_usable() {
        eprintln!("strace cannot be used here: not tested");
        return;
    }
    let mut random = Random::of_test(calls);
    let step = calls_about.div_ceil(number("MILLPOND_CRASHES", crashes_max));
    let mut call = 1 + random.below(step);
    let (mut crashes, mut complete) = (0, 0);
    loop {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let (control, target) = (control_below(folder), folder.join("savepoints"));
        // No other file is written while it runs.
        let program = |rate: u64| {
            numbered_events(folder, FILES, rate)
                .set("execution.checkpointing.interval", "1 h")
                .option("parallelism", 2)
        };
        let strace = Strace {
            calls,
            fault: "signal=SIGKILL",
            when: &call.to_string(),
        };
        let running = program(2000).start_by(strace.command());
        let (first, answer) = std::thread::scope(|scope| {
            let control = &control;
            let request = Request {
                target: Some(target.to_str().unwrap().to_owned()),
                stop: Some(StopMode::Suspend),
                ..Request::default()
            };
            // One that was killed before it had noticed does not notice any more.
            let patience = Duration::from_secs(5);
            let asked = scope.spawn(move || millpond_engine::control::request(control, &request, patience));
            (running.wait(), asked.join().unwrap())
        });
        let savepoint = savepoints(&target).pop();
        let what = format!("killed at call {call} of {calls}: {answer:?}");
        if let Ok(answered) = &answer {
            assert_eq!(savepoint.as_ref(), Some(answered), "{what}");
        }
        let mut again = program(1_000_000);
        if let Some(savepoint) = &savepoint {
            complete += 1;
            assert_self_contained(savepoint);
            let copy = copied(savepoint, &folder.join("elsewhere"));
            again = again.option("from-savepoint", copy.display());
        }
        assert!(!first.log.contains("FAULT"), "{what}: {}", first.log);
        let was_killed = first.was_killed();
        if !was_killed {
            first.expect_code(0);
            answer.unwrap();
        }
        let second = again.run().expect_code(0);
        assert!(!second.log.contains("FAULT"), "{what}: {}", second.log);
        assert_all_events(folder);
        if !was_killed {
            break;
        }
        crashes += 1;
        call += 1 + random.below(2 * step - 1);
    }
    eprintln!("{calls}: {crashes} crashes, up to call {call}, {complete} savepoints complete");
    assert!(crashes > 0, "no crash was tried");
}

#[test]
fn a_crash_at_any_rename_of_a_stop_loses_nothing() {
    crash_while_stopping("rename,renameat,renameat2", 12, 6);
}

#[test]
fn a_crash_at_any_sync_of_a_stop_loses_nothing() {
    crash_while_stopping("fsync,fdatasync", 24, 6);
}

#[test]
fn a_crash_at_any_removal_of_a_stop_loses_nothing() {
    crash_while_stopping("unlink,unlinkat,rmdir", 8, 6);
}

#[test]
fn a_crash_at_any_new_file_or_folder_of_a_stop_loses_nothing() {
    crash_while_stopping("openat,mkdir,mkdirat", 90, 6);
}

#[test]
fn a_word_count_is_stopped_from_outside_and_goes_on_as_if_it_had_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::of_test("stopped word count");
    let input = folder.path().join("input");
    write_text(&input, 3, 300_000, &mut random);
    let control = control_below(folder.path());
    let program = Program::word_count(&folder.path().join("logs"))
        .option("input", input.display())
        .option("output", folder.path().join("output").display())
        .set("control.dir", control.display())
        .set("execution.checkpointing.interval", "50 ms");
    let running = program
        .clone()
        .option("rate", 5000)
        .option("parallelism", 2)
        .start();
    while !control.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let request = Request {
        stop: Some(StopMode::Suspend),
        ..Request::default()
    };
    let savepoint = ask(&control, &folder.path().join("savepoints"), request).unwrap();
    running.wait().expect_code(0);
    assert_self_contained(&savepoint);
    let savepoint = moved(&savepoint, &folder.path().join("elsewhere"));
    program
        .option("parallelism", 3)
        .option("from-savepoint", savepoint.display())
        .run()
        .expect_code(0);
    let found = finished_lines(&folder.path().join("output"));
    assert_exactly(&found, &awk_lines(&input), "stopped and started again");
}

const WINDOW_MS: u64 = 40;
const WINDOW_KEYS: u64 = 8;
const WINDOW_RECORDS: u64 = 8000;

fn windows(folder: &Path) -> Program {
    Program::subject(&folder.join("logs"), "windows")
        .option("output", folder.join("output").display())
        .option("records", WINDOW_RECORDS)
        .option("keys", WINDOW_KEYS)
        .option("window-ms", WINDOW_MS)
        .set("control.dir", folder.join("control").display())
        .set("execution.checkpointing.interval", "50 ms")
}

/// The windows of the first `events` events, as the subject writes them, the last ones as far as they have come.
fn windows_of(events: u64) -> Vec<String> {
    let mut lines = Vec::new();
    for window in 0..events.div_ceil(WINDOW_MS) {
        let start = window * WINDOW_MS;
        for key in 0..WINDOW_KEYS {
            let times: Vec<u64> = (start..(start + WINDOW_MS).min(events))
                .filter(|time| time % WINDOW_KEYS == key)
                .collect();
            if !times.is_empty() {
                lines.push(format!(
                    "{key} {} {} {} {window}",
                    start + WINDOW_MS - 1,
                    times.len(),
                    times.iter().sum::<u64>()
                ));
            }
        }
    }
    lines.sort_unstable();
    lines
}

fn window_lines(folder: &Path) -> Vec<String> {
    let lines = finished_lines(&folder.join("output")).into_iter();
    lines.map(|line| String::from_utf8(line).unwrap()).collect()
}

/// Stops the windows on one backend, and has them go on on another one; with timers, maps, lists and values.
fn windows_change_their_backend(before: Settings, after: Settings) {
    let folder = tempfile::tempdir().unwrap();
    let control = control_below(folder.path());
    let running = windows(folder.path())
        .option("rate", 400)
        .option("parallelism", 2)
        .set_all(before)
        .start();
    let request = Request {
        stop: Some(StopMode::Suspend),
        ..Request::default()
    };
    let savepoint = ask(&control, &folder.path().join("savepoints"), request).unwrap();
    running.wait().expect_code(0);
    let ended = windows(folder.path())
        .option("rate", 1_000_000)
        .option("parallelism", 3)
        .option("from-savepoint", savepoint.display())
        .set_all(after)
        .run()
        .expect_code(0);
    assert!(!ended.log.contains("FAULT"), "{}", ended.log);
    assert!(window_lines(folder.path()) == windows_of(WINDOW_RECORDS));
}

#[test]
fn windows_that_were_open_at_the_savepoint_are_closed_after_it() {
    windows_change_their_backend(HEAP, HEAP);
}

#[test]
fn windows_go_on_on_any_other_backend() {
    let mut backends = vec![HEAP, FILES];
    if has_rocksdb() {
        backends.push(ROCKSDB);
    }
    for before in &backends {
        for after in backends.iter().filter(|after| *after != before) {
            windows_change_their_backend(before, after);
        }
    }
}

#[test]
fn a_drained_job_gives_the_results_of_all_windows_that_were_open() {
    let folder = tempfile::tempdir().unwrap();
    let control = control_below(folder.path());
    let running = windows(folder.path())
        .option("rate", 400)
        .option("parallelism", 2)
        .start();
    let request = Request {
        stop: Some(StopMode::Drain),
        ..Request::default()
    };
    let savepoint = ask(&control, &folder.path().join("savepoints"), request).unwrap();
    assert_self_contained(&savepoint);
    let ended = running.wait().expect_code(0);
    assert!(!ended.log.contains("FAULT"), "{}", ended.log);
    let records = ended.log.split(" attempts, ").nth(1).unwrap();
    let records: u64 = records.split(' ').next().unwrap().parse().unwrap();
    assert!(records < WINDOW_RECORDS, "it was stopped");
    assert!(
        window_lines(folder.path()) == windows_of(records),
        "{records} events"
    );
}

#[test]
fn a_job_without_anything_to_do_is_stopped_as_any_other() {
    for stop in [StopMode::Suspend, StopMode::Drain] {
        let folder = tempfile::tempdir().unwrap();
        let control = control_below(folder.path());
        let mut running = Program::subject(&folder.path().join("logs"), "idle")
            .option("parallelism", 2)
            .set("control.dir", control.display())
            .start();
        running.wait_for("running 1");
        let request = Request {
            stop: Some(stop),
            ..Request::default()
        };
        let savepoint = ask(&control, &folder.path().join("savepoints"), request).unwrap();
        running.wait().expect_code(0);
        assert_self_contained(&savepoint);
    }
}
