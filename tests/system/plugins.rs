//! A state backend from a library that was built outside the workspace, dropped into a plugins folder and named in a config file.

use crate::harness::{
    Program, Random, assert_exactly, awk_lines, finished_lines, lines_of, number, write_text,
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

fn file_name() -> String {
    format!("{DLL_PREFIX}redb_backend{DLL_SUFFIX}")
}

/// A word count over a small text in `folder`, on the backend `name` from the library; with its configuration in a file.
fn word_count(folder: &Path, library: &Path, name: &str) -> Program {
    let (plugins, conf) = (folder.join("plugins"), folder.join("conf"));
    fs::create_dir_all(&plugins).unwrap();
    fs::create_dir_all(&conf).unwrap();
    fs::copy(library, plugins.join(file_name())).unwrap();
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

#[test]
fn a_job_on_the_example_backend_is_exact_however_often_it_is_killed() {
    let library = redb_library(None);
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::of_test("kill loop on the example backend");
    let kills = number("MILLPOND_KILLS", 5).div_ceil(2);
    let run_ms = kills * 1500;
    for kill in 0..=kills {
        // By its path too.
        let name = random
            .pick(&["redb", "PATH"])
            .replace("PATH", library.to_str().unwrap());
        let mut program =
            word_count(folder.path(), &library, &name).option("parallelism", 1 + random.below(3));
        if kill == kills {
            program.run().expect_code(0);
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
    }
    let found = finished_lines(&folder.path().join("output"));
    assert_exactly(&found, &awk_lines(&folder.path().join("input")), "after kills");
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
