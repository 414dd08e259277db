//! Reading values by the shape that they were stored with, as another type than the one that wrote them.
//!
//! [`decode`](super::decode) goes by the type that reads, so both must agree on every byte. Here the stored [`TypeShape`] says what the bytes are, and
//! serde finds its way from there, as it does in formats that describe themselves: fields go by their names, so they may have moved, been added with
//! `#[serde(default)]`, renamed with `#[serde(alias = "..")]`, or left out; variants of enums go by their names; numbers may have become wider, and a
//! value an `Option` of it. What is not surely right for every value is refused, whatever the values are: a `u64` is no `u32`.

mod deserializer;
mod parts;
mod reader;

use super::CodecError;
use super::shape::{TypeShape, samples};
use reader::{Input, Reader};
use serde::de::{self, Deserialize};

/// The value at the beginning of `bytes`, which are of shape `stored`; they begin after it then.
///
/// ```
/// use millpond_engine::codec::{self, shape_of};
/// use serde::{Deserialize, Serialize};
///
/// mod before {
///     #[derive(serde::Serialize, serde::Deserialize)]
///     pub struct Visit { pub page: String, pub count: u32 }
/// }
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Visit {
///     count: u64,
///     page: String,
///     #[serde(default)]
///     seconds: f64,
/// }
///
/// let stored = shape_of::<before::Visit>();
/// codec::can_evolve::<Visit>(&stored)?;
/// let bytes = codec::to_vec(&before::Visit { page: "/".to_owned(), count: 3 })?;
/// let visit: Visit = codec::decode_stored(&mut bytes.as_slice(), &stored)?;
/// assert_eq!(visit, Visit { count: 3, page: "/".to_owned(), seconds: 0.0 });
/// # Ok::<(), codec::CodecError>(())
/// ```
///
/// # Errors
/// As [`decode_prefix`](super::decode_prefix), and when `T` cannot be read from what is stored, see [`can_evolve`]. Then the bytes are as they were.
pub fn decode_stored<'de, T: Deserialize<'de>>(
    bytes: &mut &'de [u8],
    stored: &TypeShape,
) -> Result<T, CodecError> {
    let mut input = Input::new(bytes);
    let read = T::deserialize(Reader {
        input: &mut input,
        shape: stored,
        around: None,
    });
    match read {
        Ok(value) => {
            *bytes = input.rest;
            Ok(value)
        }
        Err(error) => Err(error.at(input.offset())),
    }
}

/// Whether every value of shape `stored` can be read as a `T` by [`decode_stored`], as far as types tell: tried on made-up values of that shape, with
/// every variant of its enums.
///
/// # Errors
/// What does not fit, in the words of the first such value: a field that is not there and has no default, a variant that is not known, a number that may be too
/// large, a value that `T` refuses.
pub fn can_evolve<T: for<'de> Deserialize<'de>>(stored: &TypeShape) -> Result<(), CodecError> {
    let samples = samples(stored).ok_or_else(|| {
        refused(format!(
            "values of the shape `{stored}` cannot be made up to try it"
        ))
    })?;
    for sample in &samples {
        let mut rest = sample.as_slice();
        decode_stored::<T>(&mut rest, stored)?;
        if !rest.is_empty() {
            return Err(refused("the type leaves a part of the value unread".to_owned()));
        }
    }
    Ok(())
}

#[cold]
fn refused(message: String) -> CodecError {
    de::Error::custom(message)
}
