//! Loads real libraries: good ones, two versions at once, and every kind that must be refused.
//!
//! The libraries are built here, by the cargo that runs the tests and from the locked dependencies of the workspace, as somebody
//! outside would build them: a crate of its own that knows `millpond-backend-api` only.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use millpond_engine::backend::{
    BackendRegistry, BackendSettings, FactoryOrigin, Library, LoadError, PluginLoader, RefusalKind, Setting,
};
use std::collections::BTreeMap;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the workspace.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Where the libraries are built; kept from run to run.
fn workshop() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("plugin-loading")
}

/// Writes a file unless it has these contents already, so that cargo builds only what changed since the last run; returns whether
/// it did.
fn write(path: &Path, contents: &str) -> bool {
    if std::fs::read_to_string(path).is_ok_and(|found| found == contents) {
        return false;
    }
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, contents).unwrap();
    true
}

fn manifest(package: &str, api: &Path) -> String {
    format!(
        "[package]\nname = \"{package}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [lib]\ncrate-type = [\"cdylib\"]\npath = \"lib.rs\"\n\n[profile.dev]\ndebug = false\n\n\
         [dependencies]\nmillpond-backend-api = {{ path = {api:?} }}\n"
    )
}

/// Builds a library that exports `factories` (fields of a `ModelFactory`) against the backend-api in `api`.
fn build_with(package: &str, factories: &[&str], api: &Path, toolchain: Option<&str>) -> PathBuf {
    let folder = workshop().join(package);
    let model = workspace().join("engine/src/backend/testing/model.rs");
    let factories: Vec<_> = factories
        .iter()
        .map(|fields| format!("model::ModelFactory {{ {fields} }}"))
        .collect();
    write(&folder.join("Cargo.toml"), &manifest(package, api));
    write(
        &folder.join("lib.rs"),
        &format!(
            "#[path = {model:?}]\nmod model;\n\nmillpond_backend_api::export_backends!({});\n",
            factories.join(", ")
        ),
    );
    // Cargo drops what the library does not need from its copy, so what it was copied from is kept beside it.
    let locked = std::fs::read_to_string(workspace().join("Cargo.lock")).unwrap();
    if write(&folder.join("workspace.lock"), &locked) {
        std::fs::write(folder.join("Cargo.lock"), locked).unwrap();
    }
    let mut command = match toolchain {
        None => Command::new(env!("CARGO")),
        Some(toolchain) => {
            let mut command = Command::new("cargo");
            command.arg(format!("+{toolchain}"));
            command
        }
    };
    let target = workshop().join(toolchain.unwrap_or("target"));
    let output = command
        .args(["build", "--offline", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{package}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    target.join("debug").join(file_name(&package.replace('-', "_")))
}

fn build(package: &str, factories: &[&str]) -> PathBuf {
    build_with(package, factories, &workspace().join("backend-api"), None)
}

/// A copy of backend-api with another version, and with `edit` applied to its `backend.rs`.
fn other_api(name: &str, version: &str, edit: impl Fn(String) -> String) -> PathBuf {
    let root = workshop().join(name);
    let manifest = std::fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
    let manifest: String = manifest
        .lines()
        .map(|line| match line {
            line if line.starts_with("version = ") => format!("version = \"{version}\"\n"),
            line if line.starts_with("members = ") => "members = [\"backend-api\"]\n".to_owned(),
            line => format!("{line}\n"),
        })
        .collect();
    write(&root.join("Cargo.toml"), &manifest);
    copy_tree(
        &workspace().join("backend-api"),
        &root.join("backend-api"),
        &|path, text| {
            if path.ends_with("src/backend.rs") {
                edit(text)
            } else {
                text
            }
        },
    );
    root.join("backend-api")
}

fn copy_tree(from: &Path, to: &Path, edit: &dyn Fn(&Path, String) -> String) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_tree(&path, &target, edit);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            write(&target, &edit(&path, text));
        }
    }
}

/// A plugins folder with copies of the given files.
fn plugins(files: &[(&Path, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (file, name) in files {
        std::fs::copy(file, folder.path().join(name)).unwrap();
    }
    folder
}

fn file_name(stem: &str) -> String {
    format!("{DLL_PREFIX}{stem}{DLL_SUFFIX}")
}

const ACME_1: &str = r#"name: "acme::AcmeStateBackendFactory", short_names: &["acme"], version: "1.0.0""#;
const ACME_2: &str = r#"name: "acme::AcmeStateBackendFactory", short_names: &["acme"], version: "2.0.0""#;
const GREEDY: &str = r#"name: "greedy::Factory", short_names: &["hashmap", "greedy"], version: "3""#;
const TWIN: &str = r#"name: "greedy::Twin", short_names: &["twin"], version: "4""#;

#[test]
fn a_library_answers_to_its_factorys_names_its_file_name_and_its_path() {
    let acme = build("acme-backend", &[ACME_1]);
    let folder = plugins(&[(&acme, &file_name("acme_backend"))]);
    let loader = PluginLoader::new([folder.path()]);
    let path = folder.path().join(file_name("acme_backend"));
    for value in [
        "acme::AcmeStateBackendFactory",
        "acme",
        "ACME",
        "acme_backend",
        &format!("{DLL_PREFIX}acme_backend"),
        &file_name("acme_backend"),
        path.to_str().unwrap(),
    ] {
        let factory = loader.find(value, &BackendRegistry::empty()).unwrap();
        assert_eq!(factory.name(), "acme::AcmeStateBackendFactory", "{value}");
        assert_eq!(factory.origin(), &FactoryOrigin::Library(path.clone()), "{value}");
    }
    // Full names are compared as they are.
    assert!(
        loader
            .find("Acme::AcmeStateBackendFactory", &BackendRegistry::empty())
            .is_err()
    );
}

#[test]
fn a_loaded_factory_makes_backends_and_its_panics_and_refusals_are_errors() {
    let acme = build("acme-backend", &[ACME_1]);
    let settings = BackendSettings {
        backend: Some(Setting::program(acme.to_str().unwrap())),
        ..BackendSettings::default()
    };
    let choice = settings
        .choose(&BackendRegistry::empty(), &PluginLoader::new(["plugins"]))
        .unwrap();
    let backend = choice.create_backend(&BTreeMap::new()).unwrap();
    assert!(backend.capabilities().ordered_iteration);
    let create = |value: &str| {
        let config = BTreeMap::from([("model.pages".to_owned(), value.to_owned())]);
        choice.create_backend(&config).unwrap_err().to_string()
    };
    for (value, text) in [
        ("many", "model.pages: 'many' is not valid, expected a number"),
        ("panic", "panicked in create: no pages left"),
        ("many", "panicked before"),
    ] {
        let error = create(value);
        assert!(error.contains(text) && error.contains("acme_backend"), "{error}");
    }
}

#[test]
fn two_backends_and_two_versions_of_one_are_loaded_at_once() {
    let one = build("acme-backend", &[ACME_1]);
    let two = build("acme-backend-two", &[ACME_2]);
    let other = build("greedy-backend", &[GREEDY, TWIN]);
    let folder = plugins(&[
        (&one, &file_name("acme_1")),
        (&two, &file_name("acme_2")),
        (&other, &file_name("greedy")),
    ]);
    let loader = PluginLoader::new([folder.path()]);
    let registry = BackendRegistry::empty();
    let find = |value: &str| loader.find(value, &registry);
    let versions =
        ["acme_1", "acme_2", "twin", "acme_1"].map(|value| find(value).unwrap().version().to_owned());
    assert_eq!(versions, ["1.0.0", "2.0.0", "4", "1.0.0"]);

    let error = find("acme").unwrap_err();
    assert!(
        matches!(&error, LoadError::Ambiguous { candidates, .. } if candidates.len() == 2),
        "{error}"
    );
    for text in ["'acme'", &file_name("acme_1"), &file_name("acme_2")] {
        assert!(error.to_string().contains(text), "{error}");
    }
    let error = find(&file_name("greedy")).unwrap_err();
    assert!(matches!(error, LoadError::Ambiguous { .. }), "{error}");
    assert!(error.to_string().contains("greedy::Twin"), "{error}");

    // The same file by two ways is one library.
    let twice = PluginLoader::new([folder.path().to_owned(), folder.path().join(".")]);
    assert_eq!(twice.find("twin", &registry).unwrap().version(), "4");
}

#[test]
fn a_library_cannot_take_the_name_of_a_built_in_backend() {
    let greedy = build("greedy-backend", &[GREEDY, TWIN]);
    let folder = plugins(&[(&greedy, &file_name("greedy"))]);
    let loader = PluginLoader::new([folder.path()]);
    let error = loader.find("hashmap", &BackendRegistry::empty()).unwrap_err();
    assert!(matches!(error, LoadError::UnknownName(_)), "{error}");
    let factory = loader.find("greedy::Factory", &BackendRegistry::empty()).unwrap();
    assert_eq!(factory.version(), "3");
}

#[test]
fn an_unknown_name_lists_what_was_searched_and_why_libraries_were_refused() {
    let acme = build("acme-backend", &[ACME_1]);
    let folder = plugins(&[(&acme, &file_name("acme_backend"))]);
    std::fs::write(folder.path().join(file_name("notes")), "hello").unwrap();
    std::fs::write(folder.path().join(format!(".{}", file_name("half"))), "").unwrap();
    std::fs::write(folder.path().join("README.md"), "").unwrap();
    let missing = folder.path().join("nowhere");
    let loader = PluginLoader::new([folder.path(), &missing]);
    let error = loader.find("acmee", &BackendRegistry::empty()).unwrap_err();
    let LoadError::UnknownName(unknown) = &error else {
        panic!("{error}");
    };
    assert_eq!(unknown.nearest.as_deref(), Some("acme"));
    assert_eq!(unknown.refused.len(), 1);
    let text = error.to_string();
    for part in [
        "'acmee'",
        "did you mean 'acme'?",
        "known: acme = acme::AcmeStateBackendFactory 1.0.0",
        "nowhere (no such folder)",
        "refused: ",
        "a text file that starts with 'hello'",
    ] {
        assert!(text.contains(part), "no '{part}' in: {text}");
    }
    assert!(!text.contains("half") && !text.contains("README"), "{text}");
}

#[test]
fn files_that_are_no_backends_are_refused_for_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain.c");
    std::fs::write(&plain, "int nothing_to_see_here(void) { return 42; }\n").unwrap();
    let library = folder.path().join(file_name("plain"));
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let status = Command::new(compiler)
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&plain)
        .status()
        .unwrap();
    assert!(status.success());
    let write =
        |stem: &str, bytes: &[u8]| std::fs::write(folder.path().join(file_name(stem)), bytes).unwrap();
    write("text", b"not a library\n");
    write("empty", b"");
    write("binary", b"\0\x01\x02\x03");
    write("cut", &std::fs::read(&library).unwrap()[..100]);
    std::fs::create_dir(folder.path().join(file_name("folder"))).unwrap();
    let loader = PluginLoader::new([folder.path()]);
    for (stem, reason) in [
        ("plain", "not a Millpond state backend"),
        ("text", "a text file that starts with 'not a library'"),
        ("empty", "the file is empty"),
        ("binary", "not a shared library but a file of another kind"),
        ("cut", "the system cannot load it"),
        ("folder", "it is not a file"),
    ] {
        let path = folder.path().join(file_name(stem));
        for value in [stem.to_owned(), file_name(stem), path.display().to_string()] {
            let error = loader.find(&value, &BackendRegistry::empty()).unwrap_err();
            assert!(
                matches!(error, LoadError::NotLoadable { .. }),
                "{value}: {error:?}"
            );
            let text = error.to_string();
            for part in [reason, &format!("'{value}'"), &file_name(stem)] {
                assert!(text.contains(part), "{value}: {text}");
            }
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }
}

#[test]
fn a_library_for_another_version_of_the_boundary_is_refused_with_both_versions() {
    let api = other_api("api-of-the-future", "7.3.1", |text| text);
    let library = build_with("future-backend", &[ACME_1], &api, None);
    let folder = plugins(&[(&library, &file_name("future_backend"))]);
    let error = PluginLoader::new([folder.path()])
        .find("future_backend", &BackendRegistry::empty())
        .unwrap_err();
    assert!(matches!(error, LoadError::WrongAbi { .. }), "{error:?}");
    for text in ["7.3.1", env!("CARGO_PKG_VERSION"), "'future_backend'"] {
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn a_library_with_other_types_under_the_same_version_is_refused_readably() {
    let api = other_api("api-with-other-types", env!("CARGO_PKG_VERSION"), |text| {
        let changed = text.replace("pub larger_than_memory: bool,", "pub larger_than_memory: u64,");
        assert_ne!(changed, text);
        changed
    });
    let library = build_with("strange-backend", &[ACME_1], &api, None);
    let refusal = Library::open(&library).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::WrongAbi);
    let text = refusal.to_string();
    let sizes = format!(
        "expected {}, found 16",
        size_of::<millpond_backend_api::Capabilities>()
    );
    for part in [env!("CARGO_PKG_VERSION"), "Capabilities", sizes.as_str()] {
        assert!(text.contains(part), "{text}");
    }
    assert!(text.lines().count() == 1 && text.len() < 600, "{text}");
}

#[test]
fn a_library_of_another_compiler_version_loads() {
    let found = Command::new("cargo")
        .args(["+nightly", "--version"])
        .env("RUSTUP_AUTO_INSTALL", "0")
        .output();
    if !found.is_ok_and(|output| output.status.success()) {
        println!("skipped: there is no second toolchain (cargo +nightly)");
        return;
    }
    let api = workspace().join("backend-api");
    let library = build_with("nightly-backend", &[ACME_1], &api, Some("nightly"));
    let library = Library::open(&library).unwrap();
    let backend = library.factories()[0].create(&BTreeMap::new()).unwrap();
    assert!(backend.capabilities().ordered_iteration);
}
