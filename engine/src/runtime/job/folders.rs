//! Folders for working files of backends: one an attempt and process, in each of the folders that the configuration names.

use std::path::{Path, PathBuf};

/// What the names of working folders begin with.
pub(super) const PREFIX: &str = "millpond-work-";

/// The folders of `state.backend.rocksdb.localdir`, in which the backend also separates by colons, and takes `file://` addresses.
pub(super) fn of_databases(items: &[String]) -> Vec<PathBuf> {
    items
        .iter()
        .flat_map(|item| item.split(':'))
        .filter(|part| !part.is_empty() && *part != "file")
        .map(|part| PathBuf::from(part.strip_prefix("//").unwrap_or(part)))
        .collect()
}

/// Removes the working folders of processes that were killed. A folder's name ends with the number of its process.
pub(super) fn sweep(dir: &Path) {
    let processes = Path::new("/proc");
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    if !processes.join(std::process::id().to_string()).exists() {
        return;
    }
    for entry in entries.flatten() {
        let name = entry.file_name();
        let process = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.rsplit_once('-'))
            .and_then(|(_, process)| process.parse::<u32>().ok());
        if process.is_some_and(|process| !processes.join(process.to_string()).exists()) {
            remove_one(&entry.path());
        }
    }
}

/// Removes the working files of an attempt, also what lies under the same name in `others`; what cannot be removed is only told.
pub(super) fn remove(folder: &Path, others: &[PathBuf]) {
    remove_one(folder);
    if let Some(name) = folder.file_name() {
        for other in others {
            remove_one(&other.join(name));
        }
    }
}

fn remove_one(folder: &Path) {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!("cannot remove the working folder '{}': {error}", folder.display());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_folders_of_databases_are_read_as_the_backend_reads_them() {
        let items = ["/a:/b", "file:///c", "relative"].map(str::to_owned);
        let dirs = ["/a", "/b", "/c", "relative"].map(PathBuf::from);
        assert_eq!(of_databases(&items), dirs);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn folders_of_dead_processes_go_and_all_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        // No process has this number: it is above the largest that Linux gives.
        let [dead, alive, other] = [
            format!("{PREFIX}job-0-0-4194305"),
            format!("{PREFIX}job-0-0-{}", std::process::id()),
            "somebody-else-4194305".to_owned(),
        ];
        for name in [&dead, &alive, &other] {
            fs::create_dir_all(dir.path().join(name).join("database")).unwrap();
        }
        sweep(dir.path());
        let is_there = |name: &str| dir.path().join(name).exists();
        assert_eq!(
            [&dead, &alive, &other].map(|name| is_there(name)),
            [false, true, true]
        );
    }

    #[test]
    fn an_attempt_leaves_nothing_in_any_folder() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [own, database] = [&dirs[0], &dirs[1]].map(|dir| dir.path().join(format!("{PREFIX}job-0-0-1")));
        for folder in [&own, &database] {
            fs::create_dir_all(folder.join("database")).unwrap();
        }
        let others = [dirs[1].path().to_owned(), dirs[1].path().join("nowhere")];
        remove(&own, &others);
        assert!(!own.exists() && !database.exists());
        assert!(dirs[1].path().exists());
    }
}
