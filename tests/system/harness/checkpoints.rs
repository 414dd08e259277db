//! The checkpoints that jobs have left in a folder.

use std::fs;
use std::path::{Path, PathBuf};

/// The complete checkpoints of all jobs below the folder of checkpoints, by number, with their folders.
pub(crate) fn checkpoints_below(folder: &Path) -> Vec<(u64, PathBuf)> {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries(folder)
        .flat_map(|job| entries(&job.path()))
        .map(|checkpoint| checkpoint.path())
        .filter(|path| path.join("_metadata").is_file())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let number = name.strip_prefix("chk-").unwrap().parse().unwrap();
            (number, path)
        })
        .collect();
    found.sort();
    found
}

/// The folder of the latest one. There must be one.
pub(crate) fn latest_checkpoint(folder: &Path) -> PathBuf {
    let (_, path) = checkpoints_below(folder)
        .pop()
        .unwrap_or_else(|| panic!("no checkpoint below {}", folder.display()));
    path
}
