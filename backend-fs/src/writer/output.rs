//! A file that is opened when its first entry is written, and sections that begin with theirs.

use crate::file::{Compressor, FileWriter, GroupTotals, Hashes, Output};
use millpond_backend_api::{
    BackendResult, Entry, FileRef, KeyGroup, SnapshotStream, SnapshotStreams, StateDescriptor, StreamHint,
};

/// Where the bytes go: as they are, or compressed.
enum Target {
    Plain(SnapshotStream),
    Compressed(Compressor<SnapshotStream>),
}

/// A file that was written.
pub(super) struct WrittenFile {
    pub(super) file: FileRef,
    /// The length of the plain file; 0 if the file is not compressed.
    pub(super) plain_bytes: u64,
    /// The CRC32 of the plain file's directory.
    pub(super) directory_crc32: u32,
}

impl Output for Target {
    fn write(&mut self, bytes: &[u8]) -> BackendResult<()> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Compressed(frames) => frames.write(bytes),
        }
    }
}

/// A file that is opened when its first section begins.
pub(super) struct LazyFile<'a> {
    streams: &'a SnapshotStreams,
    hint: &'a dyn Fn() -> StreamHint,
    states: &'a [StateDescriptor],
    compressed: bool,
    writer: Option<FileWriter<Target>>,
}

impl<'a> LazyFile<'a> {
    /// A file of `states` in `streams`, with what `hint` says about it.
    pub(super) fn new(
        streams: &'a SnapshotStreams,
        hint: &'a dyn Fn() -> StreamHint,
        states: &'a [StateDescriptor],
        compressed: bool,
    ) -> Self {
        Self {
            streams,
            hint,
            states,
            compressed,
            writer: None,
        }
    }

    /// The section of the state with the index `state` in `group`; it begins with its first entry.
    pub(super) fn section(&mut self, state: u32, group: KeyGroup) -> LazySection<'_, 'a> {
        LazySection {
            file: self,
            state,
            group,
            live: 0,
            written: 0,
            begun: false,
        }
    }

    fn begin(&mut self, state: u32, group: KeyGroup) -> BackendResult<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let stream = self.streams.open((self.hint)())?;
                let target = if self.compressed {
                    Target::Compressed(Compressor::new(stream)?)
                } else {
                    Target::Plain(stream)
                };
                self.writer.insert(FileWriter::new(target, self.states)?)
            }
        };
        writer.begin_section(state, group, 0)
    }

    /// Ends the file and makes it durable. `None` if nothing was written.
    pub(super) fn finish(self) -> BackendResult<Option<WrittenFile>> {
        let Some(writer) = self.writer else {
            return Ok(None);
        };
        let (target, written) = writer.finish()?;
        let (stream, plain_bytes) = match target {
            Target::Plain(stream) => (stream, 0),
            Target::Compressed(frames) => {
                let (stream, figures) = frames.finish()?;
                (stream, figures.plain_bytes)
            }
        };
        let file = stream.finish()?;
        Ok(Some(WrittenFile {
            file,
            plain_bytes,
            directory_crc32: written.directory_crc32,
        }))
    }
}

/// A section that begins with its first entry.
pub(super) struct LazySection<'f, 'a> {
    file: &'f mut LazyFile<'a>,
    state: u32,
    group: KeyGroup,
    live: u64,
    /// The entries that were written, deleted ones too.
    written: u64,
    begun: bool,
}

impl LazySection<'_, '_> {
    pub(super) fn group(&self) -> KeyGroup {
        self.group
    }

    /// How many entries were written, without the deleted ones.
    pub(super) fn live(&self) -> u64 {
        self.live
    }

    fn writer(&mut self) -> BackendResult<Option<&mut FileWriter<Target>>> {
        /// Entries between two looks at whether the snapshot is still wanted; a power of two.
        const LOOK: u64 = 1 << 16;
        if !self.begun {
            self.file.begin(self.state, self.group)?;
            self.begun = true;
        }
        self.written += 1;
        if self.written.is_multiple_of(LOOK) {
            self.file.streams.check_cancelled()?;
        }
        Ok(self.file.writer.as_mut())
    }

    pub(super) fn entry(&mut self, hashes: Hashes, entry: &Entry<'_>) -> BackendResult<()> {
        if let Some(writer) = self.writer()? {
            writer.entry(hashes, entry)?;
        }
        self.live += 1;
        Ok(())
    }

    pub(super) fn deleted(&mut self, hashes: Hashes, entry: &Entry<'_>) -> BackendResult<()> {
        match self.writer()? {
            Some(writer) => writer.deleted(hashes, entry),
            None => Ok(()),
        }
    }

    /// Ends the section, if it has begun.
    pub(super) fn finish(&mut self, totals: GroupTotals) -> BackendResult<()> {
        match &mut self.file.writer {
            Some(writer) if self.begun => writer.end_section(totals),
            _ => Ok(()),
        }
    }
}
