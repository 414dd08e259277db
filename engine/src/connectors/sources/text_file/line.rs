//! What a line becomes.

use crate::api::Data;

/// What a [`TextFileSource`](super::TextFileSource) emits for a line: a [`String`], or a `Vec<u8>` with any bytes.
pub trait Line: Data + sealed::FromBytes {}

impl Line for String {}
impl Line for Vec<u8> {}

pub(super) mod sealed {
    /// Makes a record of the bytes of a line.
    pub trait FromBytes: Sized {
        /// `bytes` are without the `\n`. The error is the index of the first byte that does not fit.
        fn from_bytes(bytes: &[u8]) -> Result<Self, usize>;
    }

    impl FromBytes for String {
        fn from_bytes(bytes: &[u8]) -> Result<Self, usize> {
            let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
            match std::str::from_utf8(bytes) {
                Ok(line) => Ok(line.to_owned()),
                Err(error) => Err(error.valid_up_to()),
            }
        }
    }

    impl FromBytes for Vec<u8> {
        fn from_bytes(bytes: &[u8]) -> Result<Self, usize> {
            Ok(bytes.to_vec())
        }
    }
}
