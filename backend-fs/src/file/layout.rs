//! The parts of a file whose size is fixed, and what follows from the numbers in the directory.

use super::damage::{damaged_file, unreadable_version};
use millpond_backend_api::BackendResult;
use millpond_backend_api::canonical::bytes::Bytes;

/// The format's name in handles.
pub const FORMAT: &str = "millpond-mapped/1";
/// The version that is written.
pub const VERSION_CURRENT: u32 = 1;
/// The oldest version that can be read.
pub const VERSION_OLDEST: u32 = 1;

/// The bytes of a section that have a checksum of their own: what is read and verified at once.
pub const BLOCK_BYTES: u64 = 64 << 10;

/// What a file begins with.
pub(super) const HEADER_MAGIC: [u8; 8] = *b"mpmapped";
/// What the trailer begins with.
pub(super) const TRAILER_MAGIC: [u8; 8] = *b"mpmapend";
/// Magic, version, CRC32 of both.
pub(super) const HEADER_BYTES: u64 = 8 + 4 + 4;
/// Magic, version, the directory's offset, length and CRC32, CRC32 of all that.
pub(super) const TRAILER_BYTES: u64 = 8 + 4 + 8 + 8 + 4 + 4;
/// A word of an index.
pub(super) const WORD_BYTES: u64 = 8;
/// A checksum.
pub(super) const CHECK_BYTES: u64 = 4;
/// The part of an index word that is an offset plus 1; the rest is the tag.
pub(super) const OFFSET_MASK: u64 = (1 << 48) - 1;

/// Why a conversion that cannot fail cannot fail: [`crate`] builds for 64-bit machines only.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the crate does not build where this would truncate"
)]
pub(super) fn index_of(number: u64) -> usize {
    number as usize
}

/// The words of an index over `entries`: none without entries, else the smallest power of two of which they fill at most three quarters, so
/// that there is always an empty one. `None` when that does not fit 64 bits.
pub(super) fn index_words(entries: u64) -> Option<u64> {
    if entries == 0 {
        return Some(0);
    }
    entries.checked_mul(4)?.div_ceil(3).checked_next_power_of_two()
}

/// How many blocks `bytes` are.
pub(super) fn blocks(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES)
}

/// The header of a new file that begins with `magic`.
pub(super) fn header(magic: [u8; 8]) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    bytes.extend_from_slice(&VERSION_CURRENT.to_le_bytes());
    seal(&mut bytes);
    bytes
}

/// Where the directory is, and its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    pub(super) directory_offset: u64,
    pub(super) directory_len: u64,
    pub(super) directory_crc32: u32,
}

impl Trailer {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = TRAILER_MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION_CURRENT.to_le_bytes());
        bytes.extend_from_slice(&self.directory_offset.to_le_bytes());
        bytes.extend_from_slice(&self.directory_len.to_le_bytes());
        bytes.extend_from_slice(&self.directory_crc32.to_le_bytes());
        seal(&mut bytes);
        bytes
    }

    /// Reads the trailer of a file of `file_bytes`; its directory lies right before it.
    pub(super) fn read(name: &str, file_bytes: u64, bytes: &[u8]) -> BackendResult<Self> {
        let offset = file_bytes - TRAILER_BYTES;
        let mut rest = sealed(name, "trailer", offset, TRAILER_MAGIC, bytes)?;
        let numbers = (|| {
            Some(Self {
                directory_offset: u64::from_le_bytes(*rest.take(8)?.first_chunk()?),
                directory_len: u64::from_le_bytes(*rest.take(8)?.first_chunk()?),
                directory_crc32: rest.u32()?,
            })
        })();
        let lies_right = |trailer: &Self| {
            trailer.directory_offset >= HEADER_BYTES
                && trailer.directory_offset.checked_add(trailer.directory_len) == Some(offset)
        };
        numbers.filter(lies_right).ok_or_else(|| {
            damaged_file(
                name,
                "trailer",
                offset,
                format_args!("a directory that ends where the trailer begins, at {offset}"),
                format_args!("{numbers:?}"),
            )
        })
    }
}

/// Checks the header of a file that must begin with `magic`.
pub(super) fn check_header(name: &str, magic: [u8; 8], bytes: &[u8]) -> BackendResult<()> {
    sealed(name, "header", 0, magic, bytes).map(|_| ())
}

/// Appends the CRC32 of what is there.
fn seal(bytes: &mut Vec<u8>) {
    let crc32 = crc32fast::hash(bytes);
    bytes.extend_from_slice(&crc32.to_le_bytes());
}

/// Checks magic, checksum and version; what follows them is returned, the checksum included.
fn sealed<'a>(
    name: &str,
    part: &str,
    offset: u64,
    magic: [u8; 8],
    bytes: &'a [u8],
) -> BackendResult<Bytes<'a>> {
    let mut rest = Bytes::new(bytes);
    let found = rest.take(magic.len()).unwrap_or_default();
    if found != magic {
        return Err(damaged_file(
            name,
            part,
            offset,
            format_args!("the mark {:?}", magic.escape_ascii().to_string()),
            format_args!("{:?}", found.escape_ascii().to_string()),
        ));
    }
    let (body, crc32) = bytes.split_last_chunk::<4>().unwrap_or((bytes, &[0; 4]));
    let (expected, found) = (u32::from_le_bytes(*crc32), crc32fast::hash(body));
    if expected != found {
        return Err(damaged_file(
            name,
            part,
            offset,
            format_args!("CRC32 {expected:08x}"),
            format_args!("{found:08x}"),
        ));
    }
    match rest.u32() {
        Some(VERSION_OLDEST..=VERSION_CURRENT) => Ok(rest),
        version => Err(unreadable_version(name, version.unwrap_or(0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_backend_api::BackendErrorKind;

    #[test]
    fn an_index_is_at_most_three_quarters_full_and_never_wholly() {
        let words = |entries| index_words(entries).unwrap();
        assert_eq!(
            [0, 1, 2, 3, 4, 6, 7, 12, 13].map(words),
            [0, 2, 4, 4, 8, 8, 16, 16, 32]
        );
        for entries in (1..2_000).chain([1 << 40, (1 << 40) + 1]) {
            assert!(words(entries) * 3 >= entries * 4 && words(entries) > entries);
            assert!(words(entries) < entries * 4);
        }
        assert_eq!([u64::MAX, u64::MAX / 4].map(index_words), [None, Some(1 << 63)]);
    }

    #[test]
    fn a_header_of_a_later_version_is_incompatible_not_damaged() {
        let mut bytes = HEADER_MAGIC.to_vec();
        bytes.extend_from_slice(&(VERSION_CURRENT + 1).to_le_bytes());
        seal(&mut bytes);
        let error = check_header("f", HEADER_MAGIC, &bytes).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Incompatible, "{error}");
        check_header("f", HEADER_MAGIC, &header(HEADER_MAGIC)).unwrap();
    }

    #[test]
    fn a_trailer_reads_back_and_must_lie_behind_its_directory() {
        let trailer = Trailer {
            directory_offset: 100,
            directory_len: 50,
            directory_crc32: 7,
        };
        let bytes = trailer.to_bytes();
        assert_eq!(bytes.len() as u64, TRAILER_BYTES);
        assert_eq!(Trailer::read("f", 150 + TRAILER_BYTES, &bytes).unwrap(), trailer);
        for file_bytes in [151 + TRAILER_BYTES, 149 + TRAILER_BYTES] {
            let error = Trailer::read("f", file_bytes, &bytes).unwrap_err();
            assert_eq!(error.kind(), BackendErrorKind::Corrupted, "{error}");
        }
        let overflowing = Trailer {
            directory_offset: u64::MAX,
            directory_len: 151,
            directory_crc32: 7,
        };
        assert!(Trailer::read("f", 150 + TRAILER_BYTES, &overflowing.to_bytes()).is_err());
    }
}
