//! What an entry of the cache is found by.

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// The identity of a snapshot file, wherever it is kept. See the [module](super) for why this names the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Hash of the address of the folder that the file is in.
    folder: u64,
    /// Hash of the file's full address.
    address: u128,
    /// Number of bytes.
    pub(super) size: u64,
    /// CRC-32 of all bytes.
    pub(super) crc32: u32,
}

impl Key {
    pub(super) fn new(address: &str, size: u64, crc32: u32) -> Self {
        let folder = address.rsplit_once('/').map_or("", |(folder, _)| folder);
        Self {
            folder: xxh3_64(folder.as_bytes()),
            address: xxh3_128(address.as_bytes()),
            size,
            crc32,
        }
    }

    /// The entry's file name.
    pub(super) fn file_name(&self) -> String {
        let Self {
            folder,
            address,
            size,
            crc32,
        } = self;
        format!("{folder:016x}-{address:032x}-{size:016x}-{crc32:08x}")
    }

    /// What the names of all entries begin with that come from the folder `address`.
    pub(super) fn beginning_of_folder(address: &str) -> String {
        format!("{:016x}-", xxh3_64(address.as_bytes()))
    }

    /// What the names of all entries begin with that come from the file `address`: one, unless somebody broke the rules.
    pub(super) fn beginning_of_file(address: &str) -> String {
        let name = Self::new(address, 0, 0).file_name();
        let parts: Vec<_> = name.splitn(3, '-').take(2).collect();
        format!("{}-", parts.join("-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_identity_is_in_the_name() {
        let key = Key::new("memory:///c/job/chk-1/aa", 10, 7);
        let name = key.file_name();
        for other in [
            Key::new("memory:///c/job/chk-1/ab", 10, 7),
            Key::new("memory:///c/job/chk-1/aa", 11, 7),
            Key::new("memory:///c/job/chk-1/aa", 10, 8),
        ] {
            assert_ne!(other.file_name(), name);
        }
        assert_eq!(Key::new("memory:///c/job/chk-1/aa", 10, 7).file_name(), name);
    }

    #[test]
    fn entries_of_a_folder_and_of_a_file_are_found_by_the_beginning_of_their_name() {
        let name = |address: &str| Key::new(address, 10, 7).file_name();
        let folder = Key::beginning_of_folder("memory:///c/job/chk-1");
        let file = Key::beginning_of_file("memory:///c/job/chk-1/aa");
        assert!(name("memory:///c/job/chk-1/aa").starts_with(&folder));
        assert!(name("memory:///c/job/chk-1/aa").starts_with(&file));
        assert!(!name("memory:///c/job/chk-10/aa").starts_with(&folder));
        assert!(!name("memory:///c/job/chk-1/ab").starts_with(&file));
    }
}
