//! From RocksDB's checkpoint on this machine to files of the checkpoint storage: what an earlier completed checkpoint has already is named
//! again, the rest is linked or copied.

use crate::error::io_failed;
use crate::store::LocalCheckpoint;
use crate::transfers::Transfers;
use millpond_backend_api::{BackendResult, FileRef, SnapshotStreams, StreamHint};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// What is read at once.
const STEP_BYTES: usize = 256 << 10;

/// The largest file that can ride in the metadata.
const IN_METADATA_BYTES_MAX: u64 = 1 << 20;

/// A file of a database: the number of the part of the store that it is of, and its name there. RocksDB gives a name once and never changes a file of sorted entries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileName {
    pub(crate) part: usize,
    pub(crate) name: String,
}

impl FileName {
    /// Whether the file stays as it is for as long as there is one of that name.
    pub(crate) fn is_sorted_file(&self) -> bool {
        self.name.ends_with(".sst")
    }
}

/// The files of checkpoints, by their names.
pub(crate) type Known = BTreeMap<FileName, FileRef>;

/// What files are called now, and what they were called in the database that they were taken from.
pub(crate) type Renamed = BTreeMap<FileName, FileName>;

/// A file of a checkpoint, on its way.
struct Transfer {
    name: FileName,
    path: PathBuf,
    size: u64,
}

/// How files are brought to the storage.
#[derive(Debug)]
pub(crate) struct Upload<'a> {
    pub(crate) streams: &'a SnapshotStreams,
    /// The largest state, for errors about size.
    pub(crate) state: &'a str,
    /// Files of completed checkpoints that may be named.
    pub(crate) known: &'a Known,
    /// Whether later snapshots may name what is brought.
    pub(crate) shared: bool,
    pub(crate) transfers: &'a Transfers,
    /// Whether the storage may take links; false once it took none.
    pub(crate) links: &'a AtomicBool,
}

/// What a checkpoint consists of.
#[derive(Debug, Default)]
pub(crate) struct Uploaded {
    /// All of its files, in the order of their names.
    pub(crate) files: Vec<(FileName, FileRef)>,
    /// The bytes that were not there before.
    pub(crate) new_bytes: u64,
}

impl Upload<'_> {
    /// Brings the files of `checkpoint` that are not known.
    ///
    /// # Errors
    /// Those of the streams, and of the file system.
    pub(crate) fn run(&self, checkpoint: &LocalCheckpoint) -> BackendResult<Uploaded> {
        let mut uploaded = Uploaded::default();
        let mut transfers = Vec::new();
        for transfer in files_of(checkpoint)? {
            match self.known_as(checkpoint, &transfer.name) {
                Some(known) if known.size == transfer.size => {
                    uploaded.files.push((transfer.name, known.clone()));
                }
                _ => transfers.push(transfer),
            }
        }
        let brought = self.transfers.run(&transfers, |transfer| self.bring(transfer))?;
        for (transfer, file) in transfers.iter().zip(brought) {
            uploaded.new_bytes += file.size;
            uploaded.files.push((transfer.name.clone(), file));
        }
        uploaded.files.sort_by(|left, right| left.0.cmp(&right.0));
        Ok(uploaded)
    }

    /// The file of an earlier checkpoint that is the file `name` of `checkpoint`.
    fn known_as(&self, checkpoint: &LocalCheckpoint, name: &FileName) -> Option<&FileRef> {
        let known = self.known.get(name);
        known.or_else(|| self.known.get(checkpoint.part.renamed.get(name)?))
    }

    fn bring(&self, transfer: &Transfer) -> BackendResult<FileRef> {
        self.streams.check_cancelled()?;
        let hint = || StreamHint {
            state: self.state.into(),
            expected_bytes: Some(transfer.size).into(),
            shared: self.shared && transfer.name.is_sorted_file(),
        };
        // What will never change again can be shared with the storage, if that is on the same disk.
        if transfer.name.is_sorted_file() && self.links.load(Ordering::Relaxed) {
            let mut crc32 = crc32fast::Hasher::new();
            read_all(&transfer.path, |bytes| {
                self.streams.check_cancelled()?;
                crc32.update(bytes);
                Ok(())
            })?;
            if let Some(file) = self.streams.link(&transfer.path, hint(), crc32.finalize())? {
                return Ok(file);
            }
            // Small files may ride in the metadata instead; else it is the storage that takes no links.
            if transfer.size > IN_METADATA_BYTES_MAX {
                self.links.store(false, Ordering::Relaxed);
            }
        }
        let mut stream = self.streams.open(hint())?;
        read_all(&transfer.path, |bytes| {
            self.streams.check_cancelled()?;
            stream.write(bytes)
        })?;
        stream.finish()
    }
}

/// Reads a file from its start and gives it to `each` piece by piece.
///
/// # Errors
/// Those of the file system, and of `each`.
pub(crate) fn read_all(path: &Path, mut each: impl FnMut(&[u8]) -> BackendResult<()>) -> BackendResult<()> {
    let failed = |error| io_failed(error, "read", path);
    let mut file = File::open(path).map_err(failed)?;
    let mut buffer = vec![0; STEP_BYTES];
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            return Ok(());
        }
        each(buffer.get(..read).unwrap_or_default())?;
    }
}

/// The files of a checkpoint that belong to it: all but the log that RocksDB may have written.
fn files_of(checkpoint: &LocalCheckpoint) -> BackendResult<Vec<Transfer>> {
    let folder = checkpoint.folder.path();
    let failed = |error| io_failed(error, "read the folder", folder);
    let mut transfers = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let metadata = entry.metadata().map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if metadata.is_file() && !name.starts_with("LOG") && !name.ends_with(".log") {
            transfers.push(Transfer {
                name: FileName {
                    part: checkpoint.part.number,
                    name,
                },
                path: entry.path(),
                size: metadata.len(),
            });
        }
    }
    transfers.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(transfers)
}
