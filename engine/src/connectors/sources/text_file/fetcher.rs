//! Reads splits a block at a time.

use super::block::Block;
use super::{Line, TextFileSplit};
use crate::connectors::sources::fetching::{FetchStatus, SplitFetcher};
use crate::{Error, ErrorKind, Result};
use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// The longest line that is read, in bytes: 1 GiB.
pub const LINE_BYTES_MAX: usize = 1 << 30;

/// How much is read at a time; more only for a line that is longer.
const BLOCK_BYTES: usize = 256 * 1024;
/// How much of what lies behind a split is read at a time, for the end of its last line.
const BEYOND_BYTES: u64 = 64 * 1024;
/// So many splits in one batch at most, where they are small.
const BLOCKS_MAX: usize = 64;

/// Reads the splits of a subtask, one after the other.
#[derive(Debug)]
pub(super) struct TextFetcher {
    /// What is left; the first one is being read, and its position is that of the first byte that was not handed over.
    splits: VecDeque<TextFileSplit>,
    /// The file of the first split, if it is open already.
    file: Option<File>,
    /// What was read of the first split behind the last whole line.
    begun: Vec<u8>,
    /// What to fail with when all before it is handed over.
    failed: Option<Error>,
}

/// Blocks of one split or of several small ones.
#[derive(Debug)]
pub(super) struct Blocks<L: Line> {
    pub(super) blocks: VecDeque<Block<L>>,
    /// Those that were emitted.
    pub(super) spare: Vec<Block<L>>,
}

impl<L: Line> Default for Blocks<L> {
    fn default() -> Self {
        Self {
            blocks: VecDeque::new(),
            spare: Vec::new(),
        }
    }
}

impl TextFetcher {
    pub(super) fn new(splits: Vec<TextFileSplit>) -> Self {
        Self {
            splits: splits.into(),
            file: None,
            begun: Vec::new(),
            failed: None,
        }
    }
}

/// A fetcher of lines `L`.
#[derive(Debug)]
pub(super) struct LineFetcher<L> {
    pub(super) fetcher: TextFetcher,
    pub(super) lines: std::marker::PhantomData<fn() -> L>,
}

impl<L: Line> SplitFetcher for LineFetcher<L> {
    type Fetched = Blocks<L>;

    fn fetch(&mut self, fetched: &mut Blocks<L>) -> Result<FetchStatus> {
        let fetcher = &mut self.fetcher;
        let mut bytes = 0;
        while bytes < BLOCK_BYTES / 2 && fetched.blocks.len() < BLOCKS_MAX && !fetcher.splits.is_empty() {
            if let Some(error) = fetcher.failed.take() {
                if fetched.blocks.is_empty() {
                    return Err(error);
                }
                fetcher.failed = Some(error);
                break;
            }
            let mut block = fetched.spare.pop().unwrap_or_default();
            match fetcher.block(&mut block) {
                Ok(()) => {
                    bytes += L::len(&block.text);
                    fetched.blocks.push_back(block);
                }
                Err(error) => fetcher.failed = Some(error),
            }
        }
        Ok(match fetcher.splits.is_empty() {
            true => FetchStatus::Finished,
            false => FetchStatus::More,
        })
    }
}

impl TextFetcher {
    /// Reads the next lines of the first split.
    fn block<L: Line>(&mut self, block: &mut Block<L>) -> Result<()> {
        let mut bytes = block.reuse();
        if bytes.capacity() > 4 * BLOCK_BYTES {
            // There was a long line in it. The next one is seldom as long.
            bytes = Vec::new();
        }
        let Some(split) = self.splits.front_mut() else {
            return Ok(());
        };
        let file = match &self.file {
            Some(file) => file,
            None => {
                let file = open(split)?;
                self.begun.clear();
                bytes.resize(BLOCK_BYTES, 0);
                align(split, &file, &mut bytes)?;
                self.file.insert(file)
            }
        };
        block.offset = split.position;
        let (line, ends_split) = read_lines(file, split, &self.begun, &mut bytes, &mut block.ends)?;
        self.begun.clear();
        self.begun
            .extend_from_slice(bytes.get(line..).unwrap_or_default());
        bytes.truncate(line);
        block.ends_split = ends_split;
        block.text = match L::text(bytes) {
            Ok(text) => text,
            Err((mut bytes, index)) => {
                // The lines before it are fine.
                let before = bytes.get(..index).unwrap_or_default();
                let begin = memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
                let error = not_utf8(split, block.offset + index as u64, block.offset + begin as u64);
                if begin == 0 {
                    return Err(error);
                }
                self.failed = Some(error);
                bytes.truncate(begin);
                block.ends.retain(|end| (*end as usize) < begin);
                block.ends_split = false;
                return L::text(bytes)
                    .map(|text| block.text = text)
                    .map_err(|_| Error::new(ErrorKind::Bug, "text that was UTF-8 is not any more"));
            }
        };
        split.position += line as u64;
        if ends_split {
            self.splits.pop_front();
            self.file = None;
        }
        Ok(())
    }
}

/// Reads whole lines of `split` from its position on, of which `begun` are the first bytes: at least one line, if there is one. Puts where each ends into `ends`. Returns where
/// the first line begins that is not wanted or not whole, and whether none is left in the split. Behind that `bytes` has what was read too much, and no more.
fn read_lines(
    file: &File,
    split: &TextFileSplit,
    begun: &[u8],
    bytes: &mut Vec<u8>,
    ends: &mut Vec<u32>,
) -> Result<(usize, bool)> {
    // Memory that was used before keeps its bytes, so that only what is new has to be set to zero.
    bytes.resize(BLOCK_BYTES.max(2 * begun.len()).min(LINE_BYTES_MAX), 0);
    if let Some(place) = bytes.get_mut(..begun.len()) {
        place.copy_from_slice(begun);
    }
    // There is no line end in what was begun.
    let (mut filled, mut searched, mut line) = (begun.len(), begun.len(), 0);
    let wanted = usize::try_from(split.end.saturating_sub(split.position)).unwrap_or(usize::MAX);
    let mut ends_split = wanted == 0;
    while !ends_split {
        let read_to = split.position + filled as u64;
        if read_to == split.file_len {
            // The last line of the file, without an end.
            if line < filled {
                ends.push(u32::try_from(filled).unwrap_or(u32::MAX));
                line = filled;
            }
            ends_split = true;
            break;
        }
        if filled == bytes.len() {
            if !ends.is_empty() {
                break;
            }
            grow(bytes, split)?;
        }
        let useful = split.end.saturating_sub(read_to).max(BEYOND_BYTES);
        let free = bytes.get_mut(filled..).unwrap_or_default();
        let room = free.len().min(usize::try_from(useful).unwrap_or(usize::MAX));
        filled += read(file, split, free.get_mut(..room).unwrap_or_default(), read_to)?;
        let new = bytes.get(searched..filled).unwrap_or_default();
        for index in memchr::memchr_iter(b'\n', new) {
            ends.push(u32::try_from(searched + index).unwrap_or(u32::MAX));
            line = searched + index + 1;
            if line >= wanted {
                ends_split = true;
                break;
            }
        }
        searched = filled;
    }
    // What lies behind the split is another's.
    bytes.truncate(if ends_split { line } else { filled });
    Ok((line, ends_split))
}

fn open(split: &TextFileSplit) -> Result<File> {
    let file = File::open(&split.path).map_err(|error| failed(split, error))?;
    let len = file.metadata().map_err(|error| failed(split, error))?.len();
    if len < split.file_len {
        return Err(Error::new(
            ErrorKind::UserCode,
            format!(
                "input file {} became shorter: it had {} bytes when the job began and has {len} now, read up to offset {}",
                split.path.display(),
                split.file_len,
                split.position
            ),
        ));
    }
    Ok(file)
}

/// Moves the position of a fresh split to the first line that begins in it, or to its end if none does.
fn align(split: &mut TextFileSplit, file: &File, buffer: &mut [u8]) -> Result<()> {
    if split.start == 0 || split.position > split.start {
        return Ok(());
    }
    // From the byte before the split on: if that is a line end, the split begins with a line.
    let mut offset = split.start - 1;
    while offset < split.end {
        let few = usize::try_from(BEYOND_BYTES)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let buffer = buffer.get_mut(..few).unwrap_or_default();
        let count = read(file, split, buffer, offset)?;
        let bytes = buffer.get(..count).unwrap_or_default();
        if let Some(index) = memchr::memchr(b'\n', bytes) {
            offset += index as u64 + 1;
            break;
        }
        offset += count as u64;
        if offset == split.file_len {
            break;
        }
    }
    split.position = offset;
    Ok(())
}

/// Reads at least one byte at `offset`, none beyond the length that the file had when it was cut.
fn read(file: &File, split: &TextFileSplit, buffer: &mut [u8], offset: u64) -> Result<usize> {
    let left = usize::try_from(split.file_len - offset).unwrap_or(usize::MAX);
    let len = buffer.len().min(left);
    let buffer = buffer.get_mut(..len).unwrap_or_default();
    loop {
        match file.read_at(buffer, offset) {
            Ok(0) => {
                let message = format!("became shorter while it was read, at offset {offset}");
                return Err(failed(split, std::io::Error::other(message)));
            }
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(split, error)),
        }
    }
}

fn grow(buffer: &mut Vec<u8>, split: &TextFileSplit) -> Result<()> {
    if buffer.len() >= LINE_BYTES_MAX {
        return Err(Error::new(
            ErrorKind::UserCode,
            format!(
                "the line at offset {} of input file {} is longer than {LINE_BYTES_MAX} bytes",
                split.position,
                split.path.display()
            ),
        ));
    }
    buffer.resize((buffer.len() * 2).min(LINE_BYTES_MAX), 0);
    Ok(())
}

fn failed(split: &TextFileSplit, error: std::io::Error) -> Error {
    Error::new(
        ErrorKind::UserCode,
        format!("input file {} cannot be read", split.path.display()),
    )
    .with_source(error)
}

fn not_utf8(split: &TextFileSplit, offset: u64, line: u64) -> Error {
    Error::new(
        ErrorKind::UserCode,
        format!(
            "input file {} is not UTF-8 at offset {offset}, in the line that begins at offset {line}; TextFileSource::bytes takes any text",
            split.path.display(),
        ),
    )
}
