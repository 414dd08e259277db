//! `millpond inspect`: what is in a checkpoint.

use crate::checkpoint::Checkpoint;
use crate::checkpoints::list;
use crate::output::{Bytes, Moment, Sizes};
use crate::{Failure, Outcome};
use millpond_engine::checkpoint::storage::{CheckpointPaths, parse_location};
use millpond_engine::checkpoint::{KeyedHandle, OperatorMetadata, SubtaskSnapshot};
use std::io::Write;

/// Arguments of `millpond inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder of the checkpoint (`chk-<n>`) or savepoint, or its _metadata file; or a folder of them, whose checkpoints are listed
    path: String,
    /// Show every subtask and file as well
    #[arg(long, short)]
    files: bool,
}

/// Shows the checkpoint.
pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<Outcome, Failure> {
    let path = parse_location("the path of the checkpoint", &args.path).map_err(Failure::Arguments)?;
    if path.is_dir() && !path.join(CheckpointPaths::METADATA).exists() && list(&path, out)? {
        return Ok(Outcome::Well);
    }
    let checkpoint = Checkpoint::read(&args.path)?;
    let metadata = &checkpoint.metadata;
    let what = if metadata.is_savepoint {
        "savepoint"
    } else {
        "checkpoint"
    };
    writeln!(out, "{what} {} of job '{}'", metadata.id, metadata.job_name)?;
    writeln!(out, "  folder      {}", checkpoint.folder.display())?;
    writeln!(out, "  job id      {}", metadata.job_id)?;
    writeln!(out, "  lineage     {}", metadata.lineage.id())?;
    if let Some(left) = metadata.lineage.before().last() {
        writeln!(
            out,
            "              behind checkpoint {} of {}",
            left.id, left.lineage
        )?;
    }
    writeln!(out, "  attempt     {}", metadata.attempt)?;
    writeln!(out, "  mode        {}", metadata.mode)?;
    writeln!(out, "  epoch       {}", metadata.epoch)?;
    writeln!(out, "  triggered   {}", Moment(metadata.timestamp_ms))?;
    let sizes = Sizes::of(metadata);
    writeln!(
        out,
        "  state       {} of keys and values",
        Bytes(sizes.state_bytes)
    )?;
    writeln!(out, "  stored      {}", sizes.stored())?;
    for operator in &metadata.operators {
        write_operator(out, operator, args.files)?;
    }
    Ok(Outcome::Well)
}

fn write_operator(out: &mut impl Write, operator: &OperatorMetadata, files: bool) -> std::io::Result<()> {
    let bytes: u64 = operator.subtasks.iter().map(SubtaskSnapshot::state_bytes).sum();
    writeln!(out, "\noperator '{}' (uid '{}')", operator.name, operator.id)?;
    writeln!(
        out,
        "  parallelism {} of at most {}, state of {}",
        operator.parallelism,
        operator.max_parallelism,
        Bytes(bytes)
    )?;
    for state in &operator.states {
        let width = state
            .width
            .map(|width| format!(", {width} bytes a value"))
            .unwrap_or_default();
        let codec = state
            .codec
            .as_ref()
            .map(|codec| format!(", codec {codec}"))
            .unwrap_or_default();
        writeln!(
            out,
            "  keyed state '{}': {}{width}{codec}",
            state.name, state.kind
        )?;
    }
    let states = operator
        .subtasks
        .iter()
        .flat_map(|subtask| &subtask.operator_state);
    let mut kinds: Vec<_> = states
        .clone()
        .map(|state| (state.name.as_str(), state.redistribution, &state.codec.shape))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    for (name, redistribution, codec) in kinds {
        let elements = states
            .clone()
            .filter(|state| state.name == name && state.redistribution == redistribution);
        let (count, bytes) = elements.fold((0, 0), |(count, bytes), state| {
            (count + state.offsets.len(), bytes + state.elements.size)
        });
        writeln!(
            out,
            "  operator state '{name}': {redistribution}, {count} elements, {}, codec {codec}",
            Bytes(bytes)
        )?;
    }
    if files {
        for subtask in &operator.subtasks {
            write_subtask(out, subtask)?;
        }
    }
    Ok(())
}

fn write_subtask(out: &mut impl Write, subtask: &SubtaskSnapshot) -> std::io::Result<()> {
    writeln!(
        out,
        "  subtask {}: state of {}, sync {:.1} ms, async {:.1} ms, alignment {:.1} ms{}",
        subtask.subtask,
        Bytes(subtask.state_bytes()),
        subtask.sync_ms,
        subtask.async_ms,
        subtask.alignment_ms,
        if subtask.finished { ", finished" } else { "" }
    )?;
    for handle in &subtask.keyed {
        let KeyedHandle {
            backend,
            kind,
            key_groups: (first, last),
            ..
        } = handle;
        writeln!(
            out,
            "    key groups {first}..={last}: {kind} by {backend}, state of {}",
            Bytes(handle.state_bytes)
        )?;
        for file in &handle.files {
            let shared = if file.shared { ", shared" } else { "" };
            writeln!(
                out,
                "      {file} ({}, CRC32 {:08x}{shared})",
                Bytes(file.size),
                file.crc32
            )?;
        }
    }
    Ok(())
}
