//! Which finished files are to be seen when a job has gone back to an older checkpoint.

use super::names::Names;
use super::{FileSink, failed, sync_folder};
use crate::Result;
use crate::api::SinkContext;
use std::fs;
use std::io;
use std::path::Path;

/// Hides the finished files of a future that the job has left, since their rows come again, and shows those again that an earlier run has hidden and that belong to the
/// past of this one. Of files with another beginning nothing is known, so they stay as they are. Each file is one subtask's business, whatever the parallelism was
/// before.
///
/// Nothing is deleted: whoever goes forward again, to a checkpoint of the line that was left, finds its files.
pub(super) fn show_this_line<T>(sink: &FileSink<T>, context: &SinkContext, names: &[String]) -> Result<()> {
    let lineage = &context.lineage;
    let is_mine = |subtask: u32| subtask % context.parallelism.max(1) == context.subtask;
    let (mut hidden, mut shown) = (0_u64, 0_u64);
    for name in names {
        if let Some(file) = sink.names.parse_finished(name)
            && is_mine(file.subtask)
            && lineage.has_left(file.checkpoint)
        {
            rename(&sink.folder, name, &Names::left(name))?;
            hidden += 1;
        } else if let Some((finished, file)) = sink.names.parse_left(name)
            && is_mine(file.subtask)
            && lineage.includes(file.checkpoint)
        {
            rename(&sink.folder, name, finished)?;
            shown += 1;
        }
    }
    if hidden + shown == 0 {
        return Ok(());
    }
    tracing::warn!(
        "output folder {}: the job has gone back to an older checkpoint. {hidden} files that were finished after it are hidden, as {}, since their rows come \
         again; {shown} that were hidden belong to its past and are shown again",
        sink.folder.display(),
        Names::left("<name>")
    );
    sync_folder(&sink.folder).map_err(|error| failed(&sink.folder, "cannot sync", error))
}

/// Renames a file that may have been renamed in the same moment, by the commit of a restored checkpoint.
fn rename(folder: &Path, from: &str, to: &str) -> Result<()> {
    match fs::rename(folder.join(from), folder.join(to)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(
            &folder.join(from),
            &format!("cannot rename to {to}"),
            error,
        )),
        _ => Ok(()),
    }
}
