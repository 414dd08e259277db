//! Where databases lie: in the folders that the configuration names, or in the engine's folder for working files.

use super::Options;
use super::values::{self, Parsed};
use millpond_backend_api::{BackendError, BackendErrorKind, BackendResult};
use std::path::{Component, Path, PathBuf};

/// How many parts at the end of the engine's folder for a subtask tell it from those of all others: the attempt's and the subtask's.
const OWN_PARTS: usize = 2;

impl Options {
    /// The folder of a subtask's database, which the caller makes; the folders above it are there when this returns. `engine_dir` is what the engine
    /// gives the subtask for its working files. Where several folders are configured, subtasks take them in turn.
    ///
    /// # Errors
    /// [`BackendErrorKind::Configuration`] when the configured folder is a file, cannot be made, or cannot be written to.
    pub fn local_folder(&self, engine_dir: &Path, subtask: u32) -> BackendResult<PathBuf> {
        let turn = usize::try_from(subtask).unwrap_or(0) % self.local_dirs.len().max(1);
        let Some(dir) = self.local_dirs.get(turn) else {
            let above = engine_dir.parent().unwrap_or(engine_dir);
            return usable(above)
                .map(|()| engine_dir.to_owned())
                .map_err(|what| unusable("io.tmp.dirs", above, &what));
        };
        let folder = dir.join(own_part(engine_dir));
        let above = folder.parent().unwrap_or(dir);
        usable(above)
            .map(|()| folder.clone())
            .map_err(|what| unusable(super::LOCAL_DIR[0], dir, &what))
    }
}

/// The end of the engine's folder for a subtask, which no other subtask has.
fn own_part(engine_dir: &Path) -> PathBuf {
    let names: Vec<Component<'_>> = engine_dir
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .collect();
    names.iter().skip(names.len().saturating_sub(OWN_PARTS)).collect()
}

/// Makes a folder and writes a file in it, or says why that does not work.
fn usable(folder: &Path) -> Result<(), String> {
    if let Some(file) = folder.ancestors().find(|path| path.is_file()) {
        return Err(format!("'{}' is a file", file.display()));
    }
    std::fs::create_dir_all(folder)
        .map_err(|error| format!("the folder '{}' cannot be made: {error}", folder.display()))?;
    // Permissions do not tell: the file system may be read-only, or full, and root may do everything.
    let probe = folder.join(format!(".probe-{:?}", std::thread::current().id()));
    std::fs::write(&probe, b"probe")
        .and_then(|()| std::fs::remove_file(&probe))
        .map_err(|error| format!("'{}' cannot be written to: {error}", folder.display()))
}

#[cold]
fn unusable(key: &str, dir: &Path, what: &str) -> BackendError {
    BackendError::new(
        BackendErrorKind::Configuration,
        format!(
            "{key}: '{}' is not valid, expected a folder on a local disk that can be written to; {what}",
            dir.display()
        ),
    )
}

/// The folders in one line: Flink separates them by commas and colons, too.
pub(super) fn folders(text: &str) -> Parsed<Vec<PathBuf>> {
    let texts: Vec<&str> = values::items(text)
        .into_iter()
        .flat_map(colon_separated)
        .collect();
    if texts.is_empty() {
        return Err("at least one folder".to_owned());
    }
    texts.into_iter().map(local_folder).collect()
}

/// A folder of databases. A relative one would be another one wherever the program is started, and nobody would find what a killed program left in it.
fn local_folder(text: &str) -> Parsed<PathBuf> {
    let path = path_of(text)?;
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    Err(format!(
        "an absolute path, such as `/var/lib/millpond`; '{text}' is relative"
    ))
}

/// The parts of `text` between colons, but for those of addresses.
fn colon_separated(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut from = 0;
    for (at, _) in text.match_indices(':') {
        let (before, behind) = (text.get(from..at), text.get(at + 1..));
        let is_scheme = behind.is_some_and(|behind| {
            behind.starts_with("//") || before == Some("file") && behind.starts_with('/')
        });
        if !is_scheme {
            parts.extend(before);
            from = at + 1;
        }
    }
    parts.extend(text.get(from..));
    parts.retain(|part| !part.is_empty());
    parts
}

/// A folder: a path, where a relative one starts at the current folder, or a `file://` address.
pub(super) fn absolute(text: &str) -> Parsed<PathBuf> {
    std::path::absolute(path_of(text)?).map_err(|_| no_folder())
}

fn no_folder() -> String {
    "a folder of this machine, such as `/var/lib/millpond`".to_owned()
}

/// The path that `text` gives as such or as an address.
fn path_of(text: &str) -> Parsed<&Path> {
    let path = match text.split_once("://") {
        Some(("file", path)) if path.starts_with('/') => path,
        Some(_) => return Err(no_folder()),
        None => text.strip_prefix("file:").unwrap_or(text),
    };
    Ok(Path::new(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_backend_api::BackendConfig;

    fn options(localdir: &str) -> Options {
        let config: BackendConfig = [(super::super::LOCAL_DIR[0].to_owned(), localdir.to_owned())]
            .into_iter()
            .collect();
        Options::read(&config).unwrap()
    }

    const ENGINE_DIR: &str = "/tmp/millpond-work-1234-0-0-77/00ff-2";

    #[test]
    fn subtasks_take_the_folders_in_turn_and_have_a_place_of_their_own_there() {
        let root = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| root.path().join(name));
        let options = options(&format!("{},file://{}", a.display(), b.display()));
        let own = "millpond-work-1234-0-0-77/00ff-2";
        for (subtask, dir) in [(0, &a), (1, &b), (2, &a)] {
            let folder = options.local_folder(Path::new(ENGINE_DIR), subtask).unwrap();
            assert_eq!(folder, dir.join(own));
            let left = std::fs::read_dir(folder.parent().unwrap()).unwrap().count();
            assert_eq!(left, 0, "the folder above is there, without a trace of the test");
        }
    }

    #[test]
    fn without_folders_of_its_own_the_backend_takes_that_of_the_engine() {
        let root = tempfile::tempdir().unwrap();
        let engine_dir = root.path().join("work/subtask");
        let options = Options::read(&BackendConfig::default()).unwrap();
        assert_eq!(options.local_folder(&engine_dir, 5).unwrap(), engine_dir);
        assert!(root.path().join("work").is_dir() && !engine_dir.exists());
    }

    #[test]
    fn a_file_or_a_place_that_cannot_be_written_to_is_refused_by_key_and_value() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        std::fs::write(&file, "").unwrap();
        for (dir, what) in [
            (file.clone(), "is a file"),
            (file.join("below"), "is a file"),
            // Nobody can make a folder there, root neither.
            (PathBuf::from("/proc/nowhere"), "cannot be made"),
        ] {
            let error = options(&dir.display().to_string())
                .local_folder(Path::new(ENGINE_DIR), 0)
                .unwrap_err();
            assert_eq!(error.kind(), BackendErrorKind::Configuration);
            let text = error.to_string();
            let start = format!("state.backend.rocksdb.localdir: '{}' is not valid", dir.display());
            assert!(text.starts_with(&start) && text.contains(what), "{text}");
        }
        assert!(
            usable(Path::new("/proc/self/fdinfo"))
                .unwrap_err()
                .contains("written to")
        );
    }

    #[test]
    fn folders_are_separated_as_in_flink() {
        let paths = |text| folders(text).unwrap();
        let two = [PathBuf::from("/a"), PathBuf::from("/b")];
        for text in [
            "/a,/b",
            "/a:/b",
            "/a;/b",
            "[/a, /b]",
            "file:///a:file:///b",
            "file:/a|/b",
        ] {
            assert_eq!(paths(text), two, "{text}");
        }
        for text in ["", "s3://bucket/a", "hdfs://name/a", "a", "./a", "/a,b", "file:a"] {
            assert!(folders(text).is_err(), "{text}");
        }
        assert_eq!(absolute("a"), Ok(std::env::current_dir().unwrap().join("a")));
    }
}
