//! `millpond checkpoints`: all that is in a folder of checkpoints, and what nobody needs of it.

use crate::output::{Bytes, Moment, Sizes};
use crate::{Failure, Outcome};
use clap::Subcommand;
use millpond_engine::checkpoint::ha::HaSettings;
use millpond_engine::checkpoint::metadata;
use millpond_engine::checkpoint::storage::{CheckpointPaths, parse_location};
use millpond_engine::checkpoint::sweep::{SweepOptions, find_orphans};
use millpond_engine::config::ConfigArgs;
use millpond_engine::{Error, ErrorKind};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Arguments of `millpond checkpoints`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find files that no checkpoint or savepoint needs, and with --delete, delete them
    ///
    /// Reads all metadata below the folder. Nothing is touched of a job that runs, of one whose metadata cannot be read (exit code 1), and nothing that was changed within the last
    /// hour (--min-age). With the configuration of high availability (`--conf`, `-D`), what its copies of metadata name is needed as well.
    Sweep(Sweep),
}

#[derive(Debug, clap::Args)]
struct Sweep {
    /// A folder of checkpoints (execution.checkpointing.dir) or savepoints, or that of one job
    dir: String,

    /// Delete what was found; without it, it is only reported
    #[arg(long)]
    delete: bool,

    /// Name each file
    #[arg(long, short)]
    files: bool,

    /// Leave files alone that were changed within this many minutes
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    min_age: u64,

    /// Another folder whose checkpoints may name files in this one; may be repeated
    #[arg(long, value_name = "DIR")]
    also: Vec<String>,

    #[command(flatten)]
    config: ConfigArgs,
}

/// Does what is asked for.
pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<Outcome, Failure> {
    let Command::Sweep(args) = &args.command;
    let location = |what: &str, text: &str| parse_location(what, text).map_err(Failure::Arguments);
    let dir = location("the folder of checkpoints", &args.dir)?;
    let config = args.config.configuration().map_err(Failure::Arguments)?;
    let mut also_named_in = Vec::new();
    for folder in &args.also {
        also_named_in.push(location("--also", folder)?);
    }
    if let HaSettings::Filesystem { storage_dir, .. } = config.ha_settings().map_err(Failure::Arguments)?
        && storage_dir.is_dir()
    {
        also_named_in.push(storage_dir);
    }
    let options = SweepOptions {
        min_age: Duration::from_secs(args.min_age.saturating_mul(60)),
        also_named_in,
    };
    let found = find_orphans(&dir, &options).map_err(failure)?;
    if args.files {
        for file in &found.files {
            writeln!(out, "{} ({})", file.path.display(), Bytes(file.bytes))?;
        }
    }
    let mut outcome = Outcome::Well;
    for left in &found.not_judged {
        if left.is_in_use {
            writeln!(out, "left alone: '{}' is in use", left.folder.display())?;
        } else {
            outcome = Outcome::NotWell;
            writeln!(
                out,
                "left alone: '{}', since nobody knows what is needed: {}",
                left.folder.display(),
                left.reason
            )?;
        }
    }
    let (files, bytes) = (found.files.len(), Bytes(found.bytes()));
    if args.delete {
        found.delete().map_err(failure)?;
        writeln!(out, "deleted {files} files with {bytes} that nobody needs")?;
    } else {
        writeln!(
            out,
            "{files} files with {bytes} that nobody needs; --delete deletes them"
        )?;
    }
    Ok(outcome)
}

/// What is to be put right in the arguments is told from what went wrong.
fn failure(error: Error) -> Failure {
    match error.kind() {
        ErrorKind::Configuration => Failure::Arguments(error),
        _ => Failure::NotWell(error),
    }
}

/// Lists the checkpoints of a job's folder, or of the jobs' folders and the savepoints in a folder of such; false if there is none.
pub(crate) fn list(folder: &Path, out: &mut impl Write) -> Result<bool, Failure> {
    let mut jobs = vec![folder.to_owned()];
    jobs.extend(folders_in(folder));
    let mut found = false;
    for job in jobs {
        let mut snapshots: Vec<(u64, PathBuf)> = folders_in(&job)
            .into_iter()
            .filter_map(|path| {
                let name = path.file_name()?.to_str()?;
                let is_savepoint = name.starts_with(CheckpointPaths::SAVEPOINT_PREFIX);
                match CheckpointPaths::parse_checkpoint_name(name) {
                    Some(id) => Some((id.0, path)),
                    None => is_savepoint.then_some((0, path)),
                }
            })
            .collect();
        if snapshots.is_empty() {
            continue;
        }
        found = true;
        snapshots.sort_unstable();
        writeln!(out, "{}:", job.display())?;
        for (_, path) in snapshots {
            write_line(&path, out)?;
        }
    }
    Ok(found)
}

fn write_line(path: &Path, out: &mut impl Write) -> Result<(), Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let file = path.join(CheckpointPaths::METADATA);
    if !file.exists() {
        writeln!(
            out,
            "  {name}  not complete: it has no {}",
            CheckpointPaths::METADATA
        )?;
        return Ok(());
    }
    match metadata::read_file(&file) {
        Ok(metadata) => {
            let kind = match metadata.is_savepoint {
                true => "savepoint",
                false => "checkpoint",
            };
            let sizes = Sizes::of(&metadata);
            writeln!(
                out,
                "  {name}  {kind} {}, {}, state of {}, stored {}, job '{}', lineage {}",
                metadata.id,
                Moment(metadata.timestamp_ms),
                Bytes(sizes.state_bytes),
                sizes.stored(),
                metadata.job_name,
                metadata.lineage.id()
            )?;
        }
        Err(error) => writeln!(out, "  {name}  cannot be read: {error}")?,
    }
    Ok(())
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort_unstable();
    folders
}
