//! The pointer: the one small file that says what a job's state is.

use super::JobEnd;
use crate::checkpoint::envelope::Format;
use crate::checkpoint::{CheckpointId, JobId, Lineage};
use crate::codec;
use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

const FORMAT: Format<1> = Format {
    what: "the high-availability pointer",
    magic: *b"MillPntr",
    sections: ["pointer"],
    versions: (2, 2),
};

/// What is known about a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    pub(super) job_id: JobId,
    /// The last attempt that was begun.
    pub(super) attempt: u64,
    /// Numbers below may have been used.
    pub(super) next_id: CheckpointId,
    /// The completed checkpoints, in rising order.
    pub(super) retained: Vec<CheckpointId>,
    /// None while the job runs, or should.
    pub(super) end: Option<JobEnd>,
    /// The line of checkpoints that the next one is on: another than that of the latest if recovery went back to that.
    pub(super) lineage: Lineage,
}

/// Version 2, as stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    job_id: String,
    attempt: u64,
    next_id: u64,
    retained: Vec<u64>,
    state: State,
    lineage: Lineage,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum State {
    Running,
    Finished,
    Failed,
    Cancelled,
    Stopped,
}

impl Pointer {
    /// The pointer of a job that never ran.
    pub(super) fn new() -> Self {
        Self {
            job_id: JobId::random(),
            attempt: 0,
            next_id: CheckpointId::FIRST,
            retained: Vec::new(),
            end: None,
            lineage: Lineage::new(),
        }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let stored = Stored {
            job_id: self.job_id.as_str().to_owned(),
            attempt: self.attempt,
            next_id: self.next_id.0,
            retained: self.retained.iter().map(|id| id.0).collect(),
            state: match self.end {
                None => State::Running,
                Some(JobEnd::Finished) => State::Finished,
                Some(JobEnd::Failed) => State::Failed,
                Some(JobEnd::Cancelled) => State::Cancelled,
                Some(JobEnd::Stopped) => State::Stopped,
            },
            lineage: self.lineage.clone(),
        };
        let body = codec::to_vec(&stored).map_err(|error| {
            Error::new(
                ErrorKind::Bug,
                format!("cannot encode a high-availability pointer: {error}"),
            )
        })?;
        Ok(FORMAT.seal(2, [&body]))
    }

    pub(super) fn decode(bytes: &[u8], source: &Path) -> Result<Self> {
        FORMAT.version(bytes, source)?;
        let [(at, body)] = FORMAT.open(bytes, source)?;
        let [section] = FORMAT.sections;
        let damaged = |what: &str| FORMAT.damaged(source, section, at, what);
        let stored: Stored =
            codec::decode(body).map_err(|error| damaged(&format!("its checksum is right, but {error}")))?;
        Ok(Self {
            job_id: JobId::parse(&stored.job_id).map_err(|error| damaged(error.message()))?,
            attempt: stored.attempt,
            next_id: CheckpointId(stored.next_id),
            retained: stored.retained.into_iter().map(CheckpointId).collect(),
            end: match stored.state {
                State::Running => None,
                State::Finished => Some(JobEnd::Finished),
                State::Failed => Some(JobEnd::Failed),
                State::Cancelled => Some(JobEnd::Cancelled),
                State::Stopped => Some(JobEnd::Stopped),
            },
            lineage: stored.lineage,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Pointer {
        Pointer {
            job_id: JobId::parse("0123456789abcdef0123456789abcdef").unwrap(),
            attempt: 3,
            next_id: CheckpointId(40),
            retained: vec![CheckpointId(17), CheckpointId(19)],
            end: None,
            lineage: serde_json::from_str(r#"{"id": 1234605616436508552, "before": []}"#).unwrap(),
        }
    }

    #[test]
    fn pointer_reads_back_in_every_state() {
        for end in [
            None,
            Some(JobEnd::Finished),
            Some(JobEnd::Failed),
            Some(JobEnd::Cancelled),
            Some(JobEnd::Stopped),
        ] {
            let pointer = Pointer { end, ..sample() };
            let bytes = pointer.encode().unwrap();
            assert_eq!(Pointer::decode(&bytes, Path::new("p")).unwrap(), pointer);
        }
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_an_error_that_names_the_file() {
        let bytes = sample().encode().unwrap();
        for len in 0..bytes.len() {
            let error = Pointer::decode(&bytes[..len], Path::new("/ha/pointer")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Restore);
            assert!(error.to_string().contains("'/ha/pointer'"), "{error}");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert!(
                    Pointer::decode(&flipped, Path::new("p")).is_err(),
                    "bit {bit} of byte {at}"
                );
            }
        }
    }

    /// Bytes written by every released version are read for ever.
    #[test]
    fn golden_file_of_version_2_reads_and_is_still_what_is_written() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/checkpoint/ha/testdata/v2.pointer");
        if std::env::var_os("MILLPOND_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, sample().encode().unwrap()).unwrap();
        }
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(Pointer::decode(&bytes, &path).unwrap(), sample());
        assert_eq!(bytes, sample().encode().unwrap());
    }
}
