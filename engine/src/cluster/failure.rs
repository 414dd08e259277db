//! Why an attempt ended, told in words that travel between processes.

use serde::{Deserialize, Serialize};

use super::AttemptNumber;
use crate::{Error, ErrorKind};

/// What failed in one process, as the others hear of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureCause {
    /// The kind of the error that the failing process had.
    #[serde(with = "kind_code")]
    pub kind: ErrorKind,
    /// The whole message, causes included.
    pub message: String,
    /// Name of the operator that failed, where one is known.
    pub operator: Option<String>,
    /// Index of its subtask.
    pub subtask: Option<u32>,
}

impl FailureCause {
    /// The cause that stands for `error`, with its whole chain of causes in the text.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        Self {
            kind: error.kind(),
            message: error.to_string(),
            operator: None,
            subtask: None,
        }
    }

    /// The error that stands for this cause; operator and subtask are named in front of the message.
    #[must_use]
    pub fn to_error(&self) -> Error {
        let error = Error::new(self.kind, self.message.clone());
        match (&self.operator, self.subtask) {
            (Some(operator), Some(subtask)) => {
                error.context(format!("operator '{operator}', subtask {subtask}"))
            }
            (Some(operator), None) => error.context(format!("operator '{operator}'")),
            _ => error,
        }
    }
}

/// Why an attempt ended before its job was finished. The first reason that a process learns of is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttemptEnd {
    /// This process failed: its own cause, as given to [`AttemptControl::fail`](super::AttemptControl::fail).
    Failed(FailureCause),
    /// Another process told that it failed.
    PeerFailed {
        /// Index of that process.
        process: usize,
        /// What it said.
        cause: FailureCause,
    },
    /// The connection to a process was closed or went silent.
    PeerLost {
        /// Index of that process.
        process: usize,
        /// Its address.
        address: String,
        /// What was seen of the loss.
        reason: String,
    },
    /// The coordinator started a newer attempt while this one was still running here.
    Superseded {
        /// The newer attempt.
        by: AttemptNumber,
    },
    /// The coordinator gave the job up.
    GaveUp(FailureCause),
}

impl AttemptEnd {
    /// The error to show for it.
    #[must_use]
    pub fn to_error(&self) -> Error {
        match self {
            Self::Failed(cause) | Self::GaveUp(cause) => cause.to_error(),
            Self::PeerFailed { process, cause } => cause.to_error().context(format!("process {process}")),
            Self::PeerLost {
                process,
                address,
                reason,
            } => Error::new(
                ErrorKind::Cluster,
                format!("process {process} at {address} was lost: {reason}"),
            ),
            Self::Superseded { by } => Error::new(
                ErrorKind::Cluster,
                format!("the coordinator started attempt {by} while an earlier one was running here"),
            ),
        }
    }
}

/// Fixed numbers for error kinds: part of the protocol, so never renumbered. An unknown number reads as `JobFailed`.
mod kind_code {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::ErrorKind;

    const CODES: [(ErrorKind, u8); 12] = [
        (ErrorKind::Configuration, 1),
        (ErrorKind::Plugin, 2),
        (ErrorKind::Restore, 3),
        (ErrorKind::Storage, 4),
        (ErrorKind::StateTooLarge, 5),
        (ErrorKind::State, 6),
        (ErrorKind::UserCode, 7),
        (ErrorKind::Cluster, 8),
        (ErrorKind::Cancelled, 9),
        (ErrorKind::JobFailed, 10),
        (ErrorKind::Bug, 11),
        (ErrorKind::Damaged, 12),
    ];

    pub(super) fn serialize<S: Serializer>(kind: &ErrorKind, serializer: S) -> Result<S::Ok, S::Error> {
        let code = CODES
            .iter()
            .find(|(known, _)| known == kind)
            .map_or(10, |(_, code)| *code);
        serializer.serialize_u8(code)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ErrorKind, D::Error> {
        let code = u8::deserialize(deserializer)?;
        let known = CODES.iter().find(|(_, known)| *known == code);
        Ok(known.map_or(ErrorKind::JobFailed, |(kind, _)| *kind))
    }
}
