//! The libraries that the rows about them use.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Sources of the libraries, where the program runs in the workspace.
const SOURCES: [&str; 4] = [
    "backend-api/src",
    "backend-memory/src",
    "backend-fs/src",
    "backend-rocksdb/src",
];

/// The library of `backend` in `plugins`.
///
/// # Errors
/// How to build it, when it is not there or older than what it is made of: then it would be another state backend that is measured.
pub(super) fn find(plugins: &Path, backend: &str) -> Result<PathBuf, String> {
    find_for(Path::new(""), plugins, backend)
}

fn find_for(workspace: &Path, plugins: &Path, backend: &str) -> Result<PathBuf, String> {
    let name = match backend {
        "filesystem" => "fs",
        other => other,
    };
    let file = format!("libmillpond_backend_{name}{}", std::env::consts::DLL_SUFFIX);
    let library = plugins.join(file);
    let how = "`cargo xtask plugins fs rocksdb` builds it, and --plugins says where it is";
    let Some(built) = changed(&library) else {
        return Err(format!("there is no {}; {how}", library.display()));
    };
    let other = if name == "fs" {
        "backend-rocksdb/src"
    } else {
        "backend-fs/src"
    };
    let sources = SOURCES.iter().filter(|source| **source != other);
    match sources.filter_map(|source| newest(&workspace.join(source))).max() {
        Some((changed, source)) if changed > built => Err(format!(
            "{} is older than {}; {how}",
            library.display(),
            source.display()
        )),
        _ => std::path::absolute(&library).map_err(|error| format!("{}: {error}", library.display())),
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

/// The file below a folder that was changed last; none where there is no such folder.
fn newest(folder: &Path) -> Option<(SystemTime, PathBuf)> {
    let files = crate::disk::files_below(folder).ok()?;
    let changed = files
        .into_iter()
        .filter_map(|(path, _)| Some((changed(&path)?, path)));
    changed.max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::time::Duration;

    #[test]
    fn a_library_that_is_missing_or_older_than_its_sources_is_refused_with_what_builds_it() {
        let folder = tempfile::tempdir().unwrap();
        let (workspace, plugins) = (folder.path().join("workspace"), folder.path());
        let source = workspace.join("backend-memory/src/table/page.rs");
        std::fs::create_dir_all(source.parent().unwrap()).unwrap();
        let source = File::create(source).unwrap();
        let found = || find_for(&workspace, plugins, "filesystem");
        let missing = found().unwrap_err();
        assert!(missing.contains("cargo xtask plugins"), "{missing}");

        let file = format!("libmillpond_backend_fs{}", std::env::consts::DLL_SUFFIX);
        let library = File::create(plugins.join(file)).unwrap();
        let now = SystemTime::now();
        library.set_modified(now).unwrap();
        source.set_modified(now - Duration::from_secs(1)).unwrap();
        assert!(found().unwrap().is_absolute());
        source.set_modified(now + Duration::from_secs(1)).unwrap();
        let old = found().unwrap_err();
        assert!(
            old.contains("page.rs") && old.contains("cargo xtask plugins"),
            "{old}"
        );
    }
}
