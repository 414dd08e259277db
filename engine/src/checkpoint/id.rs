//! The names of things: checkpoints, jobs and operators.

use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::hash::{BuildHasher, RandomState};

/// The number of a checkpoint. Numbers start at 1 and rise for the life of a job, across attempts and across processes; the number of
/// a checkpoint is also the number of the epoch that it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CheckpointId(pub u64);

impl CheckpointId {
    /// The first checkpoint of a job.
    pub const FIRST: Self = Self(1);

    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who owns state: the operator's uid, which a user sets or the engine derives from the job's shape.
///
/// State finds its operator again by this id alone, so it must be the same in every version of a program. Two ids are equal if
/// their uids are. The 64-bit [`hash`](Self::hash) is the same on every machine and in every version (xxh3 of the uid).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct OperatorId {
    uid: String,
    hash: u64,
}

impl OperatorId {
    /// The id of the operator with this uid.
    pub fn new(uid: impl Into<String>) -> Self {
        let uid = uid.into();
        let hash = xxhash_rust::xxh3::xxh3_64(uid.as_bytes());
        Self { uid, hash }
    }

    /// The uid as the user wrote it.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// A number for the id that never changes.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

impl From<String> for OperatorId {
    fn from(uid: String) -> Self {
        Self::new(uid)
    }
}

impl From<OperatorId> for String {
    fn from(id: OperatorId) -> Self {
        id.uid
    }
}

impl fmt::Display for OperatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uid)
    }
}

/// What holds for a record's effect on state after a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CheckpointingMode {
    /// Each record counts exactly once: operators hold back records that are later than the checkpoint until it is taken.
    #[default]
    ExactlyOnce,
    /// Each record counts at least once: nothing is held back, so records near a checkpoint may count twice after a failure.
    AtLeastOnce,
}

impl fmt::Display for CheckpointingMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ExactlyOnce => "EXACTLY_ONCE",
            Self::AtLeastOnce => "AT_LEAST_ONCE",
        })
    }
}

/// The id of one run of a job: 32 hexadecimal digits, as in Flink. It names the job's folder below the checkpoint folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(String);

impl JobId {
    /// Number of hexadecimal digits.
    pub const DIGITS: usize = 32;

    /// An id that nobody had before.
    #[must_use]
    pub fn random() -> Self {
        Self(random_hex())
    }

    /// Reads an id back.
    ///
    /// # Errors
    /// A text that is not 32 lower-case hexadecimal digits is refused (kind [`ErrorKind::Restore`]): it is about to be part of a path.
    pub fn parse(text: &str) -> Result<Self> {
        let valid =
            text.len() == Self::DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::new(
                ErrorKind::Restore,
                format!(
                    "'{text}' is not a job id: expected {} hexadecimal digits",
                    Self::DIGITS
                ),
            ))
        }
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// 32 hexadecimal digits from the random keys that the standard library draws from the operating system.
///
/// One hash is 64 bits under fresh keys; process id and time go in as well, so that even a machine without randomness gives no name twice.
pub(super) fn random_hex() -> String {
    let keys = RandomState::new();
    let now = std::time::SystemTime::now();
    let high = keys.hash_one((0u8, now, std::process::id()));
    let low = RandomState::new().hash_one((1u8, now, high));
    format!("{high:016x}{low:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operator_hash_is_the_same_in_every_version() {
        assert_eq!(
            OperatorId::new("word-count").hash(),
            xxhash_rust::xxh3::xxh3_64(b"word-count")
        );
        assert_ne!(OperatorId::new("a").hash(), OperatorId::new("b").hash());
    }

    #[test]
    fn operator_id_travels_as_its_uid_alone() {
        let text = serde_json::to_string(&OperatorId::new("a")).unwrap();
        assert_eq!(text, "\"a\"");
        let back: OperatorId = serde_json::from_str(&text).unwrap();
        assert_eq!(back, OperatorId::new("a"));
        assert_eq!(back.hash(), OperatorId::new("a").hash());
    }

    #[test]
    fn job_ids_are_distinct_and_read_back() {
        let (a, b) = (JobId::random(), JobId::random());
        assert_ne!(a, b);
        assert_eq!(JobId::parse(a.as_str()).unwrap(), a);
    }

    #[test]
    fn job_id_that_would_leave_its_folder_is_refused() {
        for text in ["", "..", "../../../../../../../../../../etc", &"A".repeat(32)] {
            assert_eq!(JobId::parse(text).unwrap_err().kind(), ErrorKind::Restore);
        }
    }
}
