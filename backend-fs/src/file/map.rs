//! The bytes of a file in memory: mapped, or on the heap where the file came inline. The only module of the crate that maps files.
//!
//! A mapped file is never written after it was published: Millpond's writers stream to a temporary name, make it durable, rename it and
//! never open it for writing again, and the folder belongs to the job alone. That is what makes a byte slice over the map sound, and
//! it is a promise of the deployment, not something that a process can enforce:
//! - if somebody *overwrites* a mapped file, its bytes change under the reader. Blocks that were verified before are not verified again, so
//!   the reader then gives wrong values or calls well-formed nonsense damage; it reads no memory other than the map, since every length is
//!   checked at every use.
//! - if somebody *truncates* a mapped file, or the medium fails when a page that was dropped from the page cache is read again, the kernel sends `SIGBUS`
//!   and the process ends. The job then restores elsewhere or on restart, where the file is found damaged or unreadable when it is opened or first read.
//! - *unlinking* a mapped file does no harm: its blocks stay until the map is gone.
#![expect(
    unsafe_code,
    reason = "mapping a file cannot be safe, since others could write it; see the module's documentation"
)]

use memmap2::{Advice, Mmap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The bytes of a file.
#[derive(Debug)]
pub(super) enum Region {
    /// Mapped. The file stays open so that bytes can be read with errors instead of signals.
    Mapped(File, Mmap),
    /// On the heap.
    Heap(Vec<u8>),
}

impl Region {
    /// Maps the file at `path`, which must be a published snapshot file: nobody writes it any more.
    pub(super) fn map(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the map is read-only, and published snapshot files are never written: the module's documentation says who guarantees that and
        // what happens if it is broken. The slice that is handed out borrows from `Region`, so it does not outlive the map.
        let map = unsafe { Mmap::map(&file)? };
        // Blocks are read by `read_at` when they are first used. What is dropped from the page cache later comes back by page faults, and those are as
        // random as the job's keys: reading ahead would bring in, and drop, up to 32 pages for each that is wanted. Best effort, so its
        // failure is none.
        let _ = map.advise(Advice::Random);
        Ok(Self::Mapped(file, map))
    }

    /// All bytes. Touch only those that were read by [`Region::read_at`] once: an unreadable medium is a signal here.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(_, map) => map,
            Self::Heap(bytes) => bytes,
        }
    }

    /// Has the system begin to read `len` bytes at `offset`, so that several such reads are under way at once. Only a hint.
    pub(super) fn read_ahead(&self, offset: u64, len: u64) {
        if let Self::Mapped(_, map) = self
            && let (Ok(offset), Ok(len)) = (usize::try_from(offset), usize::try_from(len))
        {
            let _ = map.advise_range(Advice::WillNeed, offset, len);
        }
    }

    /// Fills `buffer` from `offset`; [`io::ErrorKind::UnexpectedEof`] if the file has become shorter than that.
    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Mapped(file, _) => file.read_exact_at(buffer, offset),
            Self::Heap(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let found = bytes.get(from..).and_then(|rest| rest.get(..buffer.len()));
                buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }
}

/// Brings the cache line of byte `at` of `bytes` closer, if there is such a byte.
#[inline]
pub(super) fn prefetch(bytes: &[u8], at: usize) {
    if let Some(byte) = bytes.get(at) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: prefetching has no effect that a program could see, whatever the address; it is one of a live slice besides.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(byte).cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = byte;
    }
}
