//! The life of output files, with a crash between any two steps.

use super::names::{Finished, Names, Writing};
use super::*;
use crate::api::{Committer, PreCommit, TwoPhaseCommitWriter};
use crate::checkpoint::{CheckpointId, CheckpointKey, Lineage, LineageId};
use crate::connectors::sinks::testing::{context, context_on};
use std::collections::BTreeMap;

type Pre = PreCommit<FileCommittable, FileWriterState>;

/// Files of a folder by name, without their lengths' meaning.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let names = list(folder).unwrap().into_iter();
    names
        .map(|name| (name.clone(), fs::read_to_string(folder.join(name)).unwrap()))
        .collect()
}

fn rows(folder: &Path) -> Vec<String> {
    let mut rows: Vec<String> = files(folder)
        .into_iter()
        .filter(|(name, _)| !name.starts_with('.'))
        .flat_map(|(_, text)| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    rows.sort();
    rows
}

fn finish(pre_commit: &mut Pre) {
    if let Some(finish) = pre_commit.finish.take() {
        finish().unwrap();
    }
}

const LINEAGE: &str = "00112233445566ff";

/// The checkpoint with this number, of a lineage that is always the same.
fn key(id: u64) -> CheckpointKey {
    CheckpointKey {
        lineage: LineageId::parse(LINEAGE).unwrap(),
        id: CheckpointId(id),
    }
}

/// The name of a finished file that was written for that checkpoint.
fn finished(subtask: u32, sequence: u64, checkpoint: u64) -> String {
    Names::new("part").finished(&Finished {
        subtask,
        sequence,
        checkpoint: key(checkpoint),
    })
}

fn pre_commit(writer: &mut FileWriter<u32>, checkpoint: u64) -> Pre {
    writer.pre_commit(key(checkpoint)).unwrap()
}

#[test]
fn rows_are_visible_when_they_are_committed_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("a/b");
    let sink = FileSink::<u32>::lines(&folder);
    sink.check_fresh_start().unwrap();
    let mut writer = sink.writer(&context(2, 3, 1), Vec::new(), &[]).unwrap();
    assert!(
        files(&folder).is_empty(),
        "nothing is created before the first row"
    );
    writer.write(&mut vec![1, 2]).unwrap();
    let mut first = pre_commit(&mut writer, 1);
    finish(&mut first);
    assert_eq!(
        files(&folder).into_iter().collect::<Vec<_>>(),
        [(".part-2-0.inprogress.00000000-1".to_owned(), "1\n2\n".to_owned())]
    );
    sink.committer(&context(2, 3, 1))
        .unwrap()
        .commit(first.committables)
        .unwrap();
    assert_eq!(
        files(&folder).into_iter().collect::<Vec<_>>(),
        [(finished(2, 0, 1), "1\n2\n".to_owned())]
    );

    let mut second = pre_commit(&mut writer, 2);
    assert!(
        second.committables.is_empty() && second.finish.take().is_none(),
        "nothing was written"
    );
    assert_eq!(second.state.next_sequence, 1);
}

/// Runs three epochs of rows and crashes after `steps` of: write, pre-commit, finish, checkpoint complete, commit. Restores the latest complete
/// checkpoint at another parallelism, replays, and looks at what is there.
fn run_with_a_crash(steps: usize) {
    let folder = tempfile::tempdir().unwrap();
    let sink = FileSink::<u32>::lines(folder.path());
    sink.check_fresh_start().unwrap();
    // What the latest complete checkpoint holds: next row, states, committables.
    let mut complete: (u32, Vec<FileWriterState>, Vec<FileCommittable>) = (0, Vec::new(), Vec::new());
    let mut left = steps;
    let mut step = || {
        left = left.saturating_sub(1);
        left > 0
    };
    'crash: {
        let mut writers: Vec<_> = (0..2)
            .map(|subtask| sink.writer(&context(subtask, 2, 1), Vec::new(), &[]).unwrap())
            .collect();
        let mut committer = sink.committer(&context(0, 2, 1)).unwrap();
        for epoch in 0..3u32 {
            for row in epoch * 10..(epoch + 1) * 10 {
                writers[row as usize % 2].write(&mut vec![row]).unwrap();
            }
            if !step() {
                break 'crash;
            }
            let mut pre_commits = Vec::new();
            for writer in &mut writers {
                pre_commits.push(pre_commit(writer, u64::from(epoch) + 1));
                if !step() {
                    break 'crash;
                }
            }
            for pre_commit in &mut pre_commits {
                finish(pre_commit);
                if !step() {
                    break 'crash;
                }
            }
            complete = (
                (epoch + 1) * 10,
                pre_commits.iter().map(|pre_commit| pre_commit.state).collect(),
                pre_commits
                    .iter()
                    .flat_map(|pre_commit| pre_commit.committables.clone())
                    .collect(),
            );
            if !step() {
                break 'crash;
            }
            for committable in &complete.2 {
                committer.commit(vec![committable.clone()]).unwrap();
                if !step() {
                    break 'crash;
                }
            }
        }
    }
    let (next_row, states, pending) = complete;
    if next_row == 0 {
        sink.check_fresh_start().unwrap();
    }
    let mut committer = sink.committer(&context(0, 3, 2)).unwrap();
    committer.commit(pending.clone()).unwrap();
    assert_eq!(
        rows(folder.path()).len(),
        next_row as usize,
        "crash after {steps}"
    );
    let mut writers: Vec<_> = (0..3)
        .map(|subtask| {
            sink.writer(&context(subtask, 3, 2), states.clone(), &pending)
                .unwrap()
        })
        .collect();
    assert!(
        files(folder.path()).keys().all(|name| !name.starts_with('.')),
        "crash after {steps}: leftovers"
    );
    for row in next_row..30 {
        writers[row as usize % 3].write(&mut vec![row]).unwrap();
    }
    for mut writer in writers {
        let mut last = pre_commit(&mut writer, 9);
        finish(&mut last);
        committer.commit(last.committables).unwrap();
    }
    let mut expected: Vec<_> = (0..30).map(|row| row.to_string()).collect();
    expected.sort();
    assert_eq!(rows(folder.path()), expected, "crash after {steps}");
    assert!(
        files(folder.path()).keys().all(|name| !name.starts_with('.')),
        "crash after {steps}"
    );
}

#[test]
fn each_row_is_there_once_whenever_it_crashed() {
    (1..=30).for_each(run_with_a_crash);
}

#[test]
fn files_of_pending_transactions_of_higher_attempts_and_of_others_are_not_swept() {
    let folder = tempfile::tempdir().unwrap();
    let keep = [
        ".part-0-1.inprogress.00000000-4",  // in the checkpoint
        ".part-0-2.inprogress.00000000-5",  // this attempt
        ".part-0-2.inprogress.00000000-6",  // a later one
        ".other-0-1.inprogress.00000000-1", // another sink
        ".part-1-1.inprogress.00000000-1",  // subtask 1 sweeps it
        "notes.txt",
    ];
    let swept = [
        ".part-0-0.inprogress.00000000-1",
        ".part-2-0.inprogress.00000000-4",
        ".part-4-9.inprogress.00000000-3",
        ".part-0-3.inprogress.12345678-5", // another run, from whose checkpoint this one was started
        ".part-0-4.inprogress.12345678-9",
    ];
    for name in keep.iter().chain(&swept) {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    let pending = FileCommittable {
        folder: None,
        temporary_name: keep[0].to_owned(),
        final_name: finished(0, 1, 4),
        len: 1,
    };
    let sink = FileSink::<u32>::lines(folder.path());
    sink.writer(&context(0, 2, 5), Vec::new(), &[pending]).unwrap();
    let mut expected = keep.map(str::to_owned);
    expected.sort();
    assert_eq!(files(folder.path()).into_keys().collect::<Vec<_>>(), expected);
}

#[test]
fn a_fresh_start_refuses_finished_files_unless_it_may_append() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = [finished(0, 0, 1), finished(1, 4, 5)];
    for name in [
        first.as_str(),
        second.as_str(),
        ".part-0-5.inprogress.00000000-2",
        "README",
    ] {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    let sink = FileSink::<u32>::lines(folder.path());
    let error = sink.check_fresh_start().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(
        error
            .message()
            .contains("already has 2 finished files of another run"),
        "{error}"
    );

    let sink = sink.append(true);
    sink.check_fresh_start().unwrap();
    sink.writer(&context(0, 1, 1), Vec::new(), &[]).unwrap();
    assert_eq!(
        files(folder.path()).into_keys().collect::<Vec<_>>(),
        ["README", first.as_str(), second.as_str()]
    );
    FileSink::<u32>::lines(folder.path())
        .prefix("other")
        .check_fresh_start()
        .unwrap();
}

#[test]
fn a_folder_that_cannot_be_used_is_refused_before_the_job_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below"), PathBuf::from("/proc/nothing")] {
        let error = FileSink::<u32>::lines(&path).check_fresh_start().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.message().contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn files_roll_at_their_size_between_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let sink = FileSink::<u32>::lines(folder.path()).roll_bytes(10);
    let mut writer = sink.writer(&context(0, 1, 1), Vec::new(), &[]).unwrap();
    for row in 100..107 {
        writer.write(&mut vec![row]).unwrap();
    }
    let mut all = pre_commit(&mut writer, 1);
    finish(&mut all);
    let lens: Vec<_> = all
        .committables
        .iter()
        .map(|file| (file.final_name.as_str(), file.len))
        .collect();
    assert_eq!(
        lens,
        [
            (finished(0, 0, 1).as_str(), 12),
            (finished(0, 1, 1).as_str(), 12),
            (finished(0, 2, 1).as_str(), 4)
        ]
    );
    assert_eq!(all.state.next_sequence, 3);
    sink.committer(&context(0, 1, 1))
        .unwrap()
        .commit(all.committables)
        .unwrap();
    assert_eq!(
        rows(folder.path()),
        (100..107).map(|row| row.to_string()).collect::<Vec<_>>()
    );
}

#[test]
fn a_commit_refuses_a_file_that_is_missing_damaged_or_in_the_way() {
    let committable = FileCommittable {
        folder: None,
        temporary_name: ".part-0-0.inprogress.00000000-1".to_owned(),
        final_name: finished(0, 0, 1),
        len: 3,
    };
    for (temporary, finished, message) in [
        (None, None, "found nothing and nothing"),
        (Some("ab"), None, "found 2 bytes and nothing"),
        (None, Some("abcd"), "found nothing and 4 bytes"),
        (Some("abc"), Some("abc"), "found 3 bytes and 3 bytes"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            (&committable.temporary_name, temporary),
            (&committable.final_name, finished),
        ] {
            if let Some(text) = text {
                fs::write(folder.path().join(name), text).unwrap();
            }
        }
        let before = files(folder.path());
        let commit = |may_be_gone| {
            FileCommitter::new(folder.path().to_owned(), may_be_gone).commit(vec![committable.clone()])
        };
        let error = commit(false).unwrap_err();
        assert!(error.message().contains(message), "{error}");
        // Only one that is nowhere may have been finished and moved away.
        let is_gone = (temporary, finished) == (None, None);
        assert_eq!(error.message().contains("allow_moved"), is_gone, "{error}");
        assert_eq!(error.kind() == ErrorKind::Configuration, is_gone, "{error}");
        assert_eq!(commit(true).is_ok(), is_gone, "{message}");
        assert!(
            error.message().contains(".part-0-0.inprogress.00000000-1"),
            "{error}"
        );
        assert_eq!(files(folder.path()), before);
    }
}

#[test]
fn pending_files_are_finished_where_they_are_when_the_folder_is_another_one_or_was_moved() {
    let parent = tempfile::tempdir().unwrap();
    let [first, second, moved] = ["first", "second", "moved"].map(|name| parent.path().join(name));
    let pending = |row| {
        let sink = FileSink::<u32>::lines(&first);
        let mut writer = sink.writer(&context(0, 1, 1), Vec::new(), &[]).unwrap();
        writer.write(&mut vec![row]).unwrap();
        let mut pending = pre_commit(&mut writer, 1);
        finish(&mut pending);
        pending.committables
    };
    let commit = |folder: &Path, pending| {
        let sink = FileSink::<u32>::lines(folder);
        create_folder(folder).unwrap();
        sink.committer(&context(0, 1, 1))
            .unwrap()
            .commit(pending)
            .unwrap();
    };
    let committables = pending(1);
    for _ in 0..2 {
        commit(&second, committables.clone());
        assert_eq!((rows(&first), rows(&second)), (vec!["1".to_owned()], Vec::new()));
    }
    fs::remove_dir_all(&first).unwrap();
    let committables = pending(2);
    fs::rename(&first, &moved).unwrap();
    for _ in 0..2 {
        commit(&moved, committables.clone());
        assert_eq!(rows(&moved), ["2"]);
    }
}

#[test]
fn a_folder_that_vanished_is_an_error_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let sink = FileSink::<u32>::lines(&path);
    let mut writer = sink.writer(&context(0, 1, 1), Vec::new(), &[]).unwrap();
    fs::remove_dir(&path).unwrap();
    writer.write(&mut vec![1]).unwrap();
    let error = writer.pre_commit(key(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(
        error.message().contains("out/.part-0-0.inprogress.00000000-1"),
        "{error}"
    );
}

#[test]
fn two_attempts_may_commit_the_same_files_at_the_same_time() {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> = (0..2000)
        .map(|sequence| {
            let names = Names::new("part");
            let file = FileCommittable {
                folder: None,
                temporary_name: names.in_progress(0, sequence, &Writing::new("run", 1)),
                final_name: finished(0, sequence, 1),
                len: 1,
            };
            fs::write(folder.path().join(&file.temporary_name), "x").unwrap();
            file
        })
        .collect();
    std::thread::scope(|scope| {
        let commit = || FileCommitter::new(folder.path().to_owned(), false).commit(files.clone());
        let threads = [scope.spawn(commit), scope.spawn(commit)];
        for thread in threads {
            thread.join().unwrap().unwrap();
        }
    });
    let names = list(folder.path()).unwrap();
    assert!(names.len() == 2000 && names.iter().all(|name| !name.starts_with('.')));
}

/// Runs a line of checkpoints from `first` to `last`, one row each, with all of them committed; returns what each checkpoint remembers.
fn run_line(
    sink: &FileSink<u32>,
    lineage: &Lineage,
    attempt: u64,
    restored: Option<&Pre>,
    checkpoints: std::ops::RangeInclusive<u64>,
    row: impl Fn(u64) -> u32,
) -> Vec<Pre> {
    let mut committer = sink.committer(&context(0, 1, attempt)).unwrap();
    let pending = restored
        .map(|restored| restored.committables.clone())
        .unwrap_or_default();
    committer.commit(pending.clone()).unwrap();
    let states = restored.map(|restored| restored.state).into_iter().collect();
    let context = context_on(lineage, 0, 1, attempt);
    let mut writer = sink.writer(&context, states, &pending).unwrap();
    let mut taken = Vec::new();
    for id in checkpoints {
        writer.write(&mut vec![row(id)]).unwrap();
        let mut prepared = writer.pre_commit(lineage.checkpoint(CheckpointId(id))).unwrap();
        finish(&mut prepared);
        committer.commit(prepared.committables.clone()).unwrap();
        taken.push(prepared);
    }
    taken
}

/// Each line writes rows that tell which it is, of one length, so that a file of another line would pass for the right one by its length.
#[test]
fn whoever_goes_back_sees_the_rows_of_one_line_and_can_go_forward_again() {
    let folder = tempfile::tempdir().unwrap();
    let sink = FileSink::<u32>::lines(folder.path());
    let row = |line: u32| move |id: u64| line * 100 + u32::try_from(id).unwrap();
    let expect = |expected: &[u32]| {
        let expected: Vec<_> = expected.iter().map(u32::to_string).collect();
        assert_eq!(rows(folder.path()), expected);
    };
    let first = Lineage::new();
    let taken = run_line(&sink, &first, 1, None, 1..=4, row(1));
    expect(&[101, 102, 103, 104]);

    let second = first.branch(CheckpointId(2));
    let of_second = run_line(&sink, &second, 1, Some(&taken[1]), 3..=5, row(2));
    expect(&[101, 102, 203, 204, 205]);

    // Another one from the same place.
    run_line(
        &sink,
        &first.branch(CheckpointId(2)),
        1,
        Some(&taken[1]),
        3..=3,
        row(3),
    );
    expect(&[101, 102, 303]);

    // Forward again, to lines that were left.
    run_line(
        &sink,
        &second.branch(CheckpointId(4)),
        1,
        Some(&of_second[1]),
        5..=5,
        row(4),
    );
    expect(&[101, 102, 203, 204, 405]);
    run_line(
        &sink,
        &first.branch(CheckpointId(4)),
        1,
        Some(&taken[3]),
        5..=5,
        row(5),
    );
    expect(&[101, 102, 103, 104, 505]);
    let hidden = files(folder.path())
        .into_keys()
        .filter(|name| name.starts_with('.'));
    assert_eq!(hidden.count(), 5);
}

/// The pending file of a checkpoint is gone, since another line has taken it for a leftover. A file of that line with the same number and length is not it.
#[test]
fn a_file_of_another_line_is_not_taken_for_a_committed_one() {
    let folder = tempfile::tempdir().unwrap();
    let sink = FileSink::<u32>::lines(folder.path());
    let first = Lineage::new();
    let taken = run_line(&sink, &first, 1, None, 1..=1, |_| 1);
    let mut writer = sink
        .writer(&context_on(&first, 0, 1, 2), vec![taken[0].state], &[])
        .unwrap();
    writer.write(&mut vec![2]).unwrap();
    let mut not_committed = writer.pre_commit(first.checkpoint(CheckpointId(2))).unwrap();
    finish(&mut not_committed);
    let second = first.branch(CheckpointId(1));
    let of_second = run_line(&sink, &second, 3, Some(&taken[0]), 2..=2, |_| 3);
    assert_eq!(
        of_second[0].committables[0].len,
        not_committed.committables[0].len
    );

    let mut committer = sink.committer(&context(0, 1, 4)).unwrap();
    let error = committer.commit(not_committed.committables).unwrap_err();
    assert!(error.message().contains("found nothing and nothing"), "{error}");
}
