//! serde's view of a stored value: whatever is asked for is looked for in what is there.

use super::parts::{Elements, Parts, Variant};
use super::reader::{Number, Reader, visit_fields};
use super::refused;
use crate::codec::CodecError;
use crate::codec::shape::{Scalar, TypeShape};
use serde::de::{self, Visitor};

/// Whether every number of the type `stored` is one of the integer type `asked`.
fn widens(stored: Scalar, asked: Scalar) -> bool {
    match (is_unsigned(stored), is_unsigned(asked)) {
        (Some(true), Some(false)) => stored.width() < asked.width(),
        (Some(stored_sign), Some(sign)) => stored_sign == sign && stored.width() <= asked.width(),
        _ => false,
    }
}

/// Whether an integer type has no sign; `None` for what is no integer.
fn is_unsigned(scalar: Scalar) -> Option<bool> {
    match scalar {
        Scalar::U8 | Scalar::U16 | Scalar::U32 | Scalar::U64 | Scalar::U128 => Some(true),
        Scalar::I8 | Scalar::I16 | Scalar::I32 | Scalar::I64 | Scalar::I128 => Some(false),
        Scalar::Bool | Scalar::F32 | Scalar::F64 | Scalar::Char => None,
    }
}

macro_rules! integers {
    ($($method:ident: $number:ty, $asked:ident => $visit:ident),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
            let mut this = self.resolved()?;
            let fits = matches!(this.shape, TypeShape::Scalar(stored) if widens(*stored, Scalar::$asked));
            if !fits {
                return this.mismatch(Scalar::$asked.name());
            }
            let number = match this.integer()? {
                Some(Number::Unsigned(number)) => <$number>::try_from(number).ok(),
                Some(Number::Signed(number)) => <$number>::try_from(number).ok(),
                None => None,
            };
            match number {
                Some(number) => visitor.$visit(number),
                None => this.mismatch(Scalar::$asked.name()),
            }
        }
    )*};
}

/// What is stored and read as one and the same type.
macro_rules! plain {
    ($($method:ident: $shape:pat, $name:literal, $value:ty => $visit:ident),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
            let this = self.resolved()?;
            match this.shape {
                $shape => visitor.$visit(this.input.plain::<$value>()?),
                _ => this.mismatch($name),
            }
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Reader<'_, 'de> {
    type Error = CodecError;

    integers! {
        deserialize_u8: u8, U8 => visit_u8, deserialize_u16: u16, U16 => visit_u16,
        deserialize_u32: u32, U32 => visit_u32, deserialize_u64: u64, U64 => visit_u64,
        deserialize_u128: u128, U128 => visit_u128,
        deserialize_i8: i8, I8 => visit_i8, deserialize_i16: i16, I16 => visit_i16,
        deserialize_i32: i32, I32 => visit_i32, deserialize_i64: i64, I64 => visit_i64,
        deserialize_i128: i128, I128 => visit_i128,
    }

    plain! {
        deserialize_bool: TypeShape::Scalar(Scalar::Bool), "bool", bool => visit_bool,
        deserialize_char: TypeShape::Scalar(Scalar::Char), "char", char => visit_char,
        deserialize_f32: TypeShape::Scalar(Scalar::F32), "f32", f32 => visit_f32,
        deserialize_str: TypeShape::String, "string", &'de str => visit_borrowed_str,
        deserialize_string: TypeShape::String, "string", &'de str => visit_borrowed_str,
        deserialize_bytes: TypeShape::Bytes, "bytes", &'de [u8] => visit_borrowed_bytes,
        deserialize_byte_buf: TypeShape::Bytes, "bytes", &'de [u8] => visit_borrowed_bytes,
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let this = self.resolved()?;
        match this.shape {
            TypeShape::Scalar(Scalar::F64) => visitor.visit_f64(this.input.plain()?),
            TypeShape::Scalar(Scalar::F32) => visitor.visit_f64(this.input.plain::<f32>()?.into()),
            _ => this.mismatch("f64"),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let this = self.resolved()?;
        let TypeShape::Option(some) = this.shape else {
            // What was always there has become optional.
            return visitor.visit_some(this);
        };
        if !this.input.plain::<bool>()? {
            return visitor.visit_none();
        }
        this.nested(|input, around| {
            visitor.visit_some(Reader {
                input,
                shape: some,
                around: Some(around),
            })
        })
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let this = self.resolved()?;
        match this.shape {
            TypeShape::Tuple(parts) if parts.is_empty() => visitor.visit_unit(),
            _ => this.mismatch("()"),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let this = self.resolved()?;
        let TypeShape::Seq(element) = this.shape else {
            return this.mismatch("a sequence");
        };
        let count = this.input.count()?;
        this.sequence(Parts::Alike(element, count), visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, CodecError> {
        let this = self.resolved()?;
        match this.shape {
            TypeShape::Tuple(parts) if parts.len() == len => this.sequence(Parts::Each(parts), visitor),
            TypeShape::Array(element, count) if *count == len => {
                this.sequence(Parts::Alike(element, len), visitor)
            }
            _ => this.mismatch(&format!("a tuple of {len}")),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let this = self.resolved()?;
        let TypeShape::Map(key, value) = this.shape else {
            return this.mismatch("a map");
        };
        let count = this.input.count()?;
        this.nested(|input, around| {
            let mut entries = Elements {
                input,
                around,
                parts: Parts::Entries(key, value, count),
                next: 0,
            };
            let visited = visitor.visit_map(&mut entries)?;
            let left = entries.parts.len().saturating_sub(entries.next);
            if left > 0 {
                return Err(CodecError::Unread {
                    offset: entries.input.offset(),
                    found: left,
                });
            }
            Ok(visited)
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        let this = self.resolved()?;
        match this.shape {
            TypeShape::Struct { fields, .. } => {
                this.nested(|input, around| visit_fields(input, around, fields, visitor))
            }
            _ => this.mismatch(&format!("the struct {name}")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        let this = self.resolved()?;
        let TypeShape::Enum { variants, .. } = this.shape else {
            return this.mismatch(&format!("the enum {name}"));
        };
        let index = this.input.plain::<u32>()?;
        let variant = usize::try_from(index).ok().and_then(|index| variants.get(index));
        let Some(variant) = variant else {
            return Err(refused(format!("there is no variant {index} in {}", this.shape)));
        };
        if variant.name == format!("_{index}") {
            return Err(refused(format!(
                "the names of the stored variants are not known ({variant}), since one had an alias"
            )));
        }
        this.nested(|input, around| {
            visitor.visit_enum(Variant {
                input,
                around,
                variant,
            })
        })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.skip()?;
        visitor.visit_unit()
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, CodecError> {
        Err(CodecError::NotSelfDescribing {
            offset: self.input.offset(),
            asked: "deserialize_any",
        })
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, CodecError> {
        Err(CodecError::NotSelfDescribing {
            offset: self.input.offset(),
            asked: "deserialize_identifier",
        })
    }
}
