//! What can go wrong between values and bytes.

use std::fmt::Display;

use crate::{Error, ErrorKind};

/// Why a value could not be encoded or decoded.
///
/// `offset` counts the bytes of the value that were read or written before the fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The input ends inside a value.
    #[error("encoded value is cut off: expected {expected} more bytes at offset {offset}, found {found}")]
    Truncated {
        /// Where the missing bytes should begin.
        offset: usize,
        /// How many bytes were wanted there.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// The value ended before its input did.
    #[error("encoded value has a rest: expected its end at offset {offset}, found {found} more bytes")]
    Trailing {
        /// Where the value ended.
        offset: usize,
        /// How many bytes are left.
        found: usize,
    },
    /// A byte that has two legal values had another.
    #[error("invalid byte at offset {offset}: expected {expected}, found {found}")]
    InvalidTag {
        /// Where the byte is.
        offset: usize,
        /// What it could have been.
        expected: &'static str,
        /// What it was.
        found: u8,
    },
    /// A number that should be a Unicode scalar value is none.
    #[error("invalid character at offset {offset}: expected a Unicode scalar value, found {found:#x}")]
    InvalidChar {
        /// Where the number is.
        offset: usize,
        /// What it was.
        found: u32,
    },
    /// The bytes of a string are not UTF-8.
    #[error("invalid string at offset {offset}: expected UTF-8")]
    InvalidUtf8 {
        /// Where the string's bytes begin.
        offset: usize,
        /// Which of them are wrong.
        source: std::str::Utf8Error,
    },
    /// A string, sequence or map is longer than the format can say, or than its bytes can hold.
    #[error("length out of range at offset {offset}: expected at most {expected}, found {found}")]
    TooLong {
        /// Where the length is, or would have been.
        offset: usize,
        /// The greatest length possible there.
        expected: usize,
        /// The length.
        found: usize,
    },
    /// The value is nested too deep.
    #[error("value is nested too deep at offset {offset}: expected at most {expected} levels")]
    TooDeep {
        /// Where the level above the limit begins.
        offset: usize,
        /// The limit, [`DEPTH_MAX`](super::DEPTH_MAX).
        expected: usize,
    },
    /// A value of fixed width has another width than the place for it.
    #[error("value does not fit its place: expected {expected} bytes, found {found}{}", if *.found > *.expected { " or more" } else { "" })]
    WrongWidth {
        /// Bytes in the place.
        expected: usize,
        /// Bytes of the value; if greater than `expected`, the rest of the value is not counted.
        found: usize,
    },
    /// The type's `Deserialize` left elements of a tuple, sequence or map unread.
    #[error("value was not read to its end: {found} elements are left at offset {offset}")]
    Unread {
        /// Where reading stopped.
        offset: usize,
        /// Number of elements left.
        found: usize,
    },
    /// The type's `Deserialize` wants to see what comes before it decides.
    #[error(
        "the millpond codec is not self-describing: {asked} is not supported at offset {offset} \
         (#[serde(untagged)], #[serde(tag)] and #[serde(flatten)] need it)"
    )]
    NotSelfDescribing {
        /// Where it looked.
        offset: usize,
        /// The call of serde's `Deserializer`.
        asked: &'static str,
    },
    /// The type's `Serialize` left out a field, which the reader could not notice.
    #[error(
        "the millpond codec is not self-describing: field `{field}` cannot be left out at offset {offset} \
         (remove #[serde(skip_serializing_if)])"
    )]
    SkippedField {
        /// Where it should have been written.
        offset: usize,
        /// The field's name.
        field: &'static str,
    },
    /// What the type's own `Serialize` or `Deserialize` said.
    #[error("{message} (at offset {offset})")]
    Custom {
        /// Bytes read or written until then.
        offset: usize,
        /// The message.
        message: Box<str>,
    },
}

impl CodecError {
    /// The same error, with the offset that serde's own errors cannot know.
    #[cold]
    pub(crate) fn at(mut self, now: usize) -> Self {
        if let Self::Custom { offset, .. } = &mut self {
            *offset = now;
        }
        self
    }
}

impl serde::de::Error for CodecError {
    #[cold]
    fn custom<T: Display>(message: T) -> Self {
        Self::Custom {
            offset: 0,
            message: message.to_string().into_boxed_str(),
        }
    }
}

impl serde::ser::Error for CodecError {
    #[cold]
    fn custom<T: Display>(message: T) -> Self {
        <Self as serde::de::Error>::custom(message)
    }
}

impl From<CodecError> for Error {
    #[cold]
    fn from(error: CodecError) -> Self {
        Error::new(
            ErrorKind::State,
            "cannot encode or decode a record or state value",
        )
        .with_source(error)
    }
}
