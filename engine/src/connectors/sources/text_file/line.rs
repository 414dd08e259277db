//! What a line becomes.

use crate::api::Data;

/// What a [`TextFileSource`](super::TextFileSource) emits for a line: a [`String`], or a `Vec<u8>` with any bytes.
pub trait Line: Data + sealed::FromText {}

impl Line for String {}
impl Line for Vec<u8> {}

pub(super) mod sealed {
    use std::ops::Range;

    /// Makes records of the lines of a text.
    pub trait FromText: Sized {
        /// The text of many lines.
        type Text: Default + Into<Vec<u8>> + std::fmt::Debug + Send + 'static;

        /// What was read, as text. The error is what was read and the index of the first byte that does not fit.
        fn text(bytes: Vec<u8>) -> Result<Self::Text, (Vec<u8>, usize)>;

        /// The bytes of a text.
        fn len(text: &Self::Text) -> usize;

        /// The line at `range`, which is without the `\n`.
        fn line(text: &Self::Text, range: Range<usize>) -> Self;
    }

    impl FromText for String {
        type Text = Self;

        fn text(bytes: Vec<u8>) -> Result<Self, (Vec<u8>, usize)> {
            Self::from_utf8(bytes).map_err(|error| {
                let index = error.utf8_error().valid_up_to();
                (error.into_bytes(), index)
            })
        }

        fn len(text: &Self) -> usize {
            text.len()
        }

        #[inline]
        fn line(text: &Self, range: Range<usize>) -> Self {
            let line = text.get(range).unwrap_or_default();
            line.strip_suffix('\r').unwrap_or(line).to_owned()
        }
    }

    impl FromText for Vec<u8> {
        type Text = Self;

        fn text(bytes: Self) -> Result<Self, (Self, usize)> {
            Ok(bytes)
        }

        fn len(text: &Self) -> usize {
            text.len()
        }

        #[inline]
        fn line(text: &Self, range: Range<usize>) -> Self {
            text.get(range).unwrap_or_default().to_vec()
        }
    }
}
