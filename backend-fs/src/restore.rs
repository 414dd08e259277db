//! From the handles of a snapshot to tables over mapped files.

use crate::chain::{Chain, ChainFile};
use crate::file::{FORMAT, SnapshotFile, Source, expand};
use crate::layers::Layers;
use crate::payload::Payload;
use millpond_backend_api::canonical::{self, is_canonical};
use millpond_backend_api::{
    BackendError, BackendErrorKind, BackendResult, FileRef, KeyGroupRange, RestoreFiles, SnapshotHandle,
    StateDescriptor,
};
use millpond_backend_memory::Tables;
use millpond_backend_memory::lower::LowerLayer;
use millpond_backend_memory::snapshot::restore_canonical;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Opens files: where they lie, in memory if the engine carries them inline, or expanded if they are compressed.
#[derive(Debug)]
pub(crate) struct Opener {
    files: RestoreFiles,
    /// Where files are expanded.
    local_dir: PathBuf,
}

impl Opener {
    pub(crate) fn new(files: RestoreFiles, local_dir: impl Into<PathBuf>) -> Self {
        Self {
            files,
            local_dir: local_dir.into(),
        }
    }

    fn files(&self) -> &RestoreFiles {
        &self.files
    }

    /// Opens a file of a chain.
    ///
    /// # Errors
    /// Those of [`SnapshotFile::open`], those of the engine, and [`BackendErrorKind::Corrupted`] if it is another file than the chain's.
    pub(crate) fn open(&self, layer: &ChainFile) -> BackendResult<Arc<SnapshotFile>> {
        let opened = if layer.plain_bytes > 0 {
            self.open_compressed(&layer.file, layer.plain_bytes)
        } else {
            self.open_plain(&layer.file)
        }?;
        check_identity(&opened, layer)?;
        Ok(opened)
    }

    fn open_plain(&self, file: &FileRef) -> BackendResult<Arc<SnapshotFile>> {
        let name = file.token.as_str();
        let source = match self.files.local_path(file)? {
            Some(path) => Source::File(path),
            None => Source::Bytes(self.files.read_all(file)?),
        };
        SnapshotFile::open(source, name, file.size)
    }

    fn open_compressed(&self, file: &FileRef, plain_bytes: u64) -> BackendResult<Arc<SnapshotFile>> {
        let name = file.token.as_str();
        let folder = &self.local_dir;
        let failed = |error: std::io::Error| {
            BackendError::from(error).context(format_args!(
                "the folder {}, which is below io.tmp.dirs, cannot be used for expanded snapshots",
                folder.display()
            ))
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let plain = folder.join(format!("{:08x}.expanded", file.crc32));
        // Nobody else has this folder: what a killed process left there is of no use.
        remove_if_there(&plain).map_err(failed)?;
        let mut stream = self.files.open(file)?;
        expand(|buffer| stream.read(buffer), name, plain_bytes, &plain)?;
        let opened = SnapshotFile::open(Source::File(plain.clone()), name, plain_bytes);
        // The mapping keeps the bytes; without a name nothing is left of them, however the process ends.
        remove_if_there(&plain).map_err(failed)?;
        // Others may be at work in it.
        let _ = fs::remove_dir(folder);
        opened
    }
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What was restored.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) tables: Tables,
    pub(crate) chain: Chain,
    /// The files that lie below the tables, each once.
    pub(crate) files: Vec<Arc<SnapshotFile>>,
}

/// A layer of one of the handles, with its file open.
struct OpenLayer {
    chain: ChainFile,
    file: Arc<SnapshotFile>,
}

/// Opens the files of `handles` that have key groups of `range` and puts empty tables over them. Takes time in proportion to the number of files, states and key groups,
/// not to the state. What canonical handles have is brought into the tables, entry by entry; there is no chain then, since none of its files would have these.
pub(crate) fn restore(
    range: KeyGroupRange,
    handles: &[SnapshotHandle],
    opener: &Opener,
) -> BackendResult<Restored> {
    let mut tables = Tables::for_increments(range);
    let mut layers = Vec::new();
    let mut states: Vec<StateDescriptor> = Vec::new();
    let (canonical, native): (Vec<_>, Vec<_>) = handles.iter().partition(|handle| is_canonical(handle));
    for handle in native {
        let payload = payload_of(handle)?;
        open_layers(handle, &payload, range, opener, &mut layers)?;
        for state in payload.states {
            // Also refuses two handles that disagree about a state.
            tables.kind_of(&state)?;
            if states.iter().all(|known| known.name != state.name) {
                states.push(state);
            }
        }
    }
    for state in &states {
        let mut below = Layers::new(state.kind, range);
        for layer in &layers {
            check_state(&layer.file, state)?;
            below.put_on_top(
                &layer.file,
                state.name.as_str(),
                layer.chain.groups,
                layer.chain.base,
            );
        }
        if !below.is_empty() {
            let counters = below.all_counters();
            tables.kind_of(state)?.put_over(Some(Arc::new(below)), counters);
        }
    }
    // Behind the others: only empty tables can be put over files.
    for handle in &canonical {
        restore_canonical(&mut tables, handle, opener.files())?;
    }
    let mut files: Vec<Arc<SnapshotFile>> = Vec::new();
    for layer in &layers {
        if files.iter().all(|file| !Arc::ptr_eq(file, &layer.file)) {
            files.push(Arc::clone(&layer.file));
        }
    }
    Ok(Restored {
        tables,
        chain: if canonical.is_empty() {
            Chain(layers.into_iter().map(|layer| layer.chain).collect())
        } else {
            Chain::default()
        },
        files,
    })
}

fn payload_of(handle: &SnapshotHandle) -> BackendResult<Payload> {
    if handle.format.as_str() != FORMAT {
        return Err(canonical::unknown_format(handle, "filesystem", FORMAT));
    }
    Payload::read(handle.payload.as_slice(), handle.files.len())
}

fn open_layers(
    handle: &SnapshotHandle,
    payload: &Payload,
    range: KeyGroupRange,
    opener: &Opener,
    layers: &mut Vec<OpenLayer>,
) -> BackendResult<()> {
    for layer in &payload.layers {
        let Some(groups) = layer.groups.intersection(&range) else {
            continue;
        };
        let Some(reference) = handle.files.get(layer.file as usize) else {
            continue;
        };
        let chain = ChainFile {
            file: reference.clone(),
            groups,
            base: layer.base,
            plain_bytes: layer.plain_bytes,
            directory_crc32: layer.directory_crc32,
            own: None,
        };
        let known = layers
            .iter()
            .find(|known| known.chain.file.token == reference.token)
            .map(|known| Arc::clone(&known.file));
        let file = match known {
            Some(file) => {
                check_identity(&file, &chain)?;
                file
            }
            None => opener.open(&chain)?,
        };
        layers.push(OpenLayer { chain, file });
    }
    Ok(())
}

/// An error if a file is whole, but not the one that `layer` was made of: one of the same length that lies under its name.
fn check_identity(file: &SnapshotFile, layer: &ChainFile) -> BackendResult<()> {
    let (expected, found) = (layer.directory_crc32, file.directory_crc32());
    if expected == found {
        return Ok(());
    }
    Err(BackendError::new(
        BackendErrorKind::Corrupted,
        format!(
            "snapshot file {}: expected the file whose directory has CRC32 {expected:08x}, found another one, whose directory has {found:08x}",
            file.name()
        ),
    ))
}

/// An error if a file has the state with another kind or width than the handle says.
fn check_state(file: &SnapshotFile, state: &StateDescriptor) -> BackendResult<()> {
    let found = file.states().iter().find(|found| found.name == state.name);
    match found {
        Some(found) if (found.kind, found.value_width) != (state.kind, state.value_width) => {
            Err(BackendError::new(
                BackendErrorKind::Corrupted,
                format!(
                    "snapshot file {}: expected state {:?} as a {} with values of {} bytes (0: any), found a {} with values of {}",
                    file.name(),
                    state.name,
                    state.kind.name(),
                    state.value_width,
                    found.kind.name(),
                    found.value_width
                ),
            ))
        }
        _ => Ok(()),
    }
}

/// The sections of a base file of this run as what lies below each state of `tables`.
pub(crate) fn over_base(tables: &mut Tables, file: &Arc<SnapshotFile>) {
    let range = tables.range();
    for (descriptor, kind) in tables.iter_mut() {
        let mut below = Layers::new(descriptor.kind, range);
        below.put_on_top(file, descriptor.name.as_str(), range, true);
        let below: LowerLayer = if below.is_empty() {
            None
        } else {
            Some(Arc::new(below))
        };
        kind.replace_lower(below);
    }
}
