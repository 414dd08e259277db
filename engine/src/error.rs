//! The one error type at the engine's edge.
//!
//! An [`Error`] says what happened, where, what was expected and what to do, as a sentence; its [`ErrorKind`] groups errors by
//! what the caller does next. The cause, if there is one, is kept as [`std::error::Error::source`]. Messages are for people, not API.

use std::fmt;

/// `Result` with the engine's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The arguments, the configuration or the environment must be fixed before the job can start. Nothing ran.
    Configuration,
    /// A state backend library could not be found, loaded or used. Nothing ran.
    Plugin,
    /// A checkpoint, savepoint or its metadata is missing, damaged or of another job. Restore another one.
    Restore,
    /// State that the job was working with turned out to be damaged: a file of a checkpoint has not the bytes that were written, or is gone. The message names the
    /// checkpoint and the older ones that are there. Restore one of them.
    Damaged,
    /// Storage refused an operation (disk full, permission, failed fsync). The checkpoint failed; it may be retried.
    Storage,
    /// The program was only to tell what would become of a snapshot, and the job could not start from it. Nothing ran.
    PlanRefused,
    /// A snapshot grew over a limit of its storage. Choose another storage.
    StateTooLarge,
    /// Keyed or operator state was used in a way that does not fit what is stored.
    State,
    /// Code of the user's functions, sources or sinks panicked or returned an error.
    UserCode,
    /// A peer process of the cluster was lost or did not answer.
    Cluster,
    /// Another program has taken the job over: nothing that this one writes counts any more, and it has to end.
    Fenced,
    /// The job was cancelled.
    Cancelled,
    /// The job failed for good: its restart strategy gave up.
    JobFailed,
    /// A broken promise inside the engine: please report it.
    Bug,
}

/// An error of the engine: what happened, where, what was expected and what to do, as a sentence, with an [`ErrorKind`] that says what the
/// caller can do about it.
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A new error of `kind`; `message` is a sentence that names the place and the way out.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// The same error with the error that caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error with `context` in front of its message: `"{context}: {message}"`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message without the causes.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The exit code a program should end with: 2 where the job was refused before it ran, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            ErrorKind::Configuration | ErrorKind::Plugin | ErrorKind::Restore => 2,
            _ => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut cause = self
            .source
            .as_deref()
            .map(|cause| cause as &dyn std::error::Error);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_tells_the_message_and_every_cause_once() {
        let error = Error::new(ErrorKind::Storage, "cannot write chk-3")
            .with_source(std::io::Error::other("disk full"))
            .context("checkpoint 3 of job 'wc'");
        assert_eq!(
            error.to_string(),
            "checkpoint 3 of job 'wc': cannot write chk-3: disk full"
        );
        assert_eq!(error.exit_code(), 1);
    }
}
