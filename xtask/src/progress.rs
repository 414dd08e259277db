//! How far the compilation of RocksDB is: it takes long, and cargo says nothing meanwhile.

use crate::{say, workspace};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often there is a line.
const INTERVAL: Duration = Duration::from_secs(30);
/// About as many files there are to compile.
const FILES: usize = 346;

/// Says from time to time how many files of RocksDB were compiled, until it is dropped.
#[derive(Debug)]
pub(crate) struct Rocksdb {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Rocksdb {
    /// Begins; says nothing where RocksDB was compiled before.
    pub(crate) fn start() -> Self {
        let builds = builds();
        let is_new = !is_compiled(&builds);
        let (end, ended) = mpsc::channel();
        let thread = is_new.then(|| {
            say(
                "RocksDB is compiled first, which takes about 20 minutes of a processor; it is kept, and the next time this takes seconds",
            );
            thread::spawn(move || {
                let started = Instant::now();
                while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    if let Some(line) = line(compiled_files(&builds), started.elapsed()) {
                        say(line);
                    }
                }
            })
        });
        Self {
            end: Some(end),
            thread,
        }
    }
}

impl Drop for Rocksdb {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell.
            let _ = thread.join();
        }
    }
}

/// What is said after `elapsed`; nothing before RocksDB's turn has come.
fn line(files: usize, elapsed: Duration) -> Option<String> {
    let minutes = elapsed.as_secs_f64() / 60.0;
    (files > 0).then(|| format!("RocksDB: {files} of about {FILES} files after {minutes:.1} min"))
}

/// The folder in which cargo keeps what build scripts make.
fn builds() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| workspace().join("target"), PathBuf::from);
    target.join("release").join("build")
}

/// What build scripts of RocksDB have made, in all of their folders.
fn made(builds: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let is_rocksdb = |path: &PathBuf| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        name.starts_with("librocksdb-sys-")
    };
    let folders = entries(builds).into_iter().filter(is_rocksdb);
    folders.flat_map(|folder| entries(&folder.join("out"))).collect()
}

fn is_compiled(builds: &Path) -> bool {
    made(builds).iter().any(|path| path.ends_with("librocksdb.a"))
}

fn compiled_files(builds: &Path) -> usize {
    let made = made(builds);
    let is_object = |path: &&PathBuf| path.extension().is_some_and(|end| end == "o");
    made.iter().filter(is_object).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_until_there_is_a_library() {
        let builds = tempfile::tempdir().unwrap();
        assert!(!is_compiled(builds.path()));
        let out = builds.path().join("librocksdb-sys-0123/out");
        std::fs::create_dir_all(&out).unwrap();
        std::fs::create_dir_all(builds.path().join("zstd-sys-0123/out")).unwrap();
        for name in ["a.o", "b.o", "bindings.rs", "../../zstd-sys-0123/out/c.o"] {
            std::fs::write(out.join(name), "").unwrap();
        }
        assert!(!is_compiled(builds.path()));
        assert_eq!(compiled_files(builds.path()), 2);
        std::fs::write(out.join("librocksdb.a"), "").unwrap();
        assert!(is_compiled(builds.path()));
        assert_eq!(line(0, INTERVAL), None);
        let text = line(2, Duration::from_secs(90)).unwrap();
        assert_eq!(text, "RocksDB: 2 of about 346 files after 1.5 min");
    }
}
