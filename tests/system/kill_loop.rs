//! `kill -9` at random moments of one run: the output is that of a run that was left alone.

use crate::harness::{
    Program, Random, assert_exactly, assert_nothing_missing, awk_lines, finished_lines, number, write_text,
};
use std::ops::Range;
use std::path::Path;

/// How long a program lives before it is killed: long enough for a checkpoint or two in most lives, not in all.
const LIFE_MS: Range<u64> = 60..1000;
/// A full run lasts this long for each kill: longer than a life in the mean, so that most kills hit it on any machine.
const RUN_MS_PER_KILL: u64 = 800;
const TEXT_BYTES: usize = 3_000_000;
const LINE_BYTES: u64 = 45;

/// Kills and restarts a word count, with a parallelism from `parallelisms` each time, until it has been killed often enough; then lets it end.
fn output_after_kills(
    folder: &Path,
    mode: &str,
    parallelisms: &[u32],
    random: &mut Random,
) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let kills = number("MILLPOND_KILLS", 5);
    let input = folder.join("input");
    write_text(&input, 5, TEXT_BYTES, random);
    let rate = TEXT_BYTES as u64 / LINE_BYTES * 1000 / (kills * RUN_MS_PER_KILL);
    let program = Program::word_count(&folder.join("logs"))
        .option("input", input.display())
        .option("output", folder.join("output").display())
        .option("rate", rate)
        .set("execution.checkpointing.mode", mode)
        .durable(folder, 200);
    let mut killed = 0;
    let mut finished = false;
    while killed < kills && !finished {
        let parallelism = random.pick(parallelisms);
        let mut running = program.clone().option("parallelism", parallelism).start();
        finished = running.ends_within(random.milliseconds(LIFE_MS));
        if finished {
            running.wait().expect_code(0);
        } else {
            killed += u64::from(running.kill().was_killed());
        }
    }
    assert!(killed * 2 >= kills, "only {killed} of {kills} kills hit the run");
    if !finished {
        program
            .option("parallelism", random.pick(parallelisms))
            .run()
            .expect_code(0);
    }
    (finished_lines(&folder.join("output")), awk_lines(&input))
}

fn exactly_once(name: &str, parallelisms: &[u32]) {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::of_test(name);
    let (found, expected) = output_after_kills(folder.path(), "EXACTLY_ONCE", parallelisms, &mut random);
    assert_exactly(&found, &expected, name);
}

#[test]
fn every_line_is_written_once_at_parallelism_1() {
    exactly_once("kill_loop at parallelism 1", &[1]);
}

#[test]
fn every_line_is_written_once_at_parallelism_2() {
    exactly_once("kill_loop at parallelism 2", &[2]);
}

#[test]
fn every_line_is_written_once_at_parallelism_4() {
    exactly_once("kill_loop at parallelism 4", &[4]);
}

#[test]
fn every_line_is_written_once_when_the_parallelism_changes() {
    exactly_once("kill_loop at changing parallelism", &[1, 2, 3, 4]);
}

#[test]
fn no_line_is_missing_in_at_least_once_mode() {
    let name = "kill_loop at least once";
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::of_test(name);
    let (found, expected) = output_after_kills(folder.path(), "AT_LEAST_ONCE", &[1, 2, 4], &mut random);
    assert_nothing_missing(&found, &expected, name);
}
