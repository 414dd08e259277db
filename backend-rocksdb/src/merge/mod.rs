//! One database of several, which a subtask that takes over the key groups of several others begins with.
//!
//! Their files are linked into a new database, and nothing of them is read: none has keys of another one's groups. But a file may have keys of groups that
//! its database was cut off from, and say that these are deleted, which it must not say of what another database brings. Such files, at the ends of
//! a range of groups, are written anew before, by RocksDB's compactions. All of it is done by a thread beside the job, from the first batch on: the first record waits for
//! none of it. What a subtask has in its folders is gone with a crash anyway; checkpoints have the databases as they are then, several or one.
//!
//! Files keep their content and get new names. Later checkpoints find those that the checkpoint storage has already by what they were called before.

mod import;

pub(crate) use import::{LiveFile, import, live_files, refuse_compactions};

use crate::database::Database;
use crate::error::io_failed;
use crate::folder::Folder;
use crate::origins::Origins;
use crate::store::{Part, Parts, Store};
use crate::upload::{FileName, Renamed};
use millpond_backend_api::{BackendError, BackendErrorKind, BackendResult, KeyGroupRange};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, JoinHandle};

/// The merge of a store's databases, beside the job. Given up when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    begun: bool,
    thread: Option<(JoinHandle<()>, Weak<Store>)>,
    outcome: Arc<Outcome>,
}

#[derive(Debug, Default)]
struct Outcome {
    is_given_up: AtomicBool,
    ended: OnceLock<BackendResult<()>>,
}

impl Merge {
    /// Begins it, if `store` has several databases and it was not begun before.
    pub(crate) fn begin(&mut self, store: &Arc<Store>) {
        if std::mem::replace(&mut self.begun, true) || store.parts().len() < 2 {
            return;
        }
        let (of_thread, outcome) = (Arc::clone(store), Arc::clone(&self.outcome));
        let thread = thread::Builder::new().name("millpond-merge".to_owned());
        let thread = thread.spawn(move || {
            let ended = merge(&of_thread, &outcome.is_given_up);
            // The store goes first: who waits for the thread waits for it.
            drop(of_thread);
            let _ = outcome.ended.set(ended);
        });
        // Without a thread the databases stay beside each other, which costs some time with each read and nothing else.
        self.thread = thread.ok().map(|thread| (thread, Arc::downgrade(store)));
    }

    /// An error if damage was found. Whatever else there was, the databases are as they were, and the job can go on with them.
    ///
    /// # Errors
    /// [`BackendErrorKind::Corrupted`].
    pub(crate) fn check(&self) -> BackendResult<()> {
        match self.outcome.ended.get() {
            Some(Err(error)) if error.kind() == BackendErrorKind::Corrupted => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Whether it was given up.
    pub(crate) fn has_failed(&self) -> bool {
        self.outcome.ended.get().is_some_and(Result::is_err)
    }
}

impl Drop for Merge {
    fn drop(&mut self) {
        self.outcome.is_given_up.store(true, Ordering::Relaxed);
        let Some((thread, store)) = self.thread.take() else {
            return;
        };
        if let Some(store) = store.upgrade() {
            for part in store.parts().iter() {
                part.database.refuse_compactions();
            }
        }
        // What it has to say nobody asks any more.
        let _ = thread.join();
    }
}

/// Puts one database in the place of those of `store`, unless it is given up.
///
/// # Errors
/// RocksDB's, and those of the file system. Nothing is changed then.
fn merge(store: &Store, is_given_up: &AtomicBool) -> BackendResult<()> {
    let go_on = || {
        if is_given_up.load(Ordering::Relaxed) {
            Err(BackendError::new(BackendErrorKind::Cancelled, "given up"))
        } else {
            Ok(())
        }
    };
    for part in store.parts().iter() {
        go_on()?;
        if !part.database.is_within(part.groups) {
            part.database.drop_outside(part.groups);
        }
    }
    store.replace_parts(|parts, range| {
        go_on()?;
        merged(store, parts, range)
    })
}

/// One part with everything that `parts` have, which nothing is brought into meanwhile, for the groups of `range`.
fn merged(store: &Store, parts: &Parts, range: KeyGroupRange) -> BackendResult<Part> {
    let mut sources = Vec::new();
    for part in parts.iter() {
        sources.push(Source::of(store, part)?);
    }
    let Some(setup) = parts.iter().next().map(|part| part.database.setup().clone()) else {
        return Err(BackendError::new(BackendErrorKind::Misuse, "nothing to merge"));
    };
    let number = parts.iter().map(|part| part.number + 1).max().unwrap_or(0);
    let folder = Folder::make(store.new_path("merged"))?;
    let known = sources.iter().flat_map(|source| &source.inodes);
    let known: BTreeMap<_, _> = known.map(|(inode, name)| (*inode, name.clone())).collect();
    let mut origins = Origins::default();
    for part in parts.iter() {
        origins.note_all(part.database.origins());
    }
    let files = sources.iter().flat_map(|source| source.files.iter().cloned());
    let folder = Database::of_files(folder, files.collect(), &origins, &setup)?;
    let mut origins = Origins::default();
    let mut renamed = Renamed::new();
    for (inode, name) in sorted_files(folder.path())? {
        let Some(old) = known.get(&inode) else { continue };
        if let Some(part) = parts.iter().find(|part| part.number == old.part) {
            origins.note_renamed(part.database.origins(), &old.name, &name);
        }
        renamed.insert(FileName { part: number, name }, old.clone());
    }
    let database = Database::open(folder, origins, &setup)?;
    database.take_over_contents(parts.iter().map(|part| &part.database))?;
    Ok(Part {
        number,
        groups: range,
        database,
        renamed,
    })
}

/// A database as it is now, in a folder where its files do not change.
struct Source {
    files: Vec<LiveFile>,
    inodes: Vec<(Inode, FileName)>,
    // Goes when the files have been linked.
    _database: Database,
}

/// What a file is called by the file system: its links have it in common.
type Inode = (u64, u64);

impl Source {
    fn of(store: &Store, part: &Part) -> BackendResult<Self> {
        let folder = Folder::reserve(store.new_path("source"))?;
        part.database.checkpoint(&folder)?;
        let inodes = sorted_files(folder.path())?.into_iter().map(|(inode, name)| {
            let part = part.number;
            (inode, FileName { part, name })
        });
        let inodes = inodes.collect();
        let database = part.database.open_checkpoint(folder)?;
        if !database.is_within(part.groups) {
            return Err(BackendError::new(
                BackendErrorKind::Other,
                format!(
                    "{} has files with keys outside of its key groups {}",
                    part.database.folder().display(),
                    part.groups
                ),
            ));
        }
        Ok(Self {
            files: database.live_files(),
            inodes,
            _database: database,
        })
    }
}

/// The files of sorted entries in `folder`.
fn sorted_files(folder: &Path) -> BackendResult<Vec<(Inode, String)>> {
    let failed = |error| io_failed(error, "read the folder", folder);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".sst") {
            let metadata = entry.metadata().map_err(failed)?;
            files.push(((metadata.dev(), metadata.ino()), name));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
