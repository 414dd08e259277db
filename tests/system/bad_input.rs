//! Whatever is wrong before the job runs is told in one clear message, with exit code 2, and nothing is written.

use crate::harness::Program;
use std::fs;
use std::path::Path;

/// A word count that would run, in a folder of its own.
pub(crate) struct Case {
    folder: tempfile::TempDir,
    program: Program,
}

impl Case {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("text"), "some words and some more\n").unwrap();
        let program = Program::word_count(&folder.path().join("logs"))
            .option("input", folder.path().join("text").display())
            .option("output", folder.path().join("output").display());
        Self { folder, program }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn with(mut self, change: impl FnOnce(Program, &Path) -> Program) -> Self {
        self.program = change(self.program, self.folder.path());
        self
    }

    /// Runs it and expects exit code 2 and all of `parts` in the message.
    #[track_caller]
    pub(crate) fn refused(&self, parts: &[&str]) {
        self.program.run().expect_code(2).expect_output(parts);
        let output = self.path().join("output");
        let left = fs::read_dir(&output).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{left} files in {}", output.display());
    }
}

#[test]
fn a_case_that_is_not_changed_runs() {
    Case::new().program.run().expect_code(0);
}

#[test]
fn a_missing_input() {
    let case = Case::new().with(|program, _| program.option("input", "/no/such/input"));
    case.refused(&["/no/such/input", "does not exist"]);
}

#[test]
fn an_output_folder_that_is_a_file() {
    let case = Case::new().with(|_, folder| {
        fs::write(folder.join("file"), "").unwrap();
        Program::word_count(&folder.join("logs"))
            .option("input", folder.join("text").display())
            .option("output", folder.join("file").display())
    });
    case.refused(&["/file"]);
}

#[test]
fn an_output_folder_with_the_results_of_another_run() {
    let case = Case::new();
    case.program.run().expect_code(0);
    case.program
        .run()
        .expect_code(2)
        .expect_output(&["already has", "finished files of another run"]);
}

#[test]
fn an_argument_that_is_not_known() {
    Case::new()
        .with(|program, _| program.arg("--inptu").arg("x"))
        .refused(&["--inptu", "--input"]);
}

#[test]
fn a_missing_configuration_folder() {
    Case::new()
        .with(|program, folder| program.option("conf", folder.join("nothing").display()))
        .refused(&["nothing"]);
}

#[test]
fn malformed_yaml_with_line_and_column() {
    Case::new()
        .with(|program, folder| {
            fs::write(
                folder.join("config.yaml"),
                "parallelism:\n  default: 1\nstate: [1, 2\n",
            )
            .unwrap();
            program.option("conf", folder.display())
        })
        .refused(&["config.yaml:4:1", "malformed YAML"]);
}

#[test]
fn a_misspelt_state_backend_with_the_nearest_name() {
    Case::new()
        .with(|program, _| program.set("state.backend", "rocksbd"))
        .refused(&["rocksbd", "rocksdb"]);
}

#[test]
fn a_backend_that_is_in_no_plugin() {
    Case::new()
        .with(|program, folder| {
            fs::create_dir(folder.join("plugins")).unwrap();
            program
                .set("state.backend", "acme::NoSuchBackendFactory")
                .set("plugins.dir", folder.join("plugins").display())
        })
        .refused(&["acme::NoSuchBackendFactory", "plugins"]);
}

#[test]
fn a_plugin_that_is_a_text_file() {
    Case::new()
        .with(|program, folder| {
            fs::create_dir(folder.join("plugins")).unwrap();
            fs::write(folder.join("plugins/libacme.so"), "this is no library").unwrap();
            program
                .set("state.backend", "acme::NoSuchBackendFactory")
                .set("plugins.dir", folder.join("plugins").display())
        })
        .refused(&["acme::NoSuchBackendFactory", "libacme.so"]);
}

#[test]
fn a_checkpoint_folder_that_cannot_be_written() {
    for (path, part) in [
        ("/proc/checkpoints", "/proc/checkpoints"),
        ("FOLDER/text/below", "text/below"),
    ] {
        Case::new()
            .with(|program, folder| {
                let path = path.replace("FOLDER", folder.to_str().unwrap());
                program
                    .set("execution.checkpointing.interval", "100 ms")
                    .set("execution.checkpointing.dir", format!("file://{path}"))
            })
            .refused(&[part]);
    }
}

#[test]
fn a_high_availability_folder_that_cannot_be_written() {
    Case::new()
        .with(|program, folder| {
            program
                .durable(folder, 100)
                .set("high-availability.storageDir", "file:///proc/ha")
        })
        .refused(&["/proc/ha"]);
}

#[test]
fn an_interval_of_zero() {
    Case::new()
        .with(|program, _| program.set("execution.checkpointing.interval", "0 ms"))
        .refused(&["execution.checkpointing.interval", "0"]);
}

#[test]
fn a_value_that_is_no_duration() {
    Case::new()
        .with(|program, _| program.set("execution.checkpointing.interval", "soon"))
        .refused(&["execution.checkpointing.interval", "soon"]);
}

#[test]
fn a_parallelism_of_zero_or_above_the_maximum() {
    Case::new()
        .with(|program, _| program.option("parallelism", 0))
        .refused(&["parallelism", "0"]);
    Case::new()
        .with(|program, _| program.set("parallelism.default", 0))
        .refused(&["parallelism.default", "0"]);
    Case::new()
        .with(|program, _| {
            program
                .option("parallelism", 5)
                .set("pipeline.max-parallelism", 4)
        })
        .refused(&["parallelism", "5", "4"]);
    Case::new()
        .with(|program, _| program.option("parallelism", 40_000))
        .refused(&["parallelism", "40000"]);
}

#[test]
fn a_rate_of_nothing() {
    for rate in ["0", "-1", "NaN", "fast"] {
        Case::new()
            .with(|program, _| program.arg(format!("--rate={rate}")))
            .refused(&["--rate", rate]);
    }
}

#[test]
fn a_time_to_live_of_nothing_or_less() {
    for (ttl, parts) in [
        ("0", ["time to live of 0ns", "too short"]),
        ("-1", ["--ttl", "-1"]),
        (
            "9223372036854775808",
            ["time to live of 9223372036854775.808s", "for ever"],
        ),
    ] {
        let case = Case::new();
        Program::subject(&case.path().join("logs"), "expiring")
            .option("output", case.path().join("output").display())
            .option("records", 10)
            .option("rate", 10)
            .option("near", 1)
            .option("far", 2)
            .arg(format!("--ttl={ttl}"))
            .durable(case.path(), 100)
            .run()
            .expect_code(2)
            .expect_output(&parts);
        // Nothing has begun.
        for folder in ["output", "checkpoints", "ha"] {
            assert!(!case.path().join(folder).exists(), "{folder} with a ttl of {ttl}");
        }
    }
}

#[test]
fn a_savepoint_folder_without_metadata() {
    Case::new()
        .with(|program, folder| {
            fs::create_dir(folder.join("savepoint")).unwrap();
            program.option("from-savepoint", folder.join("savepoint").display())
        })
        .refused(&["savepoint", "_metadata"]);
}

/// The folder of a checkpoint that a job left behind.
fn retained_checkpoint(case: &Case) -> std::path::PathBuf {
    let checkpoints = case.path().join("retained");
    let text = "some words that take a while\n".repeat(200);
    fs::write(case.path().join("long"), text).unwrap();
    let mut running = Program::word_count(&case.path().join("logs"))
        .option("input", case.path().join("long").display())
        .option("output", case.path().join("first-output").display())
        .option("rate", 20)
        .set("execution.checkpointing.interval", "50 ms")
        .set(
            "execution.checkpointing.dir",
            format!("file://{}", checkpoints.display()),
        )
        .start();
    // Killed as soon as one is complete, so it stays.
    let find = || {
        let jobs = fs::read_dir(&checkpoints).ok()?;
        let mut found = jobs
            .filter_map(|job| fs::read_dir(job.unwrap().path()).ok())
            .flat_map(|checkpoints| checkpoints.map(|checkpoint| checkpoint.unwrap().path()))
            .filter(|path| path.join("_metadata").is_file());
        found.next()
    };
    while find().is_none() {
        assert!(
            !running.ends_within(std::time::Duration::from_millis(5)),
            "{}",
            running.log()
        );
    }
    running.kill();
    find().unwrap()
}

#[test]
fn metadata_that_is_cut_or_flipped() {
    let case = Case::new();
    let checkpoint = retained_checkpoint(&case);
    let metadata = checkpoint.join("_metadata");
    let whole = fs::read(&metadata).unwrap();
    let case = case.with(|program, _| program.option("from-savepoint", checkpoint.display()));
    for len in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(&metadata, &whole[..len]).unwrap();
        case.refused(&["_metadata"]);
    }
    for at in [0, 9, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        fs::write(&metadata, flipped).unwrap();
        case.refused(&["_metadata"]);
    }
}

#[test]
fn a_checkpoint_of_another_job() {
    let case = Case::new();
    let checkpoint = retained_checkpoint(&case);
    Program::subject(&case.path().join("logs"), "numbered-events")
        .option("output", case.path().join("output").display())
        .option("keys", 12)
        .option("per-key", 10)
        .option("from-savepoint", checkpoint.display())
        .run()
        .expect_code(2)
        .expect_output(&["execution.state-recovery.ignore-unclaimed-state"]);
    Program::subject(&case.path().join("logs"), "numbered-events")
        .option("output", case.path().join("output").display())
        .option("keys", 12)
        .option("per-key", 10)
        .option("from-savepoint", checkpoint.display())
        .set("execution.state-recovery.ignore-unclaimed-state", true)
        .run()
        .expect_code(0);
}
