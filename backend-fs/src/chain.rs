//! The chain of files that make up a snapshot, and what the next file of it will have.
//!
//! Every file of this run has what was changed in a range of epochs, so each can be written from the tables alone: a base has everything, a
//! delta what was changed since the end of the file before it. To **fold** some files at the chain's end is to write one file that begins where the
//! first of them began.

use millpond_backend_api::{FileRef, KeyGroupRange};

/// Deltas that together are larger than this part of the bases (1 / `FOLD_SHARE`) are folded into a new base.
pub(crate) const FOLD_SHARE: u64 = 2;
/// This many deltas of the same weight, the new one included, are folded into one. So a chain has at most `FOLD_DELTAS - 1` deltas for each power
/// of `FOLD_DELTAS` in the number of increments since its base, and an increment is written about as often as there are such powers.
pub(crate) const FOLD_DELTAS: usize = 4;

/// A file of a chain.
#[derive(Clone, Debug)]
pub(crate) struct ChainFile {
    /// The file.
    pub(crate) file: FileRef,
    /// The key groups of it that count.
    pub(crate) groups: KeyGroupRange,
    /// Whether it has every entry of its groups.
    pub(crate) base: bool,
    /// The length of the plain file; 0 if the file is not compressed.
    pub(crate) plain_bytes: u64,
    /// The CRC32 of the plain file's directory, by which it is told from other files of that length.
    pub(crate) directory_crc32: u32,
    /// What it has, if it was written in this run; a restored file cannot be folded by itself.
    pub(crate) own: Option<Own>,
}

/// What a file of this run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    /// The last epoch whose changes it has.
    pub(crate) to: u32,
    /// How many increments went into it.
    pub(crate) weight: u64,
}

/// The files of a snapshot, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chain(pub(crate) Vec<ChainFile>);

/// What the next file of a chain has, and which files stay before it.
#[derive(Clone, Debug)]
pub(crate) struct Next {
    /// The files that stay.
    pub(crate) kept: Chain,
    /// What was changed after this epoch; everything for `None`, and then no file stays.
    pub(crate) since: Option<u32>,
    /// How many increments the file will have.
    pub(crate) weight: u64,
}

impl Next {
    /// Everything, in one file.
    pub(crate) fn base() -> Self {
        Self {
            kept: Chain::default(),
            since: None,
            weight: 1,
        }
    }
}

impl Chain {
    /// What the snapshot after the one with this chain writes.
    pub(crate) fn next(&self) -> Next {
        let bytes = |base: bool| {
            let files = self.0.iter().filter(move |file| file.base == base);
            files.map(|file| file.file.size).sum::<u64>()
        };
        if self.0.is_empty() || bytes(false) * FOLD_SHARE > bytes(true) {
            return Next::base();
        }
        let mut kept = self.0.len();
        let mut weight = 1;
        while let Some(from) = kept.checked_sub(FOLD_DELTAS - 1)
            && self.0.get(from..kept).is_some_and(|last| {
                last.iter()
                    .all(|file| !file.base && file.own.is_some_and(|own| own.weight == weight))
            })
        {
            kept = from;
            weight *= FOLD_DELTAS as u64;
        }
        let kept = Self(self.0.get(..kept).unwrap_or_default().to_vec());
        // What was restored is of epoch 0.
        let since = kept.0.last().map(|file| file.own.map_or(0, |own| own.to));
        Next { kept, since, weight }
    }

    /// The chain if later snapshots may name all of its files, else nothing: there is nothing to build on.
    pub(crate) fn if_shared(self) -> Self {
        let is_shared = self.0.iter().all(|file| file.file.shared);
        if is_shared { self } else { Self::default() }
    }

    /// The files as a handle names them: each once, in order.
    pub(crate) fn files(&self) -> Vec<FileRef> {
        let mut files: Vec<FileRef> = Vec::new();
        for file in &self.0 {
            if files.iter().all(|known| known.token != file.file.token) {
                files.push(file.file.clone());
            }
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(size: u64, base: bool, own: Option<Own>) -> ChainFile {
        ChainFile {
            file: FileRef {
                token: format!("{size}-{own:?}").into(),
                size,
                crc32: 0,
                shared: true,
            },
            groups: KeyGroupRange::new(0, 127).unwrap(),
            base,
            plain_bytes: 0,
            directory_crc32: 0,
            own,
        }
    }

    /// Adds the next file, of `size` bytes for each increment in it, as the snapshot at the end of `epoch`.
    fn step(chain: &mut Chain, epoch: u32, base: u64, increment: u64) -> u64 {
        let next = chain.next();
        let size = if next.since.is_none() {
            base
        } else {
            increment * next.weight
        };
        let own = Own {
            to: epoch,
            weight: next.weight,
        };
        *chain = next.kept;
        chain.0.push(file(size, next.since.is_none(), Some(own)));
        size
    }

    #[test]
    fn files_of_a_chain_follow_each_other_without_a_gap() {
        let mut chain = Chain::default();
        for epoch in 1..200 {
            let next = chain.next();
            let last = next.kept.0.last().map(|file| file.own.unwrap().to);
            assert_eq!(next.since, last);
            step(&mut chain, epoch, 1000, 10);
            let ends: Vec<u32> = chain.0.iter().map(|file| file.own.unwrap().to).collect();
            assert!(ends.is_sorted() && ends.last() == Some(&epoch), "{ends:?}");
            assert!(chain.0[0].base && chain.0[1..].iter().all(|file| !file.base));
        }
    }

    #[test]
    fn a_chain_stays_short_and_small_and_most_increments_are_written_alone() {
        let mut chain = Chain::default();
        let mut written = 0;
        let mut alone = 0;
        for epoch in 1..=1000 {
            let size = step(&mut chain, epoch, 1000, 10);
            written += size;
            alone += u64::from(size == 10);
            let all: u64 = chain.0.iter().map(|file| file.file.size).sum();
            assert!(all <= 2000, "{all} bytes on disk");
            assert!(chain.0.len() <= 10, "{} files", chain.0.len());
        }
        // Of 1000 snapshots: full ones would be a million bytes.
        assert!(written < 80_000, "{written}");
        assert!(alone >= 700, "{alone}");
    }

    #[test]
    fn restored_files_are_folded_into_a_base_only() {
        let mut chain = Chain(vec![
            file(1000, true, None),
            file(10, false, None),
            file(11, false, None),
            file(12, false, None),
        ]);
        let next = chain.next();
        assert_eq!((next.kept.0.len(), next.since), (4, Some(0)));
        chain.0.push(file(600, false, None));
        assert_eq!(chain.next().since, None);
    }

    #[test]
    fn a_file_that_shows_two_ranges_is_named_once() {
        let one = file(10, true, None);
        assert_eq!(Chain(vec![one.clone(), one]).files().len(), 1);
    }
}
