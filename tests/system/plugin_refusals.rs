//! Backends that cannot be had: each is told in one message with exit code 2, before anything runs.

use crate::harness::Program;
use crate::plugins::redb_library;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A word count that would run if its backend could be had, with its configuration in a file.
struct Case {
    folder: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("plugins")).unwrap();
        fs::create_dir(folder.path().join("conf")).unwrap();
        fs::write(folder.path().join("text"), "some words\n").unwrap();
        Self { folder }
    }

    /// The file of the library `stem` in the plugins folder.
    fn plugin(&self, stem: &str) -> PathBuf {
        self.folder.path().join("plugins").join(file_name(stem))
    }

    fn word_count(&self, backend: &str) -> Program {
        let folder = self.folder.path();
        let plugins = folder.join("plugins");
        let text = format!(
            "state.backend.type: {backend}\nplugins.dir: {}\n",
            plugins.display()
        );
        fs::write(folder.join("conf/config.yaml"), text).unwrap();
        Program::word_count(&folder.join("logs"))
            .option("conf", folder.join("conf").display())
            .option("input", folder.join("text").display())
            .option("output", folder.join("output").display())
            .durable(folder, 100)
    }

    /// Names `backend` in the configuration, which must be refused with all of `parts`.
    #[track_caller]
    fn refused(&self, backend: &str, parts: &[&str]) {
        let ended = self.word_count(backend).run().expect_code(2).expect_output(parts);
        for part in ["config.yaml:1", &format!("'{backend}'")] {
            assert!(ended.log.contains(part), "no '{part}' in:\n{}", ended.log);
        }
        for made in ["output", "checkpoints", "ha"] {
            assert!(!self.folder.path().join(made).exists(), "{made} was made");
        }
    }
}

fn file_name(stem: &str) -> String {
    format!("{DLL_PREFIX}{stem}{DLL_SUFFIX}")
}

#[test]
fn a_name_that_nobody_has_is_told_with_all_that_was_searched() {
    let case = Case::new();
    fs::copy(redb_library(None), case.plugin("redb_backend")).unwrap();
    fs::write(case.plugin("notes"), "to whom it may concern").unwrap();
    let plugins = case.folder.path().join("plugins");
    case.refused(
        "rebd",
        &[
            "did you mean 'redb'?",
            "known: redb = acme::RedbStateBackendFactory",
            "millpond::MemoryStateBackendFactory",
            &format!("searched: {}", plugins.display()),
            "refused: ",
            "a text file that starts with 'to whom it may concern'",
        ],
    );
}

#[test]
fn a_file_that_is_not_there_is_told_with_the_places() {
    let case = Case::new();
    let file = case.plugin("redb_backend");
    case.refused(
        &file_name("redb_backend"),
        &["no state backend library", file.to_str().unwrap()],
    );
    case.refused(file.to_str().unwrap(), &["no state backend library", "looked at"]);
}

#[test]
fn a_text_file_is_told_from_a_library() {
    let case = Case::new();
    fs::write(case.plugin("acme"), "this is no library\nat all\n").unwrap();
    for name in ["acme", &file_name("acme"), case.plugin("acme").to_str().unwrap()] {
        case.refused(
            name,
            &["not a shared library but a text file that starts with 'this is no library'"],
        );
    }
}

#[test]
fn a_library_without_a_backend_is_told_from_one_with() {
    let case = Case::new();
    let source = case.folder.path().join("plain.c");
    fs::write(&source, "int nothing_to_see_here(void) { return 42; }\n").unwrap();
    let status = Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".to_owned()))
        .args(["-shared", "-fPIC", "-o"])
        .arg(case.plugin("plain"))
        .arg(&source)
        .status()
        .unwrap();
    assert!(status.success());
    for name in [
        "plain",
        &file_name("plain"),
        case.plugin("plain").to_str().unwrap(),
    ] {
        case.refused(name, &["a shared library but not a Millpond state backend"]);
    }
}

#[test]
fn a_name_in_two_libraries_is_told_with_both_and_the_way_out() {
    let case = Case::new();
    for stem in ["redb_one", "redb_two"] {
        fs::copy(redb_library(None), case.plugin(stem)).unwrap();
    }
    for name in ["redb", "acme::RedbStateBackendFactory"] {
        case.refused(
            name,
            &[
                "any of 2 state backends",
                &file_name("redb_one"),
                &file_name("redb_two"),
                "name one by the file of its library",
            ],
        );
    }
    // The way out.
    case.word_count("redb_two").run().expect_code(0);
}

#[test]
fn a_library_for_another_version_of_the_boundary_is_told_with_both_versions() {
    let own = env!("CARGO_PKG_VERSION");
    for version in ["0.99.0", "9.0.0"] {
        let case = Case::new();
        fs::copy(library_for(version), case.plugin("future")).unwrap();
        for name in [
            "future",
            &file_name("future"),
            case.plugin("future").to_str().unwrap(),
        ] {
            case.refused(
                name,
                &[
                    "of another version",
                    &format!("millpond-backend-api {version}"),
                    &format!("needs {own}"),
                ],
            );
        }
        // By the name of its factory it cannot be found, since nobody can ask it.
        case.refused(
            "acme::FutureFactory",
            &["refused: ", &format!("millpond-backend-api {version}")],
        );
    }
}

/// A library with a state backend, built against a copy of `backend-api` that says it is `version`. Kept from run to run.
fn library_for(version: &str) -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let workshop = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-refusals");
    let api = workshop.join(format!("api-{version}"));
    let manifest = fs::read_to_string(workspace.join("Cargo.toml")).unwrap();
    let manifest: String = manifest
        .lines()
        .map(|line| match line {
            line if line.starts_with("version = ") => format!("version = \"{version}\"\n"),
            line if line.starts_with("members = ") => "members = [\"backend-api\"]\n".to_owned(),
            line => format!("{line}\n"),
        })
        .collect();
    write(&api.join("Cargo.toml"), &manifest);
    copy_sources(&workspace.join("backend-api"), &api.join("backend-api"));

    let package = format!("future-{}", version.replace('.', "-"));
    let folder = workshop.join(&package);
    write(
        &folder.join("Cargo.toml"),
        &format!(
            "[package]\nname = \"{package}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\n[lib]\ncrate-type = \
             [\"cdylib\"]\npath = \"lib.rs\"\n\n[profile.dev]\ndebug = false\n\n[dependencies]\nmillpond-backend-api = {{ path = \
             {:?} }}\n",
            api.join("backend-api")
        ),
    );
    // The backend with which the engine's own tests of the loader are done.
    let model = workspace.join("engine/src/backend/testing/model.rs");
    write(
        &folder.join("lib.rs"),
        &format!(
            "#[path = {model:?}]\nmod model;\n\nmillpond_backend_api::export_backends!(model::ModelFactory {{ name: \
             \"acme::FutureFactory\", short_names: &[\"acme\"], version: \"1\" }});\n"
        ),
    );
    // The versions of the workspace, which are there without asking a registry.
    write(
        &folder.join("Cargo.lock"),
        &fs::read_to_string(workspace.join("Cargo.lock")).unwrap(),
    );
    let target = workshop.join("target");
    let output = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", &target)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{package}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    target.join("debug").join(file_name(&package.replace('-', "_")))
}

/// Writes a file unless it has these contents, so that cargo builds nothing anew without need.
fn write(path: &Path, contents: &str) {
    if fs::read_to_string(path).is_ok_and(|found| found == contents) {
        return;
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, contents).unwrap();
}

fn copy_sources(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_sources(&path, &target);
        } else if let Ok(text) = fs::read_to_string(&path) {
            write(&target, &text);
        }
    }
}
