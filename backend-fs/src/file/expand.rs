//! Makes the plain file of a compressed one, frame by frame; damage is refused at the frame that has it.

use super::compress::{FRAME_BYTES, FRAME_HEAD_BYTES, FRAMES_MAGIC, frame_crc32};
use super::damage::damaged_file;
use super::layout::{HEADER_BYTES, check_header, index_of};
use super::output::Output;
use millpond_backend_api::{BackendError, BackendResult};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// Makes the file `to`, which must not be there yet, of the compressed file that `read` gives from its start (as
/// [`RestoreStream::read`](millpond_backend_api::RestoreStream::read): how many bytes were read, 0 at the end). `name` is what errors call the compressed
/// file, `plain_bytes` the length that the plain file must have. The file is not made durable: it is a copy.
///
/// # Errors
/// As [`expand_into`]; [`Io`](millpond_backend_api::BackendErrorKind::Io) when `to` is there already or cannot be written. After any other error `to` is gone.
pub fn expand(
    read: impl FnMut(&mut [u8]) -> BackendResult<usize>,
    name: &str,
    plain_bytes: u64,
    to: &Path,
) -> BackendResult<()> {
    let failed = |error: std::io::Error| {
        BackendError::from(error).context(format_args!("{name} cannot be expanded to {}", to.display()))
    };
    let file = File::create_new(to).map_err(failed)?;
    let mut plain = PlainFile { file, path: to };
    expand_into(read, name, plain_bytes, &mut plain).inspect_err(|_| {
        // The error that is reported tells more than a file that cannot be removed.
        drop(fs::remove_file(to));
    })
}

struct PlainFile<'a> {
    file: File,
    path: &'a Path,
}

impl Output for PlainFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> BackendResult<()> {
        let written = self.file.write_all(bytes);
        let path = self.path.display();
        written.map_err(|error| {
            BackendError::from(error).context(format_args!(
                "a compressed snapshot file cannot be expanded to {path}, which is below io.tmp.dirs"
            ))
        })
    }
}

/// Like [`expand`], to any output.
///
/// # Errors
/// [`Corrupted`](millpond_backend_api::BackendErrorKind::Corrupted) for damage, with the offset of the frame, and for a plain length other than `plain_bytes`;
/// [`Incompatible`](millpond_backend_api::BackendErrorKind::Incompatible) for a version that is not known; those of `read` and of the output.
pub fn expand_into(
    read: impl FnMut(&mut [u8]) -> BackendResult<usize>,
    name: &str,
    plain_bytes: u64,
    output: &mut impl Output,
) -> BackendResult<()> {
    let mut input = Input {
        read,
        name,
        offset: 0,
    };
    let mut head = vec![0; index_of(HEADER_BYTES)];
    input.fill(&mut head)?;
    check_header(name, FRAMES_MAGIC, &head)?;
    let (mut stored, mut plain) = (vec![0; FRAME_BYTES], vec![0; FRAME_BYTES]);
    let mut done = 0;
    loop {
        let frame = input.frame(&mut stored)?;
        let Some(plain_len) = frame.plain_len else {
            let expected = [plain_bytes, done].map(u64::to_le_bytes);
            if expected.iter().any(|len| len != frame.stored) {
                return Err(damaged_frame(
                    name,
                    frame.offset,
                    format_args!("the end after {plain_bytes} bytes"),
                    format_args!("it after {done}, marked {:02x?}", frame.stored),
                ));
            }
            return input.end();
        };
        done += plain_len as u64;
        if done > plain_bytes {
            return Err(damaged_frame(
                name,
                frame.offset,
                format_args!("{plain_bytes} plain bytes"),
                format_args!("at least {done}"),
            ));
        }
        if frame.stored.len() == plain_len {
            output.write(frame.stored)?;
            continue;
        }
        let place = plain.get_mut(..plain_len).unwrap_or_default();
        match lz4_flex::block::decompress_into(frame.stored, place) {
            Ok(len) if len == plain_len => output.write(place)?,
            found => {
                return Err(damaged_frame(
                    name,
                    frame.offset,
                    format_args!("{plain_len} compressed bytes"),
                    format_args!("{found:?}"),
                ));
            }
        }
    }
}

/// A frame whose checksum is right.
struct Frame<'a> {
    offset: u64,
    /// `None` for the last, whose stored bytes are the length of the plain file.
    plain_len: Option<usize>,
    stored: &'a [u8],
}

struct Input<'a, R> {
    read: R,
    name: &'a str,
    offset: u64,
}

impl<R: FnMut(&mut [u8]) -> BackendResult<usize>> Input<'_, R> {
    /// Fills `buffer`.
    fn fill(&mut self, buffer: &mut [u8]) -> BackendResult<()> {
        let wanted = buffer.len();
        let read = self.fill_if_there(buffer)?;
        if read < wanted {
            return Err(damaged_frame(
                self.name,
                self.offset,
                format_args!("{} more bytes", wanted - read),
                "the end of the file",
            ));
        }
        Ok(())
    }

    /// Fills `buffer` as far as there are bytes, and returns how far.
    fn fill_if_there(&mut self, buffer: &mut [u8]) -> BackendResult<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            // A stream that claims more than it was asked for is not believed.
            let read = (self.read)(rest)?.min(rest.len());
            if read == 0 {
                break;
            }
            filled += read;
            self.offset += read as u64;
        }
        Ok(filled)
    }

    fn frame<'b>(&mut self, stored: &'b mut [u8]) -> BackendResult<Frame<'b>> {
        let offset = self.offset;
        let mut head = [0; FRAME_HEAD_BYTES];
        self.fill(&mut head)?;
        let [a, b, c, d, e, f, g, h, crc32 @ ..] = head;
        let plain_len = u32::from_le_bytes([a, b, c, d]) as usize;
        let stored_len = u32::from_le_bytes([e, f, g, h]) as usize;
        let possible = match plain_len {
            0 => stored_len == 8,
            _ => plain_len <= FRAME_BYTES && (1..=plain_len).contains(&stored_len),
        };
        let Some(stored) = stored.get_mut(..stored_len).filter(|_| possible) else {
            return Err(damaged_frame(
                self.name,
                offset,
                format_args!("a frame of at most {FRAME_BYTES} bytes"),
                format_args!("one of {plain_len} in {stored_len}"),
            ));
        };
        self.fill(stored)?;
        let expected = u32::from_le_bytes(crc32);
        let found = frame_crc32([a, b, c, d, e, f, g, h], stored);
        if expected != found {
            return Err(damaged_frame(
                self.name,
                offset,
                format_args!("CRC32 {expected:08x}"),
                format_args!("{found:08x}"),
            ));
        }
        Ok(Frame {
            offset,
            plain_len: (plain_len > 0).then_some(plain_len),
            stored,
        })
    }

    /// Checks that nothing follows.
    fn end(&mut self) -> BackendResult<()> {
        let offset = self.offset;
        if self.fill_if_there(&mut [0])? > 0 {
            return Err(damaged_frame(
                self.name,
                offset,
                "the end of the file",
                "more bytes",
            ));
        }
        Ok(())
    }
}

#[cold]
fn damaged_frame(
    name: &str,
    offset: u64,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> BackendError {
    damaged_file(name, "frame", offset, expected, found)
}
