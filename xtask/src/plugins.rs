//! `cargo xtask plugins`: builds the example backends, and those of the workspace that can be libraries, and puts their libraries where the engine looks for
//! them.

use crate::{Failure, cargo, say, workspace};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Backends of the workspace that are built as libraries too, by their folders. Their cargo feature `plugin` exports the factory.
const BACKENDS: [&str; 1] = ["backend-fs"];

/// What makes a library of a backend that is a crate of the workspace. Its factory is exported only then, and the crate is no `cdylib` otherwise: an
/// engine with two exports in it would not link.
const AS_LIBRARY: [&str; 5] = ["rustc", "--features", "plugin", "--crate-type", "cdylib"];

/// Builds every crate in `plugins/examples` and the backends of the workspace, and copies their libraries into `plugins/`. Returns the manifests of the
/// examples.
///
/// # Errors
/// When a crate cannot be built, or its library not copied.
pub(crate) fn run() -> Result<Vec<PathBuf>, Failure> {
    let examples = manifests()?;
    let backends = BACKENDS.map(|folder| workspace().join(folder).join("Cargo.toml"));
    let all = backends.iter().map(|manifest| (manifest, AS_LIBRARY.as_slice()));
    for (manifest, how) in all.chain(examples.iter().map(|manifest| (manifest, ["build"].as_slice()))) {
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
    Ok(examples)
}

/// The manifests of the crates in `plugins/examples`, by name; none where there is no such folder.
///
/// # Errors
/// When the folder cannot be read.
pub(crate) fn manifests() -> Result<Vec<PathBuf>, Failure> {
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
    let output = cargo()
        .args(how)
        .args([
            "--release",
            "--lib",
            "--message-format",
            "json-render-diagnostics",
        ])
        .arg("--manifest-path")
        .arg(manifest)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::Machine(format!("cannot run cargo: {error}")))?;
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
}
