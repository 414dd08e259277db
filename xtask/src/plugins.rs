//! `cargo xtask plugins`: builds the example backends, and those of the workspace that can be libraries, and puts their libraries where the engine looks for
//! them.

use crate::{Failure, cargo, machine, progress, say, workspace};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Backends of the workspace that are built as libraries too, by their folders. Their cargo feature `plugin` exports the factory.
const BACKENDS: [&str; 2] = ["backend-fs", ROCKSDB];

/// The folder of the backend that takes long.
const ROCKSDB: &str = "backend-rocksdb";

/// What makes a library of a backend that is a crate of the workspace. Its factory is exported only then, and the crate is no `cdylib` otherwise: an
/// engine with two exports in it would not link.
const AS_LIBRARY: [&str; 5] = ["rustc", "--features", "plugin", "--crate-type", "cdylib"];

/// Which libraries are built.
#[derive(Debug)]
pub(crate) struct Choice {
    backends: Vec<PathBuf>,
    examples: Vec<PathBuf>,
}

impl Choice {
    /// Those that are called by one of `names`, or all if there are none, but for those of `without`.
    ///
    /// # Errors
    /// When a name belongs to none, or the folder of examples cannot be read.
    pub(crate) fn new(names: &[String], without: &[String]) -> Result<Self, Failure> {
        let backends = BACKENDS.map(|folder| workspace().join(folder).join("Cargo.toml"));
        let (mut backends, mut examples) = (backends.to_vec(), manifests()?);
        let known: Vec<String> = backends.iter().chain(&examples).map(|path| name(path)).collect();
        if let Some(stranger) = names
            .iter()
            .chain(without)
            .find(|name| !known.contains(&short(name)))
        {
            return Err(Failure::Machine(format!(
                "there is no state backend '{stranger}' to build; there are {}",
                known.join(", ")
            )));
        }
        let is_in = |list: &[String], path: &Path| list.iter().any(|other| short(other) == name(path));
        for list in [&mut backends, &mut examples] {
            list.retain(|path| (names.is_empty() || is_in(names, path)) && !is_in(without, path));
        }
        Ok(Self { backends, examples })
    }

    /// Whether RocksDB is compiled.
    pub(crate) fn has_rocksdb(&self) -> bool {
        self.backends.iter().any(|path| is_rocksdb(path))
    }

    /// Whether the example of this short name is built.
    pub(crate) fn has_example(&self, example: &str) -> bool {
        self.examples.iter().any(|path| name(path) == example)
    }

    /// Leaves RocksDB out.
    pub(crate) fn leave_out_rocksdb(&mut self) {
        self.backends.retain(|path| !is_rocksdb(path));
    }
}

fn is_rocksdb(manifest: &Path) -> bool {
    name(manifest) == short(ROCKSDB)
}

/// What a backend is called here: the name of its folder without `backend`.
fn name(manifest: &Path) -> String {
    let folder = manifest.parent().and_then(Path::file_name).unwrap_or_default();
    short(&folder.to_string_lossy())
}

fn short(name: &str) -> String {
    let name = name.strip_prefix("backend-").unwrap_or(name);
    name.strip_suffix("-backend").unwrap_or(name).to_owned()
}

/// Builds the libraries that the arguments choose, after what they are compiled with was installed.
///
/// # Errors
/// As [`Choice::new`] and [`run`]; and what could not be had, with how to do without.
pub(crate) fn command(names: &[String], without: &[String]) -> Result<(), Failure> {
    let choice = Choice::new(names, without)?;
    if choice.has_rocksdb() {
        let missing = machine::prepare_for_rocksdb();
        if !missing.is_empty() {
            return Err(Failure::Machine(format!(
                "{}; or leave RocksDB out: cargo xtask plugins --without rocksdb",
                missing.join("; ")
            )));
        }
    }
    run(&choice).map(drop)
}

/// Builds the libraries of `choice` and copies them into `plugins/`. Returns the manifests of the examples among them.
///
/// # Errors
/// When a crate cannot be built, or its library not copied.
pub(crate) fn run(choice: &Choice) -> Result<&[PathBuf], Failure> {
    let backends = choice
        .backends
        .iter()
        .map(|manifest| (manifest, AS_LIBRARY.as_slice()));
    let examples = choice
        .examples
        .iter()
        .map(|manifest| (manifest, ["build"].as_slice()));
    for (manifest, how) in backends.chain(examples) {
        let libraries = build(manifest, how)?;
        if libraries.is_empty() {
            return Err(Failure::Failed(format!(
                "{} builds no library of type cdylib",
                manifest.display()
            )));
        }
        for library in libraries {
            let target = publish(&library, &workspace().join("plugins"))
                .map_err(|error| Failure::Failed(format!("cannot copy {}: {error}", library.display())))?;
            say(format_args!("{} is ready", target.display()));
        }
    }
    Ok(&choice.examples)
}

/// The manifests of the crates in `plugins/examples`, by name; none where there is no such folder.
///
/// # Errors
/// When the folder cannot be read.
fn manifests() -> Result<Vec<PathBuf>, Failure> {
    let folder = workspace().join("plugins").join("examples");
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(Failure::Failed(format!(
                "cannot read {}: {error}",
                folder.display()
            )));
        }
    };
    let mut manifests: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path().join("Cargo.toml")))
        .filter(|manifest| manifest.is_file())
        .collect();
    manifests.sort();
    Ok(manifests)
}

/// Builds a crate in release, by cargo with the arguments `how`, and returns the libraries that can be loaded.
fn build(manifest: &Path, how: &[&str]) -> Result<Vec<PathBuf>, Failure> {
    say(format_args!("building {}", manifest.display()));
    let mut command = cargo();
    command
        .args(how)
        .args([
            "--release",
            "--lib",
            "--message-format",
            "json-render-diagnostics",
        ])
        .arg("--manifest-path")
        .arg(manifest)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let child = command
        .spawn()
        .map_err(|error| Failure::Machine(format!("cannot run cargo: {error}")))?;
    let watch = is_rocksdb(manifest).then(progress::Rocksdb::start);
    let output = child.wait_with_output();
    drop(watch);
    let output = output.map_err(|error| Failure::Failed(format!("cargo: {error}")))?;
    if !output.status.success() {
        return Err(Failure::Failed(format!("{} does not build", manifest.display())));
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .flat_map(|line| libraries_of(line, manifest))
        .collect())
}

/// The loadable libraries that a message of cargo tells about, if it is about the crate of `manifest`.
fn libraries_of(message: &str, manifest: &Path) -> Vec<PathBuf> {
    let Ok(message) = serde_json::from_str::<serde_json::Value>(message) else {
        return Vec::new();
    };
    let about = message.get("manifest_path").and_then(|path| path.as_str());
    if message.get("reason").and_then(|reason| reason.as_str()) != Some("compiler-artifact")
        || about.map(Path::new) != Some(manifest)
    {
        return Vec::new();
    }
    message
        .get("filenames")
        .and_then(|names| names.as_array())
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str())
        .filter(|name| name.ends_with(std::env::consts::DLL_SUFFIX))
        .map(PathBuf::from)
        .collect()
}

/// Copies a library under its name into `folder`, whole or not at all: a program that has the old one loaded keeps it.
fn publish(library: &Path, folder: &Path) -> std::io::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let name = library.file_name().unwrap_or_default();
    let temporary = folder.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let target = folder.join(name);
    std::fs::copy(library, &temporary)
        .and_then(|_| std::fs::rename(&temporary, &target))
        .inspect_err(|_| {
            // The first error is the one to report.
            let _ = std::fs::remove_file(&temporary);
        })?;
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_taken_from_the_message_about_the_crate() {
        let suffix = std::env::consts::DLL_SUFFIX;
        let message = |path: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"{path}","filenames":["/t/liba.rlib","/t/liba{suffix}"]}}"#
            )
        };
        let manifest = Path::new("/a/Cargo.toml");
        let expected = vec![PathBuf::from(format!("/t/liba{suffix}"))];
        assert_eq!(libraries_of(&message("/a/Cargo.toml"), manifest), expected);
        assert_eq!(
            libraries_of(&message("/b/Cargo.toml"), manifest),
            Vec::<PathBuf>::new()
        );
        assert_eq!(libraries_of("warning: text", manifest), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_library_that_is_in_use_is_replaced_and_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let (built, plugins) = (folder.path().join("liba.so"), folder.path().join("plugins"));
        std::fs::write(&built, "old").unwrap();
        let target = publish(&built, &plugins).unwrap();
        let in_use = folder.path().join("in use");
        std::fs::hard_link(&target, &in_use).unwrap();
        std::fs::write(&built, "new").unwrap();
        publish(&built, &plugins).unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "new");
        assert_eq!(std::fs::read_to_string(&in_use).unwrap(), "old");
        assert_eq!(std::fs::read_dir(&plugins).unwrap().count(), 1);
    }

    #[test]
    fn backends_are_chosen_by_their_folders_with_or_without_what_all_are() {
        let choose = |names: &[&str], without: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            let choice = Choice::new(&owned(names), &owned(without))?;
            let all = choice.backends.iter().chain(&choice.examples);
            Ok::<_, Failure>(all.map(|path| name(path)).collect::<Vec<_>>())
        };
        let all = choose(&[], &[]).unwrap();
        assert_eq!(all[..2], ["fs", "rocksdb"]);
        let without: Vec<_> = all.iter().filter(|name| *name != "rocksdb").cloned().collect();
        for name in ["rocksdb", "backend-rocksdb"] {
            assert_eq!(choose(&[], &[name]).unwrap(), without);
            assert_eq!(choose(&[name], &[]).unwrap(), ["rocksdb"]);
        }
        assert_eq!(choose(&["fs", "rocksdb"], &["rocksdb"]).unwrap(), ["fs"]);
        let error = choose(&[], &["rocksbd"]).unwrap_err().to_string();
        assert!(
            error.contains("'rocksbd'") && error.contains("fs, rocksdb"),
            "{error}"
        );

        let mut choice = Choice::new(&[], &[]).unwrap();
        assert!(choice.has_rocksdb());
        choice.leave_out_rocksdb();
        assert!(!choice.has_rocksdb());
    }
}
