//! How records and state values become bytes: the *millpond codec*, a compact [serde] format.
//!
//! Any type with `Serialize` and `Deserialize` can be a record, a key or a state value. Numbers have their own width, little-endian,
//! and nothing is written between the parts of a tuple or struct, so encoding a `u64` or a `(u64, u32)` is a store or two, and
//! a state whose values are of [fixed width](TypeShape::fixed_width) can be updated in place.
//!
//! ```
//! use millpond_engine::codec;
//!
//! let bytes = codec::to_vec(&(7u32, "pond"))?;
//! assert_eq!(bytes, [7, 0, 0, 0, 4, 0, 0, 0, b'p', b'o', b'n', b'd']);
//! let (number, word): (u32, String) = codec::decode(&bytes)?;
//! assert_eq!((number, word.as_str()), (7, "pond"));
//! # Ok::<(), codec::CodecError>(())
//! ```
//!
//! # Format, version 1
//!
//! | value | bytes |
//! |---|---|
//! | `u8` .. `u128`, `i8` .. `i128`, `f32`, `f64` | its own width, little-endian; the bits of a float as they are |
//! | `bool` | one byte, 0 or 1 |
//! | `char` | its scalar value as a `u32` |
//! | `()`, unit struct | nothing |
//! | tuple, array, struct, tuple struct | the parts one after the other |
//! | newtype struct | what is inside |
//! | `Option` | one byte, 0 for `None`, 1 for `Some` and then what is inside |
//! | enum | the index of the variant as a `u32`, then its parts |
//! | string, bytes | length in bytes as a `u32`, then the bytes |
//! | sequence, map | number of elements as a `u32`, then elements, or key, value, key, value |
//!
//! The format does not describe itself: bytes are read back by the type that wrote them, or by one of a
//! [compatible shape](TypeShape::reads). What needs to look ahead (`#[serde(untagged)]`, `#[serde(tag = ..)]`, `#[serde(flatten)]`,
//! `#[serde(skip_serializing_if = ..)]`) is refused with an error that says so.
//!
//! Equal values have equal bytes where their iteration order is fixed: those of a `HashMap` do not, so it makes no key.
//!
//! # Limits
//!
//! Both directions refuse the same things, so what was written can be read: values nested deeper than [`DEPTH_MAX`]; strings and
//! sequences longer than `u32::MAX`; sequences of more than [`EMPTY_ELEMENTS_MAX`] elements that take no bytes.
//! Reading never allocates more than a small multiple of the input's length.

mod de;
mod error;
mod evolve;
mod id;
mod ser;
mod shape;
mod sink;
#[cfg(test)]
mod tests;

pub use de::{decode, decode_prefix};
pub use error::CodecError;
pub use evolve::{can_evolve, decode_stored};
pub use id::{CodecId, Compatibility};
pub use ser::{encode_fixed, encode_into, encode_to, encoded_len, to_vec};
pub use shape::{
    FieldShape, Mismatch, ParseShapeError, Scalar, TypeShape, VariantContent, VariantShape, shape_of,
};
pub use sink::Sink;

/// How deep values may be nested: each struct, tuple, newtype, `Some`, sequence, map and variant with content is one level.
pub const DEPTH_MAX: usize = 256;

/// How many elements that take no bytes (as those of a `Vec<()>`) a sequence may hold: else four bytes could ask for billions.
pub const EMPTY_ELEMENTS_MAX: usize = 1024;
