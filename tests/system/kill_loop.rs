//! `kill -9` at random moments of one run: the output is that of a run that was left alone.

use crate::harness::{
    COMPRESSED, FILES, FILES_AND_INLINE, HEAP, JobFolder, Program, Random, Settings, assert_exactly,
    assert_nothing_missing, awk_lines, finished_lines, job_folders, number, write_text,
};
use std::ops::Range;
use std::path::Path;

/// How long a program lives before it is killed: long enough for a checkpoint or two in most lives, not in all.
const LIFE_MS: Range<u64> = 60..1000;
/// A full run lasts this long for each kill: longer than a life in the mean, so that most kills hit it on any machine.
const RUN_MS_PER_KILL: u64 = 800;
const TEXT_BYTES: usize = 3_000_000;
const LINE_BYTES: u64 = 45;

/// A word count that is killed and started again.
pub(crate) struct KillLoop {
    name: &'static str,
    mode: &'static str,
    settings: Settings,
    interval_ms: u64,
    /// One of them each time.
    parallelisms: &'static [u32],
    /// How often it is killed unless `MILLPOND_KILLS` says otherwise.
    pub(crate) kills: u64,
}

impl KillLoop {
    /// On the heap backend, with a checkpoint or two in most lives.
    fn on_the_heap(name: &'static str, parallelisms: &'static [u32]) -> Self {
        Self {
            name,
            mode: "EXACTLY_ONCE",
            settings: HEAP,
            interval_ms: 200,
            parallelisms,
            kills: 5,
        }
    }

    /// On a backend that writes increments into files, with enough checkpoints for chains that are folded and begun anew.
    pub(crate) fn on_files(name: &'static str, settings: Settings, parallelisms: &'static [u32]) -> Self {
        Self {
            name,
            mode: "EXACTLY_ONCE",
            settings,
            interval_ms: 50,
            parallelisms,
            kills: 3,
        }
    }

    /// Lets it end by itself when it has been killed often enough. Returns the lines that it wrote, and those that it should have written.
    fn run(&self) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut random = Random::of_test(self.name);
        let kills = number("MILLPOND_KILLS", self.kills);
        let input = folder.join("input");
        write_text(&input, 5, TEXT_BYTES, &mut random);
        let rate = TEXT_BYTES as u64 / LINE_BYTES * 1000 / (kills * RUN_MS_PER_KILL);
        let program = Program::word_count(&folder.join("logs"))
            .option("input", input.display())
            .option("output", folder.join("output").display())
            .option("rate", rate)
            .set("execution.checkpointing.mode", self.mode)
            .set_all(self.settings)
            .durable(folder, self.interval_ms);
        let mut killed = 0;
        let mut finished = false;
        while killed < kills && !finished {
            let parallelism = random.pick(self.parallelisms);
            let mut running = program.clone().option("parallelism", parallelism).start();
            finished = running.ends_within(random.milliseconds(LIFE_MS));
            if finished {
                running.wait().expect_code(0);
            } else {
                killed += u64::from(running.kill().was_killed());
                self.assert_checkpoints_are_whole(folder);
            }
        }
        assert!(killed * 2 >= kills, "only {killed} of {kills} kills hit the run");
        if !finished {
            program
                .option("parallelism", random.pick(self.parallelisms))
                .run()
                .expect_code(0);
        }
        let left = job_folders(&folder.join("checkpoints"));
        assert!(
            left.is_empty(),
            "{}: {left:?} is left of a finished job",
            self.name
        );
        (finished_lines(&folder.join("output")), awk_lines(&input))
    }

    fn assert_checkpoints_are_whole(&self, folder: &Path) {
        for job in job_folders(&folder.join("checkpoints")) {
            let left = JobFolder::read(&job);
            left.assert_whole(self.name);
            let id = left.checkpoints.last().map_or(0, |metadata| metadata.id.0);
            let (files, bytes) = (left.longest_chain(), left.state_bytes());
            eprintln!(
                "{}: killed after checkpoint {id}, chains of up to {files} files, {bytes} bytes",
                self.name
            );
        }
    }

    pub(crate) fn exactly_once(&self) {
        let (found, expected) = self.run();
        assert_exactly(&found, &expected, self.name);
    }

    fn at_least_once(mut self) {
        self.mode = "AT_LEAST_ONCE";
        let (found, expected) = self.run();
        assert_nothing_missing(&found, &expected, self.name);
    }
}

pub(crate) const CHANGING: &[u32] = &[1, 2, 3, 4];

#[test]
fn every_line_is_written_once_at_parallelism_1() {
    KillLoop::on_the_heap("kill_loop at parallelism 1", &[1]).exactly_once();
}

#[test]
fn every_line_is_written_once_at_parallelism_2() {
    KillLoop::on_the_heap("kill_loop at parallelism 2", &[2]).exactly_once();
}

#[test]
fn every_line_is_written_once_at_parallelism_4() {
    KillLoop::on_the_heap("kill_loop at parallelism 4", &[4]).exactly_once();
}

#[test]
fn every_line_is_written_once_when_the_parallelism_changes() {
    KillLoop::on_the_heap("kill_loop at changing parallelism", CHANGING).exactly_once();
}

#[test]
fn no_line_is_missing_in_at_least_once_mode() {
    KillLoop::on_the_heap("kill_loop at least once", &[1, 2, 4]).at_least_once();
}

#[test]
fn every_line_is_written_once_on_mapped_files_at_parallelism_1() {
    KillLoop::on_files("kill_loop on files at parallelism 1", FILES, &[1]).exactly_once();
}

#[test]
fn every_line_is_written_once_on_mapped_files_at_parallelism_2() {
    KillLoop::on_files("kill_loop on files at parallelism 2", FILES, &[2]).exactly_once();
}

#[test]
fn every_line_is_written_once_on_mapped_files_at_parallelism_4() {
    KillLoop::on_files("kill_loop on files at parallelism 4", FILES, &[4]).exactly_once();
}

#[test]
fn every_line_is_written_once_on_mapped_files_when_the_parallelism_changes() {
    let mut on_files = KillLoop::on_files("kill_loop on files at changing parallelism", FILES, CHANGING);
    on_files.kills = 5;
    on_files.exactly_once();
}

#[test]
fn every_line_is_written_once_when_small_increments_ride_in_the_metadata() {
    KillLoop::on_files("kill_loop on files and metadata", FILES_AND_INLINE, CHANGING).exactly_once();
}

#[test]
fn every_line_is_written_once_on_compressed_files() {
    KillLoop::on_files("kill_loop on compressed files", COMPRESSED, CHANGING).exactly_once();
}

#[test]
fn no_line_is_missing_on_mapped_files_in_at_least_once_mode() {
    KillLoop::on_files("kill_loop on files at least once", FILES, &[1, 2, 4]).at_least_once();
}
