//! Version 2 of the metadata. Not to be changed once released: a change of a type that is encoded here asks for a version 3.

use super::{CheckpointMetadata, FORMAT, OperatorMetadata};
use crate::checkpoint::{CheckpointId, CheckpointingMode, JobId, Lineage};
use crate::codec;
use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The section `job`.
#[derive(Serialize, Deserialize)]
struct Job {
    job_name: String,
    job_id: String,
    id: CheckpointId,
    attempt: u64,
    mode: CheckpointingMode,
    epoch: u64,
    timestamp_ms: u64,
    is_savepoint: bool,
    lineage: Lineage,
}

pub(super) fn encode(metadata: &CheckpointMetadata) -> Result<Vec<u8>> {
    let job = Job {
        job_name: metadata.job_name.clone(),
        job_id: metadata.job_id.as_str().to_owned(),
        id: metadata.id,
        attempt: metadata.attempt,
        mode: metadata.mode,
        epoch: metadata.epoch,
        timestamp_ms: metadata.timestamp_ms,
        is_savepoint: metadata.is_savepoint,
        lineage: metadata.lineage.clone(),
    };
    let job = encode_section(&job)?;
    let operators = encode_section(&metadata.operators)?;
    Ok(FORMAT.seal(2, [&job, &operators]))
}

pub(super) fn decode(bytes: &[u8], source: &Path) -> Result<CheckpointMetadata> {
    let [job, operators] = FORMAT.open(bytes, source)?;
    let [job_name, operators_name] = FORMAT.sections;
    let (at, job): (usize, Job) = (job.0, decode_section(job, job_name, source)?);
    let operators: Vec<OperatorMetadata> = decode_section(operators, operators_name, source)?;
    let job_id =
        JobId::parse(&job.job_id).map_err(|error| FORMAT.damaged(source, job_name, at, error.message()))?;
    Ok(CheckpointMetadata {
        job_name: job.job_name,
        job_id,
        id: job.id,
        lineage: job.lineage,
        attempt: job.attempt,
        mode: job.mode,
        epoch: job.epoch,
        timestamp_ms: job.timestamp_ms,
        is_savepoint: job.is_savepoint,
        operators,
    })
}

fn encode_section<T: Serialize>(section: &T) -> Result<Vec<u8>> {
    codec::to_vec(section).map_err(|error| {
        Error::new(
            ErrorKind::Bug,
            format!("cannot encode checkpoint metadata: {error}"),
        )
    })
}

fn decode_section<T: for<'de> Deserialize<'de>>(
    (at, bytes): (usize, &[u8]),
    name: &str,
    source: &Path,
) -> Result<T> {
    codec::decode(bytes)
        .map_err(|error| FORMAT.damaged(source, name, at, &format!("its checksum is right, but {error}")))
}
