//! A file of checksummed sections behind a checksummed header. `FORMAT.md` draws it.

use crate::{Error, ErrorKind, Result};
use std::path::Path;

pub(super) const MAGIC: [u8; 8] = *b"MillMeta";

/// Names of the sections, in file order.
pub(super) const SECTIONS: [&str; 2] = ["job", "operators"];

const MAGIC_OFFSET: usize = 0;
pub(super) const VERSION_OFFSET: usize = MAGIC_OFFSET + MAGIC.len();
const SECTION_TABLE_OFFSET: usize = VERSION_OFFSET + size_of::<u32>();
/// Length (u64) and checksum (u32) of a section.
const SECTION_ENTRY: usize = size_of::<u64>() + size_of::<u32>();
const HEADER_CRC_OFFSET: usize = SECTION_TABLE_OFFSET + SECTIONS.len() * SECTION_ENTRY;
pub(super) const HEADER_LEN: usize = HEADER_CRC_OFFSET + size_of::<u32>();

/// What is wrong with a metadata file.
pub(super) fn damaged(source: &Path, section: &str, offset: usize, what: &str) -> Error {
    Error::new(
        ErrorKind::Restore,
        format!(
            "checkpoint metadata '{}' is damaged: section {section}, offset {offset}: {what}",
            source.display()
        ),
    )
}

/// The bytes of a file with these sections.
pub(super) fn seal(version: u32, sections: [&[u8]; SECTIONS.len()]) -> Vec<u8> {
    let body: usize = sections.iter().map(|section| section.len()).sum();
    let mut out = Vec::with_capacity(HEADER_LEN + body);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&version.to_le_bytes());
    for section in sections {
        out.extend_from_slice(&(section.len() as u64).to_le_bytes());
        out.extend_from_slice(&crc32fast::hash(section).to_le_bytes());
    }
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    for section in sections {
        out.extend_from_slice(section);
    }
    out
}

/// The version that a file says it has. Its header is not verified yet: another version may have another header.
pub(super) fn version(bytes: &[u8], source: &Path) -> Result<u32> {
    let mut header = Fields { bytes, source, at: 0 };
    let magic: [u8; MAGIC.len()] = header.take()?;
    if magic != MAGIC {
        return Err(damaged(
            source,
            "header",
            MAGIC_OFFSET,
            &format!("it does not begin like checkpoint metadata: expected {MAGIC:02x?}, found {magic:02x?}"),
        ));
    }
    header.u32()
}

/// The verified sections of a file, each with its offset.
pub(super) fn open<'a>(bytes: &'a [u8], source: &Path) -> Result<[(usize, &'a [u8]); SECTIONS.len()]> {
    let mut header = Fields {
        bytes,
        source,
        at: SECTION_TABLE_OFFSET,
    };
    let mut table = [(0u64, 0u32); SECTIONS.len()];
    for entry in &mut table {
        *entry = (header.u64()?, header.u32()?);
    }
    let expected = header.u32()?;
    let found = crc32fast::hash(bytes.get(..HEADER_CRC_OFFSET).unwrap_or_default());
    if found != expected {
        return Err(damaged(
            source,
            "header",
            HEADER_CRC_OFFSET,
            &format!("bytes 0..{HEADER_CRC_OFFSET} have checksum {found:#010x}, expected {expected:#010x}"),
        ));
    }

    let mut at = HEADER_LEN;
    let mut sections = [(0, &[] as &[u8]); SECTIONS.len()];
    for ((name, (len, expected)), section) in SECTIONS.iter().zip(table).zip(&mut sections) {
        let end = usize::try_from(len).ok().and_then(|len| at.checked_add(len));
        let Some(data) = end.and_then(|end| bytes.get(at..end)) else {
            return Err(damaged(
                source,
                name,
                at,
                &format!("expected {len} bytes, found {}", bytes.len().saturating_sub(at)),
            ));
        };
        let found = crc32fast::hash(data);
        if found != expected {
            return Err(damaged(
                source,
                name,
                at,
                &format!(
                    "bytes {at}..{} have checksum {found:#010x}, expected {expected:#010x}",
                    at + data.len()
                ),
            ));
        }
        *section = (at, data);
        at += data.len();
    }
    if at != bytes.len() {
        return Err(damaged(
            source,
            "end",
            at,
            &format!(
                "expected the end of the file, found {} more bytes",
                bytes.len() - at
            ),
        ));
    }
    Ok(sections)
}

/// Reads header fields one after the other.
struct Fields<'a> {
    bytes: &'a [u8],
    source: &'a Path,
    at: usize,
}

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let field = self
            .bytes
            .get(self.at..)
            .and_then(|rest| rest.first_chunk::<N>())
            .ok_or_else(|| {
                damaged(
                    self.source,
                    "header",
                    self.bytes.len(),
                    &format!(
                        "expected {HEADER_LEN} bytes of header, found {}",
                        self.bytes.len()
                    ),
                )
            })?;
        self.at += N;
        Ok(*field)
    }

    fn u32(&mut self) -> Result<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.take().map(u64::from_le_bytes)
    }
}
