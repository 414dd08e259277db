//! A file of checksummed sections behind a checksummed header: `metadata/FORMAT.md` draws it.
//!
//! Every cut and every flipped bit is an error that names file, section, offset, expected and found.

use crate::{Error, ErrorKind, Result};
use std::path::Path;

/// A kind of file with `N` sections.
#[derive(Debug)]
pub(super) struct Format<const N: usize> {
    /// What the file is, for errors.
    pub(super) what: &'static str,
    pub(super) magic: [u8; 8],
    /// Names of the sections, in file order.
    pub(super) sections: [&'static str; N],
    /// The versions that can be read, both included.
    pub(super) versions: (u32, u32),
}

const MAGIC_OFFSET: usize = 0;
const VERSION_OFFSET: usize = MAGIC_OFFSET + 8;
const SECTION_TABLE_OFFSET: usize = VERSION_OFFSET + size_of::<u32>();
/// Length (u64) and checksum (u32) of a section.
const SECTION_ENTRY: usize = size_of::<u64>() + size_of::<u32>();

impl<const N: usize> Format<N> {
    const HEADER_CRC_OFFSET: usize = SECTION_TABLE_OFFSET + N * SECTION_ENTRY;
    pub(super) const HEADER_LEN: usize = Self::HEADER_CRC_OFFSET + size_of::<u32>();

    /// What is wrong with a file, and where.
    pub(super) fn damaged(&self, source: &Path, section: &str, offset: usize, what: &str) -> Error {
        Error::new(
            ErrorKind::Restore,
            format!(
                "{} '{}' is damaged: section {section}, offset {offset}: {what}",
                self.what,
                source.display()
            ),
        )
    }

    /// The bytes of a file with these sections.
    pub(super) fn seal(&self, version: u32, sections: [&[u8]; N]) -> Vec<u8> {
        let body: usize = sections.iter().map(|section| section.len()).sum();
        let mut out = Vec::with_capacity(Self::HEADER_LEN + body);
        out.extend_from_slice(&self.magic);
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

    /// The version that a file says it has, if it can be read. The header is not verified yet: another version may have another header.
    pub(super) fn version(&self, bytes: &[u8], source: &Path) -> Result<u32> {
        let mut header = self.fields(bytes, source, MAGIC_OFFSET);
        let magic: [u8; 8] = header.take()?;
        if magic != self.magic {
            return Err(self.damaged(
                source,
                "header",
                MAGIC_OFFSET,
                &format!(
                    "it does not begin like {}: expected the letters '{}', found '{}'",
                    self.what,
                    self.magic.escape_ascii(),
                    magic.escape_ascii()
                ),
            ));
        }
        let version = header.u32()?;
        let (oldest, current) = self.versions;
        if version < oldest || version > current {
            return Err(Error::new(
                ErrorKind::Restore,
                format!(
                    "{} '{}', section header, offset {VERSION_OFFSET}: format version {version} is unknown, expected {oldest} to {current}",
                    self.what,
                    source.display(),
                ),
            ));
        }
        Ok(version)
    }

    /// The verified sections of a file, each with its offset.
    pub(super) fn open<'a>(&self, bytes: &'a [u8], source: &Path) -> Result<[(usize, &'a [u8]); N]> {
        let mut header = self.fields(bytes, source, SECTION_TABLE_OFFSET);
        let mut table = [(0u64, 0u32); N];
        for entry in &mut table {
            *entry = (header.u64()?, header.u32()?);
        }
        let expected = header.u32()?;
        let crc_offset = Self::HEADER_CRC_OFFSET;
        let found = crc32fast::hash(bytes.get(..crc_offset).unwrap_or_default());
        if found != expected {
            return Err(self.damaged(
                source,
                "header",
                crc_offset,
                &format!("bytes 0..{crc_offset} have checksum {found:#010x}, expected {expected:#010x}"),
            ));
        }

        let mut at = Self::HEADER_LEN;
        let mut sections = [(0, &[] as &[u8]); N];
        for ((name, (len, expected)), section) in self.sections.iter().zip(table).zip(&mut sections) {
            let end = usize::try_from(len).ok().and_then(|len| at.checked_add(len));
            let Some(data) = end.and_then(|end| bytes.get(at..end)) else {
                return Err(self.damaged(
                    source,
                    name,
                    at,
                    &format!("expected {len} bytes, found {}", bytes.len().saturating_sub(at)),
                ));
            };
            let found = crc32fast::hash(data);
            if found != expected {
                return Err(self.damaged(
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
            return Err(self.damaged(
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

    fn fields<'a>(&'a self, bytes: &'a [u8], source: &'a Path, at: usize) -> Fields<'a, N> {
        Fields {
            format: self,
            bytes,
            source,
            at,
        }
    }
}

/// Reads header fields one after the other.
struct Fields<'a, const N: usize> {
    format: &'a Format<N>,
    bytes: &'a [u8],
    source: &'a Path,
    at: usize,
}

impl<const N: usize> Fields<'_, N> {
    fn take<const LEN: usize>(&mut self) -> Result<[u8; LEN]> {
        let field = self
            .bytes
            .get(self.at..)
            .and_then(|rest| rest.first_chunk::<LEN>())
            .ok_or_else(|| {
                let (expected, found) = (Format::<N>::HEADER_LEN, self.bytes.len());
                self.format.damaged(
                    self.source,
                    "header",
                    found,
                    &format!("expected {expected} bytes of header, found {found}"),
                )
            })?;
        self.at += LEN;
        Ok(*field)
    }

    fn u32(&mut self) -> Result<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.take().map(u64::from_le_bytes)
    }
}
