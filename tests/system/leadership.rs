//! Several programs that all believe that they run one job: at most one of them does, and the output is that of one.

use crate::harness::{
    Ended, FILES, HEAP, Program, Random, Running, Settings, assert_exactly, awk_lines, job_folders, lines_of,
    number, write_text,
};
use crate::retained::finished_lines_only;
use std::fs;
use std::path::Path;

const TEXT_BYTES: usize = 150_000;
/// How long a run that nobody disturbs would take.
const RUN_MS: u64 = 4000;
const TAKE_OVER: (&str, &str) = ("high-availability.filesystem.take-over", "true");

/// A word count with high availability, slow enough to be disturbed.
fn program(folder: &Path, settings: Settings, random: &mut Random) -> Program {
    let input = folder.join("input");
    write_text(&input, 3, TEXT_BYTES, random);
    Program::word_count(&folder.join("logs"))
        .option("input", input.display())
        .option("output", folder.join("output").display())
        .option("rate", lines_of(&input) * 1000 / RUN_MS)
        .option("parallelism", 2)
        .set_all(settings)
        .durable(folder, 50)
        .set("control.dir", folder.join("control").display())
}

/// Former leaders may leave unfinished files, so only the finished ones are looked at.
#[track_caller]
fn assert_each_line_once(folder: &Path, what: &str) {
    let mut found = finished_lines_only(&folder.join("output"));
    found.sort_unstable();
    assert_exactly(&found, &awk_lines(&folder.join("input")), what);
}

/// What was not pre-committed goes with its writer, and folders of checkpoints with their leader.
#[track_caller]
fn assert_nothing_is_left(folder: &Path) {
    let left = job_folders(&folder.join("checkpoints"));
    assert!(left.is_empty(), "{left:?}");
    let entries = fs::read_dir(folder.join("output")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let unfinished: Vec<_> = names.filter(|name| name.contains(".inprogress.")).collect();
    assert!(unfinished.is_empty(), "{unfinished:?}");
}

/// A former leader ends with the reason, and has not restarted.
#[track_caller]
fn assert_fenced(ended: &Ended) {
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    assert!(ended.log.contains("has taken the job over"), "{}", ended.log);
    assert!(!ended.log.contains("attempt 2 starts"), "{}", ended.log);
}

#[test]
fn a_leader_that_was_stopped_and_goes_on_after_another_took_over_changes_nothing() {
    for settings in [HEAP, FILES] {
        let folder = tempfile::tempdir().unwrap();
        let mut random = Random::of_test("stopped leader");
        let program = program(folder.path(), settings, &mut random);
        let mut former = program.start();
        former.wait_for("checkpoint completed checkpoint=3 ");
        former.ends_within(random.milliseconds(0..100));
        former.signal("STOP");
        // Without being told so, nobody takes the job from it.
        program.run().expect_code(2).expect_output(&["take-over=true"]);
        let mut leader = program.clone().set_all(&[TAKE_OVER]).start();
        leader.wait_for("checkpoint completed");
        former.signal("CONT");
        assert_fenced(&former.wait());
        leader.wait().expect_code(0);
        assert_nothing_is_left(folder.path());
        assert_each_line_once(folder.path(), "after the former leader has gone on");
    }
}

/// The former leader goes on when the job is long finished.
#[test]
fn a_leader_that_goes_on_after_the_end_of_the_job_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let program = program(folder.path(), FILES, &mut Random::of_test("stopped for long"));
    let mut former = program.start();
    former.wait_for("checkpoint completed checkpoint=3 ");
    former.signal("STOP");
    program.clone().set_all(&[TAKE_OVER]).run().expect_code(0);
    assert_each_line_once(folder.path(), "after the end");
    former.signal("CONT");
    assert_fenced(&former.wait());
    assert_each_line_once(folder.path(), "after the former leader has gone on");
    program.run().expect_output(&["finished in an earlier run"]);
}

/// Its latest checkpoint is still there, and another start goes on from it with a folder of its own.
#[test]
fn a_job_whose_folder_of_high_availability_is_deleted_ends_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let program = program(folder.path(), FILES, &mut Random::of_test("deleted folder"));
    let mut running = program.start();
    running.wait_for("checkpoint completed checkpoint=3 ");
    let ha = folder.path().join("ha");
    // It may write into it meanwhile.
    while ha.exists() {
        let _ = fs::remove_dir_all(&ha);
    }
    let ended = running.wait().expect_code(1).expect_output(&[
        "was deleted while the job runs",
        ha.to_str().unwrap(),
        "--from-savepoint PATH",
    ]);
    assert!(!ended.log.contains("attempt 2 starts"), "{}", ended.log);
    let latest = folder.path().join("checkpoints/latest");
    program
        .option("from-savepoint", latest.display())
        .run()
        .expect_code(0)
        .expect_output(&["starts from checkpoint"]);
    assert_each_line_once(folder.path(), "from the latest checkpoint");
}

#[test]
fn of_programs_that_start_at_once_exactly_one_runs() {
    const AT_ONCE: usize = 3;
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::of_test("starts at once");
    let program = program(folder.path(), FILES, &mut random);
    for round in 0..number("MILLPOND_KILLS", 6) {
        let mut started: Vec<Running> = (0..AT_ONCE).map(|_| program.start()).collect();
        // Those that are refused end by themselves; the one that runs is killed once it has begun.
        let mut refused = 0;
        while refused < AT_ONCE - 1 {
            let ended = started
                .iter_mut()
                .position(|running| running.ends_within(random.milliseconds(1..5)));
            let Some(ended) = ended else { continue };
            let ended = started.remove(ended).wait();
            ended.expect_code(2).expect_output(&["is run by"]);
            refused += 1;
        }
        let mut leader = started.pop().unwrap();
        leader.wait_for(" starts ");
        leader.ends_within(random.milliseconds(0..400));
        let ended = leader.kill();
        assert!(ended.was_killed(), "round {round}: {}", ended.log);
    }
    program.run().expect_code(0);
    assert_each_line_once(folder.path(), "after all rounds");
}

/// All take the job over from each other in the same moment: the last of them runs it to its end, whatever the others had begun.
#[test]
fn of_programs_that_take_over_at_once_one_comes_to_the_end_and_each_line_is_there_once() {
    for round in 0..number("MILLPOND_KILLS", 3) {
        let folder = tempfile::tempdir().unwrap();
        let program = program(folder.path(), HEAP, &mut Random::of_test("take-overs at once"));
        let taking_over = program.clone().set_all(&[TAKE_OVER]);
        let started: Vec<Running> = (0..3).map(|_| taking_over.start()).collect();
        let ended: Vec<Ended> = started.into_iter().map(Running::wait).collect();
        let (finished, lost): (Vec<_>, Vec<_>) = ended.iter().partition(|ended| ended.status.success());
        assert_eq!(finished.len(), 1, "round {round}: {ended:#?}");
        for lost in lost {
            assert!(
                lost.log.contains("has taken the job over"),
                "round {round}: {}",
                lost.log
            );
        }
        assert_each_line_once(folder.path(), &format!("round {round}"));
    }
}
