//! Has the kernel write a large file to the disk while it is still being written to, so that the fsync at its end finds little left to do.

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

/// The bytes after which the disk is given something to do.
const STEP_BYTES: u64 = 32 << 20;

/// A thread that syncs the data of one file each time that enough was written to it; none for small files.
#[derive(Debug, Default)]
pub(super) struct Writeback {
    thread: Option<(SyncSender<()>, JoinHandle<io::Result<()>>)>,
    /// The bytes that were written since the thread was last told.
    pending: u64,
}

impl Writeback {
    /// Notes that `bytes` were written to `file`.
    ///
    /// # Errors
    /// When the file's descriptor cannot be doubled, or no thread can be started.
    pub(super) fn wrote(&mut self, file: &File, bytes: usize) -> io::Result<()> {
        self.pending += bytes as u64;
        if self.pending < STEP_BYTES {
            return Ok(());
        }
        self.pending = 0;
        let (sender, _) = match &mut self.thread {
            Some(thread) => thread,
            None => self.thread.insert(start(file.try_clone()?)?),
        };
        // If it is busy it will sync these bytes the next time; if it has failed, `finish` says so.
        let _ = sender.try_send(());
        Ok(())
    }

    /// Waits for the thread.
    ///
    /// # Errors
    /// The first failure of a sync. The kernel reports it once, so the caller's own fsync may not see it any more.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let Some((sender, thread)) = self.thread.take() else {
            return Ok(());
        };
        drop(sender);
        let ended = thread.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("the thread that syncs the file panicked")))
    }
}

impl Drop for Writeback {
    fn drop(&mut self) {
        // A file that is given up: it is deleted next, whatever became of its bytes.
        let _ = self.finish();
    }
}

type Thread = (SyncSender<()>, JoinHandle<io::Result<()>>);

fn start(file: File) -> io::Result<Thread> {
    let (sender, steps) = sync_channel(1);
    let thread = thread::Builder::new().name("millpond-writeback".to_owned());
    let thread = thread.spawn(move || steps.iter().try_for_each(|()| file.sync_data()))?;
    Ok((sender, thread))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_that_fails_is_reported_at_the_end() {
        // A pipe cannot be synced.
        let (_reader, writer) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        let mut writeback = Writeback::default();
        writeback.wrote(&file, 1000).unwrap();
        writeback.finish().unwrap();
        writeback.wrote(&file, 32 << 20).unwrap();
        assert!(writeback.finish().is_err());
    }

    #[test]
    fn a_file_that_can_be_synced_ends_well() {
        let file = tempfile::tempfile().unwrap();
        let mut writeback = Writeback::default();
        for _ in 0..10 {
            writeback.wrote(&file, 20 << 20).unwrap();
        }
        writeback.finish().unwrap();
    }
}
