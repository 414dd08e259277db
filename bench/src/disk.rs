//! The disk under the checkpoints: what a plain write takes, and how to forget what the page cache has of it.

use crate::generate::splitmix64;
use millpond_engine::{Error, ErrorKind, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How much a plain write gives at a time.
const BLOCK: usize = 1 << 20;

/// How long it takes to write `bytes` bytes into a new file of `dir` and fsync it, as `dd bs=1M conv=fsync` does. The file is removed.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn plain_write(dir: &Path, bytes: u64) -> Result<Duration> {
    let path = dir.join("plain-write.tmp");
    let took = write_file(&path, bytes).map_err(|error| no_access(&path, error));
    // Also what a full disk has left of it.
    let _ = fs::remove_file(&path);
    took
}

fn write_file(path: &Path, bytes: u64) -> std::io::Result<Duration> {
    // Nothing that a disk could make smaller.
    let block: Vec<u8> = (0..BLOCK as u64 / 8)
        .flat_map(|word| splitmix64(word).to_le_bytes())
        .collect();
    let started = Instant::now();
    let mut file = File::create(path)?;
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        file.write_all(block.get(..part).unwrap_or_default())?;
        left -= part as u64;
    }
    file.sync_all()?;
    Ok(started.elapsed())
}

/// All files below a folder, with their sizes.
///
/// # Errors
/// When a folder cannot be listed.
pub(crate) fn files_below(dir: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let (mut folders, mut files) = (vec![dir.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| no_access(&folder, error))? {
            let path = entry.map_err(|error| no_access(&folder, error))?.path();
            let metadata = fs::metadata(&path).map_err(|error| no_access(&path, error))?;
            if metadata.is_dir() {
                folders.push(path);
            } else {
                files.push((path, metadata.len()));
            }
        }
    }
    Ok(files)
}

/// Reads files to their end, so that the page cache has them.
///
/// # Errors
/// When one cannot be read.
pub(crate) fn warm(files: &[(PathBuf, u64)]) -> Result<()> {
    for (path, _) in files {
        let read = File::open(path).and_then(|mut file| std::io::copy(&mut file, &mut std::io::sink()));
        read.map_err(|error| no_access(path, error))?;
    }
    Ok(())
}

/// Has the page cache forget files; returns what did it: `fadvise` (of these files) or `drop_caches` (of the whole machine).
///
/// # Errors
/// When neither is possible here.
pub(crate) fn forget(files: &[(PathBuf, u64)]) -> Result<&'static str> {
    match files.iter().try_for_each(|(path, _)| forget_file(path)) {
        Ok(()) => Ok("fadvise"),
        Err(error) => {
            let path = Path::new("/proc/sys/vm/drop_caches");
            fs::write(path, "3").map(|()| "drop_caches").map_err(|second| {
                let why = format!(
                    "cannot drop the page cache, neither by fadvise ({error}) nor by {path:?} ({second})"
                );
                Error::new(ErrorKind::JobFailed, why)
            })
        }
    }
}

#[cfg(target_os = "linux")]
fn forget_file(path: &Path) -> std::io::Result<()> {
    use rustix::fs::{Advice, fadvise};
    let file = File::open(path)?;
    // What is not on the disk yet is not forgotten.
    file.sync_all()?;
    fadvise(&file, 0, None, Advice::DontNeed)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn forget_file(_: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

fn no_access(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Storage, format!("'{}'", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_write_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(plain_write(dir.path(), 3 * BLOCK as u64 + 1).unwrap() > Duration::ZERO);
        assert_eq!(files_below(dir.path()).unwrap(), []);
    }

    #[test]
    fn files_are_found_in_all_folders_and_can_be_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/one"), "1").unwrap();
        fs::write(dir.path().join("two"), "22").unwrap();
        let mut files = files_below(dir.path()).unwrap();
        files.sort();
        let expected = [(dir.path().join("a/one"), 1), (dir.path().join("two"), 2)];
        assert_eq!(files, expected);
        warm(&files).unwrap();
        assert_eq!(forget(&files).unwrap(), "fadvise");
    }
}
