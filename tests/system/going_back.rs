//! Programs that go back to an older checkpoint, with the output folder that they have written to since: each line of the output is there once.

use crate::harness::{
    Ended, FILES, HEAP, Program, Random, Settings, assert_exactly, awk_lines, checkpoints_below,
    finished_lines, lines_of, write_text,
};
use std::fs;
use std::path::{Path, PathBuf};

const TEXT_BYTES: usize = 150_000;
/// How long the run that is killed would take.
const RUN_MS: u64 = 4000;

/// A word count that was killed, with the checkpoints that it has left.
struct Left {
    folder: tempfile::TempDir,
    program: Program,
    /// Oldest first.
    checkpoints: Vec<PathBuf>,
}

impl Left {
    fn by(name: &str, settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut random = Random::of_test(name);
        let input = folder.path().join("input");
        write_text(&input, 3, TEXT_BYTES, &mut random);
        let checkpoints = folder.path().join("checkpoints");
        let program = Program::word_count(&folder.path().join("logs"))
            .option("input", input.display())
            .option("output", folder.path().join("output").display())
            .set_all(settings)
            .set("execution.checkpointing.interval", "50 ms")
            .set("execution.checkpointing.num-retained", 4)
            .set(
                "execution.checkpointing.externalized-checkpoint-retention",
                "RETAIN_ON_CANCELLATION",
            )
            .set(
                "execution.checkpointing.dir",
                format!("file://{}", checkpoints.display()),
            );
        let mut running = slowly(&program, &input).option("parallelism", 2).start();
        running.wait_for("checkpoint completed checkpoint=8 ");
        assert!(running.kill().was_killed());
        let checkpoints: Vec<_> = checkpoints_below(&checkpoints)
            .into_iter()
            .map(|(_, path)| path)
            .collect();
        assert!(checkpoints.len() >= 3, "{checkpoints:?}");
        Self {
            folder,
            program,
            checkpoints,
        }
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("output")
    }

    /// The same program, from the oldest checkpoint.
    fn going_back_to_the_oldest(&self) -> Program {
        let oldest = self.checkpoints.first().unwrap();
        self.program.clone().option("from-savepoint", oldest.display())
    }

    /// As slowly as the first run, so that it can be killed.
    fn slowly(&self, program: &Program) -> Program {
        slowly(program, &self.folder.path().join("input"))
    }

    #[track_caller]
    fn assert_each_line_once(&self, what: &str) {
        let expected = awk_lines(&self.folder.path().join("input"));
        assert_exactly(&finished_lines(&self.output()), &expected, what);
    }
}

fn slowly(program: &Program, input: &Path) -> Program {
    program.clone().option("rate", lines_of(input) * 1000 / RUN_MS)
}

/// The finished files that were hidden.
fn hidden(output: &Path) -> usize {
    let entries = fs::read_dir(output).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".left")).count()
}

fn assert_went_back(ended: &Ended) {
    assert!(
        ended.log.contains("has gone back to an older checkpoint"),
        "{}",
        ended.log
    );
}

#[test]
fn each_line_is_there_once_when_a_program_starts_from_an_older_checkpoint_at_any_parallelism() {
    for (parallelism, settings) in [(1, HEAP), (2, FILES), (3, FILES)] {
        let name = format!("going back at parallelism {parallelism}");
        let left = Left::by(&name, settings);
        let ended = left
            .going_back_to_the_oldest()
            .option("parallelism", parallelism)
            .run()
            .expect_code(0);
        assert_went_back(&ended);
        assert!(hidden(&left.output()) > 0, "{name}");
        left.assert_each_line_once(&name);
    }
}

/// The second line takes the numbers that the first one had, and so does the third.
#[test]
fn each_line_is_there_once_when_a_program_goes_back_again_and_again() {
    let left = Left::by("going back twice", FILES);
    let (first, _) = checkpoints_below(&left.folder.path().join("checkpoints"))[0];
    for parallelism in [3, 1] {
        let mut running = left
            .slowly(&left.going_back_to_the_oldest())
            .option("parallelism", parallelism)
            .start();
        running.wait_for(&format!("checkpoint completed checkpoint={} ", first + 4));
        assert!(running.kill().was_killed());
    }
    let ended = left
        .going_back_to_the_oldest()
        .option("parallelism", 2)
        .run()
        .expect_code(0);
    assert_went_back(&ended);
    left.assert_each_line_once("the third line");
}

/// With high availability: the second line is gone on with after each kill, and the lines of the first are not shown again.
#[test]
fn a_program_that_went_back_stays_on_its_line_when_it_is_killed() {
    let left = Left::by("going back and kills", FILES);
    let ha = left.folder.path().join("ha");
    let program = left
        .going_back_to_the_oldest()
        .set("high-availability.type", "filesystem")
        .set("high-availability.storageDir", format!("file://{}", ha.display()))
        .option("parallelism", 2);
    let mut random = Random::of_test("going back and kills, moments");
    // At first before it has a checkpoint of its own, and then with some.
    for wait in [
        "starts from checkpoint",
        "checkpoint completed",
        "checkpoint completed",
    ] {
        let mut running = left.slowly(&program).start();
        running.wait_for(wait);
        running.ends_within(random.milliseconds(0..150));
        assert!(running.kill().was_killed());
    }
    program.run().expect_code(0);
    assert!(hidden(&left.output()) > 0);
    left.assert_each_line_once("after kills");
}
