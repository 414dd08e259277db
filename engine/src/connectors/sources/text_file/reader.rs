//! Reads splits line by line.

use super::{Line, TextFileSplit};
use crate::api::{ReaderStatus, SourceOutput, SourceReader};
use crate::{Error, ErrorKind, Result};
use std::collections::VecDeque;
use std::fs::File;
use std::marker::PhantomData;
use std::os::unix::fs::FileExt;

/// The longest line that is read, in bytes: 1 GiB.
pub const LINE_BYTES_MAX: usize = 1 << 30;

/// How much is read at a time; more only for a line that is longer.
const BUFFER_BYTES: usize = 1024 * 1024;

/// Reads the splits of a [`TextFileSource`](super::TextFileSource) in one subtask, one after the other.
///
/// There is one buffer a reader, and nothing but the lines is allocated.
#[derive(Debug)]
pub struct TextFileReader<L> {
    /// What is left; the first one is being read.
    splits: VecDeque<TextFileSplit>,
    /// The file of the first split, if it is open already.
    file: Option<File>,
    buffer: Vec<u8>,
    /// The unread bytes are `buffer[filled_from..filled_to]`; the first is the one at the split's position.
    filled_from: usize,
    filled_to: usize,
    lines: PhantomData<fn() -> L>,
}

impl<L> TextFileReader<L> {
    pub(super) fn new(splits: Vec<TextFileSplit>) -> Self {
        Self {
            splits: splits.into(),
            file: None,
            buffer: Vec::new(),
            filled_from: 0,
            filled_to: 0,
            lines: PhantomData,
        }
    }
}

impl<L: Line> SourceReader for TextFileReader<L> {
    type Record = L;
    type Split = TextFileSplit;

    fn poll(&mut self, max_records: usize, output: &mut SourceOutput<L>) -> Result<ReaderStatus> {
        let Some(split) = self.splits.front_mut() else {
            return Ok(ReaderStatus::Finished);
        };
        let file = match &self.file {
            Some(file) => file,
            None => {
                let file = open(split)?;
                self.filled_from = 0;
                self.filled_to = 0;
                if self.buffer.is_empty() {
                    self.buffer.resize(BUFFER_BYTES, 0);
                }
                align(split, &file, &mut self.buffer)?;
                self.file.insert(file)
            }
        };
        let mut emitted = 0;
        // How many of the unread bytes are known to hold no line end.
        let mut searched = 0;
        while emitted < max_records && split.position < split.end {
            let unread = self
                .buffer
                .get(self.filled_from..self.filled_to)
                .unwrap_or_default();
            let read_to = split.position + unread.len() as u64;
            // The part of the buffer that is the next line, and what follows it.
            let (line, line_end) = match memchr::memchr(b'\n', unread.get(searched..).unwrap_or_default()) {
                Some(index) => unread.split_at(searched + index),
                None if read_to == split.file_len => (unread, Default::default()),
                // A buffer's worth of lines is enough for one poll.
                None if emitted > 0 => break,
                None => {
                    searched = unread.len();
                    self.buffer.copy_within(self.filled_from..self.filled_to, 0);
                    self.filled_from = 0;
                    self.filled_to = searched;
                    if searched == self.buffer.len() {
                        grow(&mut self.buffer, split)?;
                    }
                    let free = self.buffer.get_mut(searched..).unwrap_or_default();
                    self.filled_to += read(file, split, free, read_to)?;
                    continue;
                }
            };
            let consumed = line.len() + usize::from(!line_end.is_empty());
            output.collect(L::from_bytes(line).map_err(|index| not_utf8(split, index))?);
            emitted += 1;
            searched = 0;
            self.filled_from += consumed;
            split.position += consumed as u64;
        }
        if split.position >= split.end {
            self.splits.pop_front();
            self.file = None;
        }
        Ok(if self.splits.is_empty() {
            ReaderStatus::Finished
        } else {
            ReaderStatus::More
        })
    }

    fn snapshot(&mut self) -> Result<Vec<TextFileSplit>> {
        Ok(self.splits.iter().cloned().collect())
    }
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

fn not_utf8(split: &TextFileSplit, index: usize) -> Error {
    Error::new(
        ErrorKind::UserCode,
        format!(
            "input file {} is not UTF-8 at offset {}, in the line that begins at offset {}; TextFileSource::bytes takes any text",
            split.path.display(),
            split.position + index as u64,
            split.position
        ),
    )
}
