//! The job's side: a thread that looks into the folder.

use super::files::{Paths, REQUEST, Request, answer_text, appear, is_abandoned};
use crate::checkpoint::hold::is_at;
use crate::checkpoint::storage::CheckpointPaths;
use crate::checkpoint::storage::durable::{self, create_dirs, storage_error};
use crate::runtime::job::{Savepoints, Wanted};
use crate::{Error, ErrorKind, Result};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

const LOCK: &str = "control.lock";
/// How often the folder is looked into.
const LOOK: Duration = Duration::from_millis(500);

/// Watches a folder for requests until it is dropped, which waits for the request that is being carried out: the coordinator answers each at the end of the job
/// at the latest.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Dropped to end the thread.
    end: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It has no result; a panic is in the log.
            let _ = thread.join();
        }
    }
}

impl Watch {
    /// Takes hold of `folder`, which is made if it is missing, and starts looking. With `take_over`, a program that watches it for the same job is none to
    /// stand back for: it does not look any more from then on.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when it cannot be used, or somebody else watches it.
    pub(crate) fn start(
        folder: PathBuf,
        savepoints: Savepoints,
        job_name: &str,
        take_over: bool,
    ) -> Result<Self> {
        let unusable = |error: Error| {
            Error::new(
                ErrorKind::Configuration,
                format!("control.dir: '{}' cannot be used", folder.display()),
            )
            .with_source(error)
        };
        create_dirs(&folder).map_err(unusable)?;
        let lock = folder.join(LOCK);
        let Some(file) = hold(&lock, job_name, take_over).map_err(unusable)? else {
            let of_this_job = fs::read_to_string(&lock).is_ok_and(|holder| holder == job_name);
            return Err(Error::new(
                ErrorKind::Configuration,
                if of_this_job {
                    format!(
                        "control.dir: '{}' is watched by another program that runs job '{job_name}'; wait until it has ended",
                        folder.display()
                    )
                } else {
                    format!(
                        "control.dir: '{}' is watched by another job that runs; give each job a folder of its own",
                        folder.display()
                    )
                },
            ));
        };
        let (end, ended) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("millpond-control".to_owned())
            .spawn(move || {
                let wait = || ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout);
                // Unless somebody has taken the job over, and looks now.
                while wait() && is_at(&file, &lock) {
                    look(&folder, &savepoints, &wait);
                }
                // While it is locked, so that it is not the next job's.
                if is_at(&file, &lock)
                    && let Err(error) = durable::remove_file(&lock)
                {
                    tracing::warn!(%error, "the lock of control.dir is left");
                }
                // As with every lock: closing would not do while a forked child has a copy.
                let _ = file.unlock();
            })
            .map_err(|error| {
                Error::new(
                    ErrorKind::Configuration,
                    "cannot start the thread that watches control.dir",
                )
                .with_source(error)
            })?;
        Ok(Self {
            end: Some(end),
            thread: Some(thread),
        })
    }
}

/// Puts a file that names the job at `lock`, locked from the first moment on; `None` if another program's is there, and it is not to be taken from one that
/// has it for the same job.
fn hold(lock: &Path, job_name: &str, take_over: bool) -> Result<Option<File>> {
    let ours = lock.with_file_name(format!(".{}.tmp", CheckpointPaths::unique_name()));
    let put = || {
        let mut file = File::create_new(&ours).map_err(|error| storage_error("create", &ours, error))?;
        file.try_lock()
            .map_err(|error| storage_error("lock", &ours, error.into()))?;
        file.write_all(job_name.as_bytes())
            .map_err(|error| storage_error("write", &ours, error))?;
        Ok(put_at(lock, &ours, job_name, take_over)?.then_some(file))
    };
    let held = put();
    if !matches!(held, Ok(Some(_))) {
        // It may not be there, and what is wrong is known.
        let _ = fs::remove_file(&ours);
    }
    held
}

/// Moves the lock `ours` to `lock`, unless there is one of a program that runs and keeps it.
fn put_at(lock: &Path, ours: &Path, job_name: &str, take_over: bool) -> Result<bool> {
    loop {
        match File::open(lock) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::hard_link(ours, lock) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                linked => {
                    linked.map_err(|error| storage_error("create", lock, error))?;
                    // The other name is of no use any more, and none to anybody else.
                    let _ = fs::remove_file(ours);
                    return Ok(true);
                }
            },
            Err(error) => return Err(storage_error("open", lock, error)),
            Ok(theirs) => {
                match theirs.try_lock() {
                    // Who had it is gone. It stays locked until ours is in its place.
                    Ok(()) if is_at(&theirs, lock) => {}
                    Ok(()) => continue,
                    Err(TryLockError::WouldBlock) => {
                        if !take_over || !fs::read_to_string(lock).is_ok_and(|holder| holder == job_name) {
                            return Ok(false);
                        }
                    }
                    Err(TryLockError::Error(error)) => return Err(storage_error("lock", lock, error)),
                }
                fs::rename(ours, lock).map_err(|error| storage_error("replace", lock, error))?;
                return Ok(true);
            }
        }
    }
}

/// Carries out the requests that are there. `wait` lets a moment pass, unless the job has ended.
fn look(folder: &Path, savepoints: &Savepoints, wait: &impl Fn() -> bool) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if let Some(id) = name
            .to_str()
            .and_then(|name| name.strip_suffix(REQUEST)?.strip_suffix('.'))
            && !id.starts_with('.')
            && let Err(error) = carry_out(&Paths::new(folder, id), savepoints, wait)
        {
            tracing::warn!(%error, "a request in control.dir could not be carried out");
        }
    }
}

fn carry_out(paths: &Paths, savepoints: &Savepoints, wait: &impl Fn() -> bool) -> Result<()> {
    if is_abandoned(&paths.request) {
        tracing::warn!(request = %paths.request.display(), "nobody waits for the answer to a request any more: it is not carried out");
        return durable::remove_file(&paths.request);
    }
    let Ok(text) = fs::read_to_string(&paths.request) else {
        // Withdrawn.
        return Ok(());
    };
    let taken = appear(&paths.taken, "")?;
    if fs::remove_file(&paths.request).is_err() {
        // Withdrawn in this moment.
        return durable::remove_file(&paths.taken);
    }
    let answer = match Request::parse(&text) {
        Ok(request) => {
            tracing::info!(?request, "a savepoint is asked for in control.dir");
            let wanted = Wanted {
                target: request.target,
                format: request.format,
                stop: request.stop,
            };
            loop {
                match savepoints.take(&wanted) {
                    // The attempt begins, or the next one will.
                    Err(not_taken) if not_taken.not_running && wait() => {}
                    taken => break taken.map_err(|not_taken| not_taken.error),
                }
            }
        }
        Err(what) => Err(Error::new(ErrorKind::Configuration, what)),
    };
    let answered = appear(&paths.answer, &answer_text(&answer));
    let removed = durable::remove_file(&paths.taken);
    drop(taken);
    answered.map(drop).and(removed)
}
