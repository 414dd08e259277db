//! Values of a fixed width that tell whether they are what was written.

use crate::generate::splitmix64;
use serde::de::{self, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// What separates the words of a value from each other; odd.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A value of `8 W + T` bytes: how often it was written, and then bytes that follow from that number and the key, so that a value of another
/// key, an older one and a damaged one are noticed.
///
/// Encoded as a tuple of its words and of the bytes behind them, thus of a fixed width: the state has slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Value<const W: usize, const T: usize> {
    words: [u64; W],
    tail: [u8; T],
}

impl<const W: usize, const T: usize> Value<W, T> {
    /// The value of `key` after `count` writes.
    #[inline]
    pub(crate) fn of(key: u64, count: u64) -> Self {
        let seal = splitmix64(key ^ count.wrapping_mul(STEP));
        let mut words = [0; W];
        let mut next = seal;
        for word in &mut words {
            *word = next;
            next = next.wrapping_add(STEP);
        }
        if let Some(first) = words.first_mut() {
            *first = count;
        }
        let mut tail = [0; T];
        for (byte, sealed) in tail.iter_mut().zip(next.to_le_bytes()) {
            *byte = sealed;
        }
        Self { words, tail }
    }

    /// How often the value was written, if this is what was written then under `key`.
    #[inline]
    pub(crate) fn checked_count(&self, key: u64) -> Option<u64> {
        let count = *self.words.first()?;
        (count > 0 && *self == Self::of(key, count)).then_some(count)
    }
}

impl<const W: usize, const T: usize> Serialize for Value<W, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut parts = serializer.serialize_tuple(W + T)?;
        for word in &self.words {
            parts.serialize_element(word)?;
        }
        for byte in &self.tail {
            parts.serialize_element(byte)?;
        }
        parts.end()
    }
}

impl<'de, const W: usize, const T: usize> Deserialize<'de> for Value<W, T> {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(W + T, Parts)
    }
}

struct Parts<const W: usize, const T: usize>;

impl<'de, const W: usize, const T: usize> Visitor<'de> for Parts<W, T> {
    type Value = Value<W, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{W} words and {T} bytes")
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Value<W, T>, A::Error> {
        let mut value = Value {
            words: [0; W],
            tail: [0; T],
        };
        for (index, word) in value.words.iter_mut().enumerate() {
            *word = parts
                .next_element()?
                .ok_or_else(|| de::Error::invalid_length(index, &self))?;
        }
        for (index, byte) in value.tail.iter_mut().enumerate() {
            *byte = parts
                .next_element()?
                .ok_or_else(|| de::Error::invalid_length(W + index, &self))?;
        }
        Ok(value)
    }
}

/// The widths that there are, and the call of a generic function with the type of one: `with_value_type!(bytes, run(args))` is
/// `Some(run::<W, T>(args))` for that width, `None` for one that there is not.
macro_rules! widths {
    ($dollar:tt $($bytes:literal = $words:literal words + $tail:literal),* $(,)?) => {
        /// The widths of a value in bytes.
        pub(crate) const VALUE_BYTES: &[u32] = &[$($bytes),*];

        macro_rules! by_value_type {
            ($dollar bytes:expr, $dollar function:ident($dollar($dollar argument:expr),*)) => {
                match $dollar bytes {
                    $($bytes => Some($dollar function::<$words, $tail>($dollar($dollar argument),*)),)*
                    _ => None,
                }
            };
        }
    };
}

widths! { $
    8 = 1 words + 0,
    16 = 2 words + 0,
    32 = 4 words + 0,
    64 = 8 words + 0,
    100 = 12 words + 4,
    128 = 16 words + 0,
    256 = 32 words + 0,
    500 = 62 words + 4,
    512 = 64 words + 0,
    1000 = 125 words + 0,
    1024 = 128 words + 0,
}
pub(crate) use by_value_type as with_value_type;

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_engine::codec;

    fn width<const W: usize, const T: usize>() -> Option<usize> {
        let value = Value::<W, T>::of(7, 3);
        let bytes = codec::to_vec(&value).unwrap();
        assert_eq!(codec::decode::<Value<W, T>>(&bytes).unwrap(), value);
        assert_eq!(Some(bytes.len()), codec::shape_of::<Value<W, T>>().fixed_width());
        Some(bytes.len())
    }

    #[test]
    fn every_width_is_fixed_and_as_long_as_it_is_called() {
        for bytes in VALUE_BYTES {
            let width = with_value_type!(*bytes, width()).flatten();
            assert_eq!(width, Some(*bytes as usize));
        }
        assert_eq!(with_value_type!(99, width()), None);
    }

    #[test]
    fn a_value_of_another_key_or_with_any_byte_changed_is_noticed() {
        let value = Value::<12, 4>::of(7, 3);
        assert_eq!(value.checked_count(7), Some(3));
        assert_eq!(value.checked_count(8), None);
        let bytes = codec::to_vec(&value).unwrap();
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            let changed: Value<12, 4> = codec::decode(&bytes).unwrap();
            assert_eq!(changed.checked_count(7), None, "byte {at}");
        }
    }
}
