//! The database file of one keyed state.
//!
//! Checkpoints are what lasts; the database is working memory that may be larger than memory. So nothing is ever synced to the disk, and the
//! file goes when its last user goes.

use millpond_backend_api::{BackendError, BackendErrorKind, BackendResult};
use redb::backends::FileBackend;
use redb::{
    Database, ReadTransaction, ReadableDatabase, StorageBackend, Table, TableDefinition, WriteTransaction,
};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// All rows of all states.
pub(crate) const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");

/// The table while a call writes to it.
pub(crate) type Rows<'t> = Table<'t, &'static [u8], &'static [u8]>;

/// Writes that are collected in one transaction: enough to make a commit cheap, few enough to keep it short.
const WRITES_PER_TRANSACTION: u32 = 20_000;

/// An error of redb as one of the backend.
pub(crate) fn redb_error(error: impl Into<redb::Error>) -> BackendError {
    BackendError::new(BackendErrorKind::Io, format!("redb: {}", error.into()))
}

/// The database and the folder that goes with it. The fields are dropped in their order.
struct Home {
    database: Database,
    _folder: Folder,
}

/// A folder that is removed when it is dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // Nobody could be told here, and the engine clears its working folders at the next start.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The database, with the transaction that collects writes.
pub(crate) struct Store {
    transaction: Option<WriteTransaction>,
    writes: u32,
    home: Arc<Home>,
}

/// The database as it was at one moment. Keeps it alive.
pub(crate) struct Frozen {
    pub(crate) transaction: ReadTransaction,
    _home: Arc<Home>,
}

impl Store {
    /// Makes an empty database in `folder`. What a killed process left there goes.
    pub(crate) fn create(folder: &Path, cache_bytes: usize) -> BackendResult<Self> {
        let in_folder = |error: std::io::Error| {
            BackendError::from(error).context(format!("working folder {}", folder.display()))
        };
        std::fs::create_dir_all(folder).map_err(in_folder)?;
        let guard = Folder(folder.to_owned());
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(folder.join("state.redb"))
            .map_err(in_folder)?;
        let database = Database::builder()
            .set_cache_size(cache_bytes)
            .create_with_backend(Unsynced(FileBackend::new(file).map_err(redb_error)?))
            .map_err(redb_error)?;
        let mut store = Self {
            transaction: None,
            writes: 0,
            home: Arc::new(Home {
                database,
                _folder: guard,
            }),
        };
        // So that readers find a table.
        store.rows(|_| Ok(()))?;
        Ok(store)
    }

    /// Runs `call` on the rows, as all calls before left them.
    pub(crate) fn rows<R>(
        &mut self,
        call: impl FnOnce(&mut Rows<'_>) -> Result<R, redb::StorageError>,
    ) -> BackendResult<R> {
        if self.transaction.is_none() {
            self.transaction = Some(self.home.database.begin_write().map_err(redb_error)?);
        }
        let Some(transaction) = &self.transaction else {
            return Err(BackendError::new(BackendErrorKind::Other, "no transaction"));
        };
        let mut rows = transaction.open_table(ROWS).map_err(redb_error)?;
        call(&mut rows).map_err(redb_error)
    }

    /// The same for a call that writes; every so many of them are committed.
    pub(crate) fn write<R>(
        &mut self,
        call: impl FnOnce(&mut Rows<'_>) -> Result<R, redb::StorageError>,
    ) -> BackendResult<R> {
        if self.writes >= WRITES_PER_TRANSACTION {
            self.commit()?;
        }
        self.writes += 1;
        self.rows(call)
    }

    fn commit(&mut self) -> BackendResult<()> {
        self.writes = 0;
        match self.transaction.take() {
            Some(transaction) => transaction.commit().map_err(redb_error),
            None => Ok(()),
        }
    }

    /// What is there now, for another thread to read while this one goes on.
    pub(crate) fn freeze(&mut self) -> BackendResult<Frozen> {
        self.commit()?;
        Ok(Frozen {
            transaction: self.home.database.begin_read().map_err(redb_error)?,
            _home: Arc::clone(&self.home),
        })
    }
}

/// A file that is never synced.
#[derive(Debug)]
struct Unsynced(FileBackend);

impl StorageBackend for Unsynced {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> std::io::Result<()> {
        self.0.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_left_by_a_killed_process_is_started_anew_and_removed_at_the_end() {
        let folder = std::env::temp_dir().join(format!("redb-backend-store-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("state.redb"), vec![7; 100_000]).unwrap();
        let mut store = Store::create(&folder, 1 << 20).unwrap();
        store
            .write(|rows| rows.insert(&b"k"[..], &b"v"[..]).map(|_| ()))
            .unwrap();
        let frozen = store.freeze().unwrap();
        drop(store);
        assert!(folder.exists(), "a snapshot is still being written from it");
        drop(frozen);
        assert!(!folder.exists());
    }
}
