//! A source of lines of text files.

mod block;
mod fetcher;
mod line;
mod listing;
mod reader;
mod split;
#[cfg(test)]
mod tests;

pub use fetcher::LINE_BYTES_MAX;
pub use line::Line;
pub use reader::TextFileReader;
pub use split::TextFileSplit;

use crate::api::{Boundedness, ReaderContext, Source};
use crate::{Error, ErrorKind, Result};
use std::marker::PhantomData;
use std::path::PathBuf;

/// Splits are not made smaller than this unless asked for.
const SPLIT_BYTES_MIN: u64 = 64 * 1024;
/// Nor larger than this.
const SPLIT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How many splits a subtask should get, so that one with slow splits does not hold up the end of the job.
const SPLITS_PER_SUBTASK: u64 = 4;

/// Emits the lines of text files, in parallel also within a large file.
///
/// A path is a file or a folder. Of a folder all regular files are read, also those in folders below it, in the order of their names; files and
/// folders whose names start with `.` or `_` are left out, as Flink does, since those are what other programs have not finished yet.
///
/// Lines are [`String`]s, and a line end is `\n` or `\r\n`. Text that is not UTF-8 is an error; [`bytes`](Self::bytes) takes lines as they are.
///
/// The files must not change while the job and its restarts read them. Appending is safe: only what was there at the start of the job is
/// read. A file that became shorter is refused.
///
/// ```
/// use millpond_engine::connectors::sources::TextFileSource;
///
/// let text = TextFileSource::new("corpus/").path("extra.txt");
/// let raw_lines = TextFileSource::new("access.log").bytes();
/// ```
#[derive(Clone, Debug)]
pub struct TextFileSource<L = String> {
    paths: Vec<PathBuf>,
    split_bytes: Option<u64>,
    lines: PhantomData<fn() -> L>,
}

impl TextFileSource {
    /// The lines of the file or folder `path`, as strings.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::paths([path])
    }

    /// The lines of several files and folders, as strings.
    pub fn paths(paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        Self {
            paths: paths.into_iter().map(Into::into).collect(),
            split_bytes: None,
            lines: PhantomData,
        }
    }

    /// The same lines as bytes: whatever stands between two `\n`, a `\r` included.
    #[must_use]
    pub fn bytes(self) -> TextFileSource<Vec<u8>> {
        TextFileSource {
            paths: self.paths,
            split_bytes: self.split_bytes,
            lines: PhantomData,
        }
    }
}

impl<L> TextFileSource<L> {
    /// Reads `path` too. A path that is given twice is read twice.
    #[must_use]
    pub fn path(mut self, path: impl Into<PathBuf>) -> Self {
        self.paths.push(path.into());
        self
    }

    /// Cuts files into parts of `bytes` (at least 1). By default there are about four parts a subtask, of 64 KiB to 64 MiB.
    #[must_use]
    pub fn split_bytes(mut self, bytes: u64) -> Self {
        self.split_bytes = Some(bytes.max(1));
        self
    }
}

impl<L: Line> Source for TextFileSource<L> {
    type Record = L;
    type Split = TextFileSplit;
    type Reader = TextFileReader<L>;

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn splits(&self, parallelism: u32) -> Result<Vec<TextFileSplit>> {
        let files = listing::list(&self.paths)?;
        let total: u64 = files.iter().map(|file| file.len).sum();
        let split_bytes = self.split_bytes.unwrap_or_else(|| {
            let parts = SPLITS_PER_SUBTASK * u64::from(parallelism.max(1));
            total.div_ceil(parts).clamp(SPLIT_BYTES_MIN, SPLIT_BYTES_MAX)
        });
        Ok(files
            .iter()
            .flat_map(|file| split::cut(&file.path, file.len, split_bytes))
            .collect())
    }

    fn check_restored(&self, restored: &[TextFileSplit]) -> Result<()> {
        let absolute = self
            .paths
            .iter()
            .filter_map(|path| std::path::absolute(path).ok());
        let paths: Vec<PathBuf> = absolute.collect();
        let is_asked_for = |split: &&TextFileSplit| paths.iter().any(|path| split.path.starts_with(path));
        let Some(other) = restored.iter().find(|split| !is_asked_for(split)) else {
            return Ok(());
        };
        let asked: Vec<_> = paths.iter().map(|path| format!("'{}'", path.display())).collect();
        Err(Error::new(
            ErrorKind::Configuration,
            format!(
                "its checkpoint has input of which a part is not read yet, '{}', and the program is to read {}: a checkpoint is gone on from with the input that it was taken with. Give \
                 that again; or give the source another uid, and it reads the new input from its beginning",
                other.path.display(),
                asked.join(", ")
            ),
        ))
    }

    fn reader(&self, context: ReaderContext, splits: Vec<TextFileSplit>) -> Result<TextFileReader<L>> {
        Ok(TextFileReader::new(splits, context.waker))
    }
}
