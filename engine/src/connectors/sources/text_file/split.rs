//! Parts of files.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A part of a file, and how far it has been read.
///
/// A line belongs to the split in which its first byte lies, so the last line of a split may end in the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextFileSplit {
    /// The file, absolute.
    #[serde(with = "path_as_bytes")]
    pub path: PathBuf,
    /// The offset of the first byte of the split.
    pub start: u64,
    /// The offset behind the last byte of the split.
    pub end: u64,
    /// The offset of the first byte that is not read yet: `start`, or behind a line end.
    pub position: u64,
    /// The length of the file when it was cut; what was appended later is not read.
    pub file_len: u64,
}

/// Cuts a file into parts of `split_bytes`; none if it is empty. A last part of less than a tenth is joined to the one before it.
pub(super) fn cut(path: &Path, file_len: u64, split_bytes: u64) -> impl Iterator<Item = TextFileSplit> {
    let parts = match (file_len / split_bytes, file_len % split_bytes) {
        (0, 0) => 0,
        (0, _) => 1,
        (whole, rest) if rest <= split_bytes / 10 => whole,
        (whole, _) => whole + 1,
    };
    (0..parts).map(move |part| TextFileSplit {
        path: path.to_owned(),
        start: part * split_bytes,
        end: if part + 1 == parts {
            file_len
        } else {
            (part + 1) * split_bytes
        },
        position: part * split_bytes,
        file_len,
    })
}

/// Paths are bytes, not always text, which serde's own form for them refuses.
mod path_as_bytes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    pub(super) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        path.as_os_str().as_bytes().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        Vec::deserialize(deserializer).map(|bytes| OsString::from_vec(bytes).into())
    }
}
