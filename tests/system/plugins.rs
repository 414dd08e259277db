//! State backends from libraries, dropped into a plugins folder and named in a config file: one that was built outside the workspace, and the filesystem
//! backend, which the program also has built in.

use crate::harness::{
    JobFolder, Program, Random, assert_exactly, awk_lines, finished_lines, job_folders, lines_of, number,
    write_text,
};
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the redb example; by `toolchain` if one is given. Costs nothing after `cargo xtask plugins`.
pub(crate) fn redb_library(toolchain: Option<&str>) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/examples/redb-backend");
    let target = match (toolchain, std::env::var_os("CARGO_TARGET_DIR")) {
        (Some(toolchain), _) => Path::new(env!("CARGO_TARGET_TMPDIR")).join(toolchain),
        (None, Some(target)) => PathBuf::from(target),
        (None, None) => folder.join("target"),
    };
    let mut cargo = match toolchain {
        None => Command::new(env!("CARGO")),
        Some(toolchain) => {
            let mut cargo = Command::new("cargo");
            cargo.arg(format!("+{toolchain}"));
            cargo
        }
    };
    let output = cargo
        .args(["build", "--release", "--lib", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    target.join("release").join(file_name())
}

/// Builds the filesystem backend as a library. Costs nothing after `cargo xtask plugins`.
pub(crate) fn filesystem_library() -> PathBuf {
    // The folder that the program under test was built in, which has one folder for each profile.
    let target = Path::new(env!("CARGO_BIN_EXE_subject"))
        .ancestors()
        .nth(2)
        .unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["rustc", "--release", "--lib", "--package", "millpond-backend-fs"])
        .args(["--features", "plugin", "--crate-type", "cdylib", "--target-dir"])
        .arg(target)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let name = format!("{DLL_PREFIX}millpond_backend_fs{DLL_SUFFIX}");
    target.join("release").join(name)
}

fn file_name() -> String {
    format!("{DLL_PREFIX}redb_backend{DLL_SUFFIX}")
}

/// A word count over a small text in `folder`, on the backend `name` from the library; with its configuration in a file.
fn word_count(folder: &Path, library: &Path, name: &str) -> Program {
    let (plugins, conf) = (folder.join("plugins"), folder.join("conf"));
    fs::create_dir_all(&plugins).unwrap();
    fs::create_dir_all(&conf).unwrap();
    fs::copy(library, plugins.join(library.file_name().unwrap())).unwrap();
    fs::write(
        conf.join("config.yaml"),
        format!(
            "state:\n  backend:\n    type: {name}\nplugins.dir: {}\n",
            plugins.display()
        ),
    )
    .unwrap();
    let input = folder.join("input");
    if !input.exists() {
        write_text(&input, 2, 200_000, &mut Random::of_test("plugins"));
    }
    Program::word_count(&folder.join("logs"))
        .option("conf", conf.display())
        .option("input", input.display())
        .option("output", folder.join("output").display())
        .durable(folder, 100)
}

#[test]
fn the_example_backend_is_found_by_its_factorys_name_and_by_its_file_name() {
    let library = redb_library(None);
    for name in [
        "acme::RedbStateBackendFactory",
        "redb",
        &file_name(),
        "redb_backend",
    ] {
        let folder = tempfile::tempdir().unwrap();
        word_count(folder.path(), &library, name)
            .run()
            .expect_code(0)
            .expect_output(&["state backend acme::RedbStateBackendFactory"]);
        let found = finished_lines(&folder.path().join("output"));
        assert_exactly(&found, &awk_lines(&folder.path().join("input")), name);
    }
}

#[test]
fn a_job_on_the_example_backend_that_is_killed_goes_on_where_it_was() {
    let library = redb_library(None);
    let folder = tempfile::tempdir().unwrap();
    // About six seconds if nobody kills it.
    let program = word_count(folder.path(), &library, "acme::RedbStateBackendFactory")
        .option("parallelism", 2)
        .option("rate", 1500);
    let mut running = program.start();
    running.wait_for("checkpoint completed");
    assert!(running.kill().was_killed());
    // Another name of the same backend, and another parallelism.
    word_count(folder.path(), &library, &file_name())
        .option("parallelism", 3)
        .run()
        .expect_code(0)
        .expect_output(&["starts from checkpoint"]);
    let found = finished_lines(&folder.path().join("output"));
    assert_exactly(&found, &awk_lines(&folder.path().join("input")), "after a kill");
}

/// Runs a word count that is killed and started again under one of `names` each time, where `PATH` is that of the library; the log has to have `expected`.
fn exact_however_often_it_is_killed(test: &str, library: &Path, names: &[&str], expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::of_test(test);
    let kills = number("MILLPOND_KILLS", 5).div_ceil(2);
    let run_ms = kills * 1500;
    for kill in 0..=kills {
        let name = random.pick(names).replace("PATH", library.to_str().unwrap());
        let mut program =
            word_count(folder.path(), library, &name).option("parallelism", 1 + random.below(3));
        if kill == kills {
            program.run().expect_code(0).expect_output(&[expected]);
            break;
        }
        program = program.option("rate", lines_of(&folder.path().join("input")) * 1000 / run_ms);
        let mut running = program.start();
        assert!(
            !running.ends_within(random.milliseconds(50..1200)),
            "{}",
            running.log()
        );
        assert!(running.kill().was_killed());
        for job in job_folders(&folder.path().join("checkpoints")) {
            JobFolder::read(&job).assert_whole(test);
        }
    }
    let found = finished_lines(&folder.path().join("output"));
    assert_exactly(&found, &awk_lines(&folder.path().join("input")), "after kills");
}

#[test]
fn a_job_on_the_example_backend_is_exact_however_often_it_is_killed() {
    exact_however_often_it_is_killed(
        "kill loop on the example backend",
        &redb_library(None),
        &["redb", "PATH"],
        "state backend acme::RedbStateBackendFactory",
    );
}

/// The factory in the library has the names of the built-in one; whoever names the library means the library.
#[test]
fn the_filesystem_backend_is_taken_from_its_library_where_the_library_is_named() {
    let library = filesystem_library();
    let file = library.file_name().unwrap().to_str().unwrap().to_owned();
    let stem = file.strip_suffix(DLL_SUFFIX).unwrap();
    for (name, from_the_library) in [
        (file.as_str(), true),
        (stem, true),
        (stem.strip_prefix(DLL_PREFIX).unwrap(), true),
        (library.to_str().unwrap(), true),
        ("filesystem", false),
        ("millpond::FsStateBackendFactory", false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let ended = word_count(folder.path(), &library, name).run().expect_code(0);
        let chosen = ended
            .log
            .lines()
            .find(|line| line.contains("state backend millpond::FsStateBackendFactory"))
            .unwrap_or_else(|| panic!("{name}:\n{}", ended.log));
        let because = chosen.find("because").unwrap();
        assert_eq!(
            chosen[..because].contains(&file),
            from_the_library,
            "{name}: {chosen}"
        );
        assert_eq!(
            chosen[..because].contains("built in"),
            !from_the_library,
            "{name}: {chosen}"
        );
        let found = finished_lines(&folder.path().join("output"));
        assert_exactly(&found, &awk_lines(&folder.path().join("input")), name);
    }
}

/// Also by the built-in backend at times, which is the same one.
#[test]
fn a_job_on_the_library_of_the_filesystem_backend_is_exact_however_often_it_is_killed() {
    let library = filesystem_library();
    let file = library.file_name().unwrap().to_str().unwrap().to_owned();
    exact_however_often_it_is_killed(
        "kill loop on the library of the filesystem backend",
        &library,
        &[&file, "PATH", "filesystem", "PATH"],
        "state backend millpond::FsStateBackendFactory",
    );
}

#[test]
fn a_library_that_another_compiler_built_carries_a_job() {
    let found = Command::new("cargo")
        .args(["+nightly", "--version"])
        .env("RUSTUP_AUTO_INSTALL", "0")
        .output();
    if !found.is_ok_and(|output| output.status.success()) {
        println!("skipped: there is no second toolchain (cargo +nightly)");
        return;
    }
    let library = redb_library(Some("nightly"));
    let folder = tempfile::tempdir().unwrap();
    word_count(folder.path(), &library, "redb").run().expect_code(0);
    let found = finished_lines(&folder.path().join("output"));
    assert_exactly(&found, &awk_lines(&folder.path().join("input")), "nightly");
}
