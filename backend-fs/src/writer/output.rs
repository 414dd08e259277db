//! A file that is opened when its first entry is written, and sections that begin with theirs.

use crate::file::{FileWriter, GroupTotals, Hashes, Output};
use millpond_backend_api::{
    BackendResult, Entry, FileRef, KeyGroup, SnapshotStream, SnapshotStreams, StateDescriptor, StreamHint,
};

/// Where the bytes go: as they are, or compressed.
enum Target {
    Plain(SnapshotStream),
}

impl Output for Target {
    fn write(&mut self, bytes: &[u8]) -> BackendResult<()> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
        }
    }
}

/// A file that is opened when its first section begins.
pub(super) struct LazyFile<'a> {
    streams: &'a SnapshotStreams,
    hint: &'a dyn Fn() -> StreamHint,
    states: &'a [StateDescriptor],
    writer: Option<FileWriter<Target>>,
}

impl<'a> LazyFile<'a> {
    /// A file of `states` in `streams`, with what `hint` says about it.
    pub(super) fn new(
        streams: &'a SnapshotStreams,
        hint: &'a dyn Fn() -> StreamHint,
        states: &'a [StateDescriptor],
        _compressed: bool,
    ) -> Self {
        Self {
            streams,
            hint,
            states,
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
            begun: false,
        }
    }

    fn begin(&mut self, state: u32, group: KeyGroup) -> BackendResult<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let stream = Target::Plain(self.streams.open((self.hint)())?);
                self.writer.insert(FileWriter::new(stream, self.states)?)
            }
        };
        writer.begin_section(state, group, 0)
    }

    /// Ends the file and makes it durable. `None` if nothing was written.
    pub(super) fn finish(self) -> BackendResult<Option<FileRef>> {
        let Some(writer) = self.writer else {
            return Ok(None);
        };
        let (target, _) = writer.finish()?;
        match target {
            Target::Plain(stream) => stream.finish().map(Some),
        }
    }
}

/// A section that begins with its first entry.
pub(super) struct LazySection<'f, 'a> {
    file: &'f mut LazyFile<'a>,
    state: u32,
    group: KeyGroup,
    live: u64,
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
        if self.live.is_multiple_of(LOOK) {
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
