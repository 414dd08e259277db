//! `millpond verify`: whether a checkpoint can be read.

use crate::checkpoint::Checkpoint;
use crate::output::{Bytes, Sizes};
use crate::{Failure, Outcome};
use millpond_engine::checkpoint::storage::CheckpointStorage;
use millpond_engine::checkpoint::{FileLocation, FileRef};
use std::collections::HashSet;
use std::io::Write;

/// Arguments of `millpond verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder of the checkpoint (`chk-<n>`) or savepoint, its _metadata file, or `<folder>/latest`
    path: String,
}

/// Reads every file.
pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<Outcome, Failure> {
    let checkpoint = Checkpoint::read(&args.path)?;
    let storage = checkpoint.storage()?;
    let mut seen = HashSet::new();
    let (mut files, mut bytes, mut damaged) = (0_u64, 0_u64, 0_u64);
    for operator in &checkpoint.metadata.operators {
        for subtask in &operator.subtasks {
            for file in subtask.files() {
                // Several subtasks name one file after a change of the parallelism.
                if let FileLocation::File(path) = &file.location
                    && !seen.insert(path)
                {
                    continue;
                }
                files += 1;
                match read_whole(&storage, file) {
                    Ok(()) => bytes += file.size,
                    Err(error) => {
                        damaged += 1;
                        writeln!(
                            out,
                            "operator '{}' (subtask {}): {error}",
                            operator.id, subtask.subtask
                        )?;
                    }
                }
            }
        }
    }
    let metadata = &checkpoint.metadata;
    let kind = if metadata.is_savepoint {
        "savepoint"
    } else {
        "checkpoint"
    };
    let what = format!("{kind} {} of job '{}'", metadata.id, metadata.job_name);
    if damaged > 0 {
        writeln!(out, "{what}: {damaged} of {files} files cannot be restored")?;
        return Ok(Outcome::NotWell);
    }
    writeln!(
        out,
        "{what}: its metadata and {files} files with {} (state of {}) are whole",
        Bytes(bytes),
        Bytes(Sizes::of(metadata).state_bytes)
    )?;
    Ok(Outcome::Well)
}

/// Reads a file to its end, which checks size and checksum.
fn read_whole(storage: &impl CheckpointStorage, file: &FileRef) -> millpond_engine::Result<()> {
    let mut input = storage.open_input(file)?;
    let mut buffer = vec![0; 1 << 18];
    while input.read(&mut buffer)? > 0 {}
    Ok(())
}
