//! Bytes to values.

use serde::de::value::U32Deserializer;
use serde::de::{self, Deserialize, DeserializeSeed, IntoDeserializer, Visitor};

use super::{CodecError, DEPTH_MAX, EMPTY_ELEMENTS_MAX};

/// The value that all of `bytes` encode. It may borrow strings and byte slices from them.
///
/// # Errors
/// If the bytes are not the encoding of one value of type `T`: whatever they are, this does not panic, overflow the stack or
/// allocate out of proportion to them.
#[inline]
pub fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, CodecError> {
    let mut decoder = Decoder::new(bytes);
    match T::deserialize(&mut decoder) {
        Ok(value) if decoder.rest.is_empty() => Ok(value),
        Ok(_) => Err(CodecError::Trailing {
            offset: decoder.offset(),
            found: decoder.rest.len(),
        }),
        Err(error) => Err(error.at(decoder.offset())),
    }
}

/// The value at the beginning of `bytes`, which then begin after it. After an error they are as they were.
///
/// # Errors
/// As [`decode`], except that more bytes may follow.
#[inline]
pub fn decode_prefix<'de, T: Deserialize<'de>>(bytes: &mut &'de [u8]) -> Result<T, CodecError> {
    let mut decoder = Decoder::new(bytes);
    match T::deserialize(&mut decoder) {
        Ok(value) => {
            *bytes = decoder.rest;
            Ok(value)
        }
        Err(error) => Err(error.at(decoder.offset())),
    }
}

/// serde's view of the input.
struct Decoder<'de> {
    rest: &'de [u8],
    /// Length of the whole input.
    len: usize,
    depth: usize,
}

impl<'de> Decoder<'de> {
    #[inline]
    fn new(bytes: &'de [u8]) -> Self {
        Self {
            rest: bytes,
            len: bytes.len(),
            depth: 0,
        }
    }

    #[inline]
    fn offset(&self) -> usize {
        self.len - self.rest.len()
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        match self.rest.split_first_chunk::<N>() {
            Some((head, rest)) => {
                self.rest = rest;
                Ok(*head)
            }
            None => Err(self.truncated(N)),
        }
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, CodecError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    #[inline]
    fn length(&mut self) -> Result<usize, CodecError> {
        let length = u32::from_le_bytes(self.array()?);
        Ok(usize::try_from(length).unwrap_or(usize::MAX))
    }

    #[inline]
    fn slice(&mut self) -> Result<&'de [u8], CodecError> {
        let length = self.length()?;
        match self.rest.split_at_checked(length) {
            Some((head, rest)) => {
                self.rest = rest;
                Ok(head)
            }
            None => Err(self.truncated(length)),
        }
    }

    #[inline]
    fn str(&mut self) -> Result<&'de str, CodecError> {
        let bytes = self.slice()?;
        std::str::from_utf8(bytes).map_err(|source| CodecError::InvalidUtf8 {
            offset: self.offset() - bytes.len(),
            source,
        })
    }

    /// The number of elements of a sequence or map, which is possible for what is left of the input.
    #[inline]
    fn count(&mut self) -> Result<usize, CodecError> {
        let offset = self.offset();
        let count = self.length()?;
        let expected = self.rest.len().saturating_add(EMPTY_ELEMENTS_MAX);
        if count > expected {
            return Err(CodecError::TooLong {
                offset,
                expected,
                found: count,
            });
        }
        Ok(count)
    }

    #[cold]
    fn truncated(&self, expected: usize) -> CodecError {
        CodecError::Truncated {
            offset: self.offset(),
            expected,
            found: self.rest.len(),
        }
    }

    #[cold]
    fn invalid_tag(&self, expected: &'static str, found: u8) -> CodecError {
        CodecError::InvalidTag {
            offset: self.offset() - 1,
            expected,
            found,
        }
    }

    #[cold]
    fn not_self_describing<T>(&self, asked: &'static str) -> Result<T, CodecError> {
        Err(CodecError::NotSelfDescribing {
            offset: self.offset(),
            asked,
        })
    }

    /// Runs `read` one level deeper.
    #[inline]
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, CodecError>) -> Result<T, CodecError> {
        if self.depth == DEPTH_MAX {
            return Err(CodecError::TooDeep {
                offset: self.offset(),
                expected: DEPTH_MAX,
            });
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    /// Lets `visitor` read `count` elements, one level deeper; it must read all of them if `all`.
    #[inline]
    fn elements<V: Visitor<'de>>(
        &mut self,
        count: usize,
        all: bool,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.nested(|decoder| {
            let mut elements = Elements { decoder, left: count };
            let value = visitor.visit_seq(&mut elements)?;
            elements.finish(all)?;
            Ok(value)
        })
    }
}

macro_rules! numbers {
    ($($method:ident: $number:ty => $visit:ident),* $(,)?) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
            visitor.$visit(<$number>::from_le_bytes(self.array()?))
        }
    )*};
}

macro_rules! unsupported {
    ($($method:ident),* $(,)?) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, CodecError> {
            self.not_self_describing(stringify!($method))
        }
    )*};
}

impl<'de> de::Deserializer<'de> for &mut Decoder<'de> {
    type Error = CodecError;

    numbers! {
        deserialize_u8: u8 => visit_u8, deserialize_u16: u16 => visit_u16, deserialize_u32: u32 => visit_u32,
        deserialize_u64: u64 => visit_u64, deserialize_u128: u128 => visit_u128,
        deserialize_i8: i8 => visit_i8, deserialize_i16: i16 => visit_i16, deserialize_i32: i32 => visit_i32,
        deserialize_i64: i64 => visit_i64, deserialize_i128: i128 => visit_i128,
        deserialize_f32: f32 => visit_f32, deserialize_f64: f64 => visit_f64,
    }

    unsupported!(deserialize_any, deserialize_identifier, deserialize_ignored_any);

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        match self.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            other => Err(self.invalid_tag("0 or 1 for a bool", other)),
        }
    }

    #[inline]
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let offset = self.offset();
        let found = u32::from_le_bytes(self.array()?);
        match char::from_u32(found) {
            Some(value) => visitor.visit_char(value),
            None => Err(CodecError::InvalidChar { offset, found }),
        }
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_borrowed_str(self.str()?)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_borrowed_str(self.str()?)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_borrowed_bytes(self.slice()?)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_borrowed_bytes(self.slice()?)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        match self.byte()? {
            0 => visitor.visit_none(),
            1 => self.nested(|decoder| visitor.visit_some(decoder)),
            other => Err(self.invalid_tag("0 for None or 1 for Some", other)),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.nested(|decoder| visitor.visit_newtype_struct(decoder))
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let count = self.count()?;
        self.elements(count, true, visitor)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, CodecError> {
        self.elements(len, true, visitor)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.elements(len, true, visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let count = self.count()?;
        self.nested(|decoder| {
            let mut entries = Elements { decoder, left: count };
            let value = visitor.visit_map(&mut entries)?;
            entries.finish(true)?;
            Ok(value)
        })
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        // Aliases are among the names, so there may be fewer fields than names.
        self.elements(fields.len(), false, visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        visitor.visit_enum(Variant { decoder: self })
    }
}

/// The elements of a sequence, tuple or struct, or the entries of a map, that are still to be read.
struct Elements<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    left: usize,
}

impl Elements<'_, '_> {
    #[inline]
    fn finish(&self, all: bool) -> Result<(), CodecError> {
        if all && self.left != 0 {
            return Err(CodecError::Unread {
                offset: self.decoder.offset(),
                found: self.left,
            });
        }
        Ok(())
    }

    /// What is left, but no more than the rest of the input could hold: elements may be larger in memory than encoded, and
    /// serde bounds the bytes that it allocates in advance for what is said here.
    #[inline]
    fn hint(&self) -> usize {
        self.left.min(self.decoder.rest.len())
    }
}

impl<'de> de::SeqAccess<'de> for Elements<'_, 'de> {
    type Error = CodecError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, CodecError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        Ok(Some(seed.deserialize(&mut *self.decoder)?))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

impl<'de> de::MapAccess<'de> for Elements<'_, 'de> {
    type Error = CodecError;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, CodecError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        Ok(Some(seed.deserialize(&mut *self.decoder)?))
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, CodecError> {
        seed.deserialize(&mut *self.decoder)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

/// An enum whose variant is to be read.
struct Variant<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
}

impl<'de> de::EnumAccess<'de> for Variant<'_, 'de> {
    type Error = CodecError;
    type Variant = Self;

    #[inline]
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), CodecError> {
        let index = u32::from_le_bytes(self.decoder.array()?);
        let index: U32Deserializer<CodecError> = index.into_deserializer();
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_, 'de> {
    type Error = CodecError;

    #[inline]
    fn unit_variant(self) -> Result<(), CodecError> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, CodecError> {
        self.decoder.nested(|decoder| seed.deserialize(decoder))
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, CodecError> {
        self.decoder.elements(len, true, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.decoder.elements(fields.len(), false, visitor)
    }
}
