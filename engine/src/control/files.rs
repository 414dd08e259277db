//! The files of the folder, and what is in them.

use crate::checkpoint::storage::CheckpointPaths;
use crate::checkpoint::storage::durable::storage_error;
use crate::checkpoint::{SavepointFormat, StopMode};
use crate::{Error, ErrorKind, Result};
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What the names of requests end with.
pub(super) const REQUEST: &str = "request";
const REQUEST_HEADER: &str = "millpond-request 1";
const ANSWER_HEADER: &str = "millpond-answer 1";

/// A savepoint that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The folder below which it gets one of its own, a path or `file://` address; a relative path starts at the job's working folder. None: the
    /// one that `execution.checkpointing.savepoint-dir` names.
    pub target: Option<String>,
    /// How keyed state is written.
    pub format: SavepointFormat,
    /// How the job ends with it; none: it goes on.
    pub stop: Option<StopMode>,
}

impl Request {
    pub(super) fn to_text(&self) -> Result<String> {
        let target = match &self.target {
            Some(target) if target.contains('\n') => {
                return Err(Error::new(
                    ErrorKind::Configuration,
                    format!("the target of a savepoint is one line, not '{target}'"),
                ));
            }
            Some(target) => format!("target={target}\n"),
            None => String::new(),
        };
        let format = match self.format {
            SavepointFormat::Canonical => "canonical",
            SavepointFormat::Native => "native",
        };
        let stop = match self.stop {
            None => "no",
            Some(StopMode::Suspend) => "suspend",
            Some(StopMode::Drain) => "drain",
        };
        Ok(format!(
            "{REQUEST_HEADER}\n{target}format={format}\nstop={stop}\n"
        ))
    }

    /// Reads a request; or tells what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        match lines.next() {
            Some(REQUEST_HEADER) => {}
            header => {
                let header = header.unwrap_or_default();
                return Err(format!(
                    "the request begins with '{header}', expected '{REQUEST_HEADER}'"
                ));
            }
        }
        let mut request = Self::default();
        for line in lines {
            match line.split_once('=') {
                Some(("target", target)) => request.target = Some(target.to_owned()),
                Some(("format", "canonical")) => request.format = SavepointFormat::Canonical,
                Some(("format", "native")) => request.format = SavepointFormat::Native,
                Some(("stop", "no")) => request.stop = None,
                Some(("stop", "suspend")) => request.stop = Some(StopMode::Suspend),
                Some(("stop", "drain")) => request.stop = Some(StopMode::Drain),
                _ => return Err(format!("the request has a line that is not understood: '{line}'")),
            }
        }
        Ok(request)
    }
}

pub(super) fn answer_text(answer: &Result<PathBuf>) -> String {
    match answer {
        Ok(path) => format!("{ANSWER_HEADER}\ndone\n{}\n", path.display()),
        Err(error) => format!("{ANSWER_HEADER}\nfailed\n{error}\n"),
    }
}

pub(super) fn parse_answer(text: &str, path: &Path) -> Result<PathBuf> {
    let body = text.strip_prefix(ANSWER_HEADER).map(str::trim_start);
    match body.and_then(|body| body.split_once('\n')) {
        Some(("done", folder)) => Ok(PathBuf::from(folder.trim_end_matches('\n'))),
        Some(("failed", why)) => Err(Error::new(ErrorKind::Storage, why.trim_end())),
        _ => Err(Error::new(
            ErrorKind::Storage,
            format!("'{}' is not the answer to a request: '{text}'", path.display()),
        )),
    }
}

/// The files of one request.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    pub(super) request: PathBuf,
    pub(super) taken: PathBuf,
    pub(super) answer: PathBuf,
}

impl Paths {
    pub(super) fn new(folder: &Path, id: &str) -> Self {
        let named = |what: &str| folder.join(format!("{id}.{what}"));
        Self {
            request: named(REQUEST),
            taken: named("taken"),
            answer: named("answer"),
        }
    }
}

/// Makes a file appear at once with its text, and locked.
pub(super) fn appear(path: &Path, text: &str) -> Result<File> {
    let temporary = CheckpointPaths::temporary(path);
    let failed = |error| storage_error("write", path, error);
    let made = File::create(&temporary).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.lock()?;
        fs::rename(&temporary, path)?;
        Ok(file)
    });
    made.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        failed(error)
    })
}

/// Whether the file is there and nobody holds it any more.
pub(super) fn is_abandoned(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}
