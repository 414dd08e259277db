//! Where a file goes.

use millpond_backend_api::{BackendResult, SnapshotStream};

/// What takes the bytes of a file, from its first to its last.
pub trait Output {
    /// Appends `bytes`.
    ///
    /// # Errors
    /// The storage's. Nothing more may be written then.
    fn write(&mut self, bytes: &[u8]) -> BackendResult<()>;
}

impl Output for SnapshotStream {
    fn write(&mut self, bytes: &[u8]) -> BackendResult<()> {
        SnapshotStream::write(self, bytes)
    }
}

impl Output for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) -> BackendResult<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

impl<O: Output + ?Sized> Output for Box<O> {
    fn write(&mut self, bytes: &[u8]) -> BackendResult<()> {
        (**self).write(bytes)
    }
}

impl<O: Output + ?Sized> Output for &mut O {
    fn write(&mut self, bytes: &[u8]) -> BackendResult<()> {
        (**self).write(bytes)
    }
}
