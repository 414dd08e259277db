//! Damage in the latest checkpoint of a program that was killed: started again it fails and says how to go on, which then works; or it goes back by itself.
//!
//! Every byte of a small checkpoint is tried in `engine/tests/damage`; here it is whole programs, and damage that is found long after the start. That in files of RocksDB is in
//! `rocksdb/damage`.

use crate::harness::{Ended, Program, assert_exactly, checkpoints_below, finished_lines};
use millpond_engine::checkpoint::{CheckpointMetadata, FileLocation, restore};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const KEYS: u64 = 16;
/// How often each of the early keys comes before the others and after them.
const EARLY: u64 = 20;

/// How much there is in between.
#[derive(Clone, Copy, Debug)]
struct Between {
    /// How often each key comes.
    times: u64,
    /// Bytes behind each text.
    padding: u64,
    /// The rate until the kill, by which the early keys are through long before it.
    rate: u64,
}

const SHORT_TEXTS: Between = Between {
    times: 400,
    padding: 0,
    rate: 2000,
};
/// Those of all keys together have more than a mebibyte.
const LONG_TEXTS: Between = Between {
    times: 50,
    padding: 100_000,
    rate: 300,
};

/// The rate after it.
const RATE_AGAIN: u64 = 8000;

/// What it says before it touches the early keys again.
const LATE: &str = "the late records begin";

/// A program that was killed while it was busy with the keys in between, with checkpoints.
pub(crate) struct Left {
    folder: tempfile::TempDir,
    /// How it is started again.
    pub(crate) program: Program,
    /// The checkpoints that are kept, oldest first.
    kept: Vec<PathBuf>,
    between: Between,
}

/// Snapshots that each stand alone, in files.
const ALONE: [(&str, &str); 3] = [
    ("state.backend.type", "filesystem"),
    ("execution.checkpointing.incremental", "false"),
    ("execution.checkpointing.data-inline-threshold", "0 b"),
];
/// Increments, in files.
const INCREMENTS: [(&str, &str); 2] = [
    ("state.backend.type", "filesystem"),
    ("execution.checkpointing.data-inline-threshold", "0 b"),
];
/// All inside of the metadata.
const INLINE: [(&str, &str); 1] = [("state.backend.type", "filesystem")];

impl Left {
    /// With high availability, so that the program goes on by itself when it is started again.
    pub(crate) fn durable(settings: &[(&str, &str)]) -> Self {
        Self::by(settings, SHORT_TEXTS, |program, folder| {
            program.durable(folder, 50)
        })
    }

    /// The same with long texts.
    pub(crate) fn with_long_texts(settings: &[(&str, &str)]) -> Self {
        Self::by(settings, LONG_TEXTS, |program, folder| {
            program.durable(folder, 50)
        })
    }

    /// Without, so that a checkpoint has to be named.
    fn named(settings: &[(&str, &str)]) -> Self {
        Self::by(settings, SHORT_TEXTS, |program, folder| {
            program.set("execution.checkpointing.interval", "50 ms").set(
                "execution.checkpointing.dir",
                format!("file://{}/checkpoints", folder.display()),
            )
        })
    }

    fn by(
        settings: &[(&str, &str)],
        between: Between,
        checkpoints: impl Fn(Program, &Path) -> Program,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut program = checkpoints(late_reader(folder.path(), between), folder.path())
            .set("execution.checkpointing.num-retained", 3);
        for (key, value) in settings {
            program = program.set(key, value);
        }
        let mut running = program.clone().option("rate", between.rate).start();
        running.wait_for("checkpoint completed checkpoint=10 ");
        assert!(running.kill().was_killed());
        let mut left = Self {
            folder,
            program,
            kept: Vec::new(),
            between,
        };
        left.look();
        left
    }

    /// Looks which checkpoints are kept.
    fn look(&mut self) {
        let kept = checkpoints_below(&self.folder.path().join("checkpoints"));
        self.kept = kept.into_iter().map(|(_, path)| path).collect();
        assert!(self.kept.len() >= 2, "{:?}", self.kept);
    }

    /// Runs it again, as `change` says, until its latest checkpoints are as `wanted`, and kills it.
    pub(crate) fn run_until(
        mut self,
        change: impl FnOnce(Program) -> Program,
        wanted: impl Fn(&CheckpointMetadata) -> bool,
    ) -> Self {
        let mut running = change(self.program.clone().option("rate", self.between.rate)).start();
        loop {
            assert!(
                !running.ends_within(Duration::from_millis(5)),
                "{}",
                running.log()
            );
            self.look();
            // One that is read while it is removed is not wanted.
            let is_wanted = |path: &PathBuf| restore::load(path).is_ok_and(|loaded| wanted(&loaded.metadata));
            if self.kept.iter().all(is_wanted) {
                break;
            }
        }
        assert!(running.kill().was_killed());
        self.look();
        self
    }

    pub(crate) fn latest(&self) -> &Path {
        self.kept.last().unwrap()
    }

    /// The files that the latest checkpoint has and no older one.
    pub(crate) fn newest_files(&self) -> Vec<PathBuf> {
        let (latest, older) = self.kept.split_last().unwrap();
        let older: BTreeSet<_> = older.iter().flat_map(|path| files_of(path)).collect();
        files_of(latest)
            .into_iter()
            .filter(|file| !older.contains(file))
            .collect()
    }

    pub(crate) fn run_again(&self, change: impl FnOnce(Program) -> Program) -> Ended {
        let ended = change(self.program.clone().option("rate", RATE_AGAIN)).run();
        assert!(!ended.log.contains("FAULT"), "{}", ended.log);
        assert!(!ended.log.contains("panicked"), "{}", ended.log);
        ended
    }

    /// That every result is there once, whatever was committed after the checkpoint that the job went back to.
    #[track_caller]
    pub(crate) fn assert_results(&self, what: &str) {
        let found = finished_lines(&self.folder.path().join("output"));
        let counts = (0..2 * KEYS).flat_map(|key| {
            let count = if key < KEYS { 2 * EARLY } else { self.between.times };
            (1..=count).map(move |count| format!("{key} {count}").into_bytes())
        });
        let mut expected: Vec<_> = counts.collect();
        expected.sort_unstable();
        assert_exactly(&found, &expected, what);
    }
}

fn late_reader(folder: &Path, between: Between) -> Program {
    Program::subject(&folder.join("logs"), "late-reader")
        .option("output", folder.join("output").display())
        .option("keys", KEYS)
        .option("early", EARLY)
        .option("between", between.times)
        .option("padding", between.padding)
        .set(
            "execution.checkpointing.externalized-checkpoint-retention",
            "RETAIN_ON_CANCELLATION",
        )
}

/// The files that a checkpoint names.
fn files_of(checkpoint: &Path) -> Vec<PathBuf> {
    let loaded = restore::load(checkpoint).unwrap();
    let files = loaded.metadata.subtasks().flat_map(|subtask| subtask.files());
    files
        .filter_map(|file| match &file.location {
            FileLocation::File(path) => Some(PathBuf::from(path)),
            FileLocation::Inline(_) => None,
        })
        .collect()
}

pub(crate) fn flip(path: &Path, at: impl FnOnce(&[u8]) -> usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at(&bytes);
    bytes[at] ^= 4;
    // A new file, as nobody writes a mapped one.
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

pub(crate) fn cut(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::remove_file(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

/// Where the text of an early key is that shares its key group, and so its section, with no other key: a restored program does not touch it for long.
fn early_text(bytes: &[u8]) -> usize {
    let text = format!("key 0007 was seen {EARLY:06} times");
    let found = bytes
        .windows(text.len())
        .position(|window| window == text.as_bytes());
    found.unwrap() + 5
}

/// Where the text of any key is.
fn any_text(bytes: &[u8]) -> usize {
    let text = b" was seen ";
    bytes
        .windows(text.len())
        .position(|window| window == text)
        .unwrap()
}

/// The program fails by default with `code` and each of `parts`, again and again, and goes back when it is started as the message says.
pub(crate) fn fails_and_goes_back_when_told(left: &Left, code: i32, parts: &[&str], what: &str) {
    for _ in 0..2 {
        left.run_again(|program| program)
            .expect_code(code)
            .expect_output(parts)
            .expect_output(&["-D execution.state-recovery.on-damage=previous"]);
    }
    left.run_again(|program| program.set("execution.state-recovery.on-damage", "previous"))
        .expect_code(0)
        .expect_output(&["previous"]);
    left.assert_results(what);
}

pub(crate) fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

#[test]
fn damage_that_only_the_sweep_sees_ends_the_job_at_the_next_checkpoint() {
    let left = Left::durable(&ALONE);
    let [file] = left.newest_files().try_into().unwrap();
    flip(&file, early_text);
    let untouched = left
        .program
        .clone()
        .option("rate", left.between.rate)
        .run()
        .expect_code(1);
    assert!(!untouched.log.contains(LATE), "{}", untouched.log);
    let parts = [
        name(&file),
        "section of state \"text\" in key group ",
        ", offset ",
        "expected CRC32",
        "found",
    ];
    fails_and_goes_back_when_told(&left, 1, &parts, "damage in a section");
}

/// Starts from the checkpoint at `path`; without checkpoints of its own, so that nobody asks the sweep.
fn from(program: Program, path: &str) -> Program {
    program
        .option("from-savepoint", path)
        .set("execution.checkpointing.interval", "1 h")
}

/// The path in the command that a failed program names.
fn path_in_command(ended: &Ended) -> PathBuf {
    let command = ended.log.split("--from-savepoint '").last().unwrap();
    let (path, _) = command.split_once('\'').unwrap();
    PathBuf::from(path)
}

#[test]
fn damage_at_the_first_touch_names_a_command_that_works() {
    let left = Left::named(&ALONE);
    let [file] = left.newest_files().try_into().unwrap();
    flip(&file, early_text);
    let latest = left.latest().to_str().unwrap();
    let parts = [
        name(&file),
        "section of state \"text\" in key group ",
        ", offset ",
        "expected CRC32",
    ];
    let failed = left.run_again(|program| from(program, latest)).expect_code(1);
    let path = path_in_command(&failed.expect_output(&parts).expect_output(&[LATE]));
    assert_eq!(path, left.kept[left.kept.len() - 2]);
    let command = |program| from(program, path.to_str().unwrap());
    left.run_again(command).expect_code(0);
    left.assert_results("from the older checkpoint");
}

#[test]
fn a_named_checkpoint_with_a_damaged_file_gives_way_to_the_one_before_it_if_that_is_wanted() {
    for early in [true, false] {
        let left = Left::named(&ALONE);
        let [file] = left.newest_files().try_into().unwrap();
        if early {
            flip(&file, early_text);
        } else {
            cut(&file);
        }
        let latest = left.latest().to_str().unwrap();
        left.run_again(|program| from(program, latest).set("execution.state-recovery.on-damage", "previous"))
            .expect_code(0)
            .expect_output(&[left.kept[left.kept.len() - 2].to_str().unwrap()]);
        left.assert_results("from the one before it");
    }
}

#[test]
fn the_command_passes_over_older_checkpoints_that_share_the_damaged_file() {
    let left = Left::named(&INCREMENTS);
    let names = |checkpoint: usize, file: &PathBuf| files_of(&left.kept[checkpoint]).contains(file);
    let last = left.kept.len() - 1;
    let mut shared = files_of(left.latest()).into_iter().rev();
    let damaged = shared.find(|file| names(last - 1, file) && !names(0, file));
    // A base was written in between: then nothing is shared by just these two.
    let Some(file) = damaged else {
        eprintln!("the last two checkpoints share no file of their own: not tested");
        return;
    };
    cut(&file);
    let latest = left.latest().to_str().unwrap();
    let failed = left.run_again(|program| from(program, latest)).expect_code(2);
    let path = path_in_command(&failed.expect_output(&[name(&file)]));
    assert!(!files_of(&path).contains(&file), "{}", path.display());
    let command = |program| from(program, path.to_str().unwrap());
    left.run_again(command).expect_code(0);
    left.assert_results("from a checkpoint without the file");
}

#[test]
fn a_damaged_header_a_short_file_and_a_missing_one_are_found_before_anything_runs() {
    let left = Left::durable(&ALONE);
    let [file] = left.newest_files().try_into().unwrap();
    let whole = fs::read(&file).unwrap();
    flip(&file, |_| 3);
    let parts = [name(&file), "header, offset 0", "mpmapped", "on-damage=previous"];
    left.run_again(|program| program)
        .expect_code(2)
        .expect_output(&parts);
    fs::remove_file(&file).unwrap();
    fs::write(&file, &whole).unwrap();
    cut(&file);
    let parts = [name(&file), "expected", "on-damage=previous"];
    left.run_again(|program| program)
        .expect_code(2)
        .expect_output(&parts);
    fs::remove_file(&file).unwrap();
    let parts = [name(&file), "cannot open"];
    fails_and_goes_back_when_told(&left, 2, &parts, "a file is missing");
}

#[test]
fn damage_in_the_newest_increment_costs_that_increment() {
    let left = Left::durable(&INCREMENTS);
    let files = left.newest_files();
    assert!(
        !files.is_empty() && files.len() < files_of(left.latest()).len(),
        "{files:?}"
    );
    flip(&files[0], any_text);
    let parts = [name(&files[0]), "section of state \"text\"", "expected CRC32"];
    fails_and_goes_back_when_told(&left, 1, &parts, "damage in an increment");
}

/// The metadata that high availability keeps of the latest checkpoint.
fn metadata_of_high_availability(left: &Left) -> PathBuf {
    let folder = left.folder.path().join("ha/default/late_reader/checkpoints");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.max().unwrap()
}

#[test]
fn damaged_metadata_of_high_availability_costs_that_checkpoint() {
    for (settings, what) in [(&INLINE[..], "inline"), (&INCREMENTS[..], "files")] {
        let left = Left::durable(settings);
        let metadata = metadata_of_high_availability(&left);
        flip(&metadata, |bytes| bytes.len() / 2);
        let parts = [
            metadata.to_str().unwrap(),
            "section operators",
            "checksum",
            "expected",
        ];
        fails_and_goes_back_when_told(&left, 2, &parts, what);
    }
}

#[test]
fn metadata_of_high_availability_that_is_cut_or_missing_costs_that_checkpoint() {
    let left = Left::durable(&INLINE);
    let metadata = metadata_of_high_availability(&left);
    cut(&metadata);
    let parts = [metadata.to_str().unwrap(), "expected", "on-damage=previous"];
    left.run_again(|program| program)
        .expect_code(2)
        .expect_output(&parts);
    fs::remove_file(&metadata).unwrap();
    fails_and_goes_back_when_told(&left, 2, &[metadata.to_str().unwrap()], "metadata is missing");
}

#[test]
fn damaged_metadata_of_a_named_checkpoint_names_the_one_before_it() {
    for goes_back_by_itself in [false, true] {
        let left = Left::named(&INLINE);
        let metadata = left.latest().join("_metadata");
        flip(&metadata, |bytes| bytes.len() / 2);
        let from = |program: Program, path: &Path| program.option("from-savepoint", path.display());
        let older = &left.kept[left.kept.len() - 2];
        let failed = left
            .run_again(|program| from(program, left.latest()))
            .expect_code(2);
        failed.expect_output(&[
            metadata.to_str().unwrap(),
            "section operators",
            "expected",
            &format!("--from-savepoint '{}'", older.display()),
        ]);
        let way = |program: Program| {
            if goes_back_by_itself {
                from(program, left.latest()).set("execution.state-recovery.on-damage", "previous")
            } else {
                from(program, older)
            }
        };
        left.run_again(way)
            .expect_code(0)
            .expect_output(&[older.to_str().unwrap()]);
        left.assert_results("from the one before it");
    }
}
