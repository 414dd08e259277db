//! Reading values by the shape that they were stored with, as another type than the one that wrote them.
//!
//! [`decode`](super::decode) goes by the type that reads, so both must agree on every byte. Here the stored [`TypeShape`] says what the bytes are, and
//! serde finds its way from there, as it does in formats that describe themselves: fields go by their names, so they may have moved, been added with
//! `#[serde(default)]`, renamed with `#[serde(alias = "..")]`, or left out; variants of enums go by their names; numbers may have become wider, and a
//! value an `Option` of it. What is not surely right for every value is refused, whatever the values are: a `u64` is no `u32`.

use super::error::CodecError;
use super::shape::{Around, FieldShape, Scalar, TypeShape, VariantContent, samples};
use super::{DEPTH_MAX, EMPTY_ELEMENTS_MAX, decode_prefix};
use serde::de::value::StrDeserializer;
use serde::de::{self, Deserialize, DeserializeSeed, IntoDeserializer, Visitor};

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
/// As [`decode_prefix`], and when `T` cannot be read from what is stored, see [`can_evolve`]. Then the bytes are as they were.
pub fn decode_stored<'de, T: Deserialize<'de>>(
    bytes: &mut &'de [u8],
    stored: &TypeShape,
) -> Result<T, CodecError> {
    let mut input = Input {
        rest: bytes,
        len: bytes.len(),
        depth: 0,
    };
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
    let samples = samples(stored)
        .ok_or_else(|| refused(format!("values of the shape `{stored}` cannot be made up to try it")))?;
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

/// What is left of the bytes.
struct Input<'de> {
    rest: &'de [u8],
    len: usize,
    depth: usize,
}

impl<'de> Input<'de> {
    fn offset(&self) -> usize {
        self.len - self.rest.len()
    }

    /// The next value of a type that the codec reads as it is.
    fn plain<T: Deserialize<'de>>(&mut self) -> Result<T, CodecError> {
        decode_prefix(&mut self.rest)
    }

    /// The length of a sequence, which is possible for what is left.
    fn count(&mut self) -> Result<usize, CodecError> {
        let offset = self.offset();
        let found = usize::try_from(self.plain::<u32>()?).unwrap_or(usize::MAX);
        let expected = self.rest.len().saturating_add(EMPTY_ELEMENTS_MAX);
        if found > expected {
            return Err(CodecError::TooLong {
                offset,
                expected,
                found,
            });
        }
        Ok(found)
    }
}

/// A number as it is stored.
enum Number {
    Unsigned(u128),
    Signed(i128),
}

/// One stored value, to be read as whatever is asked for.
struct Reader<'a, 'de> {
    input: &'a mut Input<'de>,
    shape: &'a TypeShape,
    around: Option<&'a Around<'a>>,
}

impl<'a, 'de> Reader<'a, 'de> {
    /// The same where the shape says what is there, not that it is what is around.
    fn resolved(self) -> Result<Self, CodecError> {
        let Self { input, shape, around } = self;
        match shape {
            TypeShape::Outer(levels) => {
                let (shape, around) = Around::find(around, *levels)
                    .ok_or_else(|| refused(format!("`{shape}` means nothing here")))?;
                Ok(Self { input, shape, around })
            }
            _ => Ok(Self { input, shape, around }),
        }
    }

    /// What is there is not what is asked for.
    #[cold]
    fn mismatch<T>(&self, asked: &str) -> Result<T, CodecError> {
        Err(refused(format!("stored is {}, registered is {asked}", self.shape)))
    }

    /// An integer of any width.
    fn integer(&mut self) -> Result<Option<Number>, CodecError> {
        let TypeShape::Scalar(scalar) = self.shape else {
            return Ok(None);
        };
        let input = &mut *self.input;
        Ok(Some(match scalar {
            Scalar::U8 => Number::Unsigned(input.plain::<u8>()?.into()),
            Scalar::U16 => Number::Unsigned(input.plain::<u16>()?.into()),
            Scalar::U32 => Number::Unsigned(input.plain::<u32>()?.into()),
            Scalar::U64 => Number::Unsigned(input.plain::<u64>()?.into()),
            Scalar::U128 => Number::Unsigned(input.plain()?),
            Scalar::I8 => Number::Signed(input.plain::<i8>()?.into()),
            Scalar::I16 => Number::Signed(input.plain::<i16>()?.into()),
            Scalar::I32 => Number::Signed(input.plain::<i32>()?.into()),
            Scalar::I64 => Number::Signed(input.plain::<i64>()?.into()),
            Scalar::I128 => Number::Signed(input.plain()?),
            Scalar::Bool | Scalar::F32 | Scalar::F64 | Scalar::Char => return Ok(None),
        }))
    }

    /// Reads parts one level deeper.
    fn nested<T>(
        self,
        read: impl FnOnce(&mut Input<'de>, &Around<'_>) -> Result<T, CodecError>,
    ) -> Result<T, CodecError> {
        let Self { input, shape, around } = self;
        if input.depth == DEPTH_MAX {
            return Err(CodecError::TooDeep {
                offset: input.offset(),
                expected: DEPTH_MAX,
            });
        }
        input.depth += 1;
        let value = read(input, &Around::within(shape, around))?;
        input.depth -= 1;
        Ok(value)
    }

    /// The parts of a tuple or sequence for `visitor`.
    fn sequence<V: Visitor<'de>>(self, parts: Parts<'_>, visitor: V) -> Result<V::Value, CodecError> {
        self.nested(|input, around| {
            let mut elements = Elements {
                input,
                around,
                parts,
                next: 0,
            };
            let value = visitor.visit_seq(&mut elements)?;
            let left = elements.parts.len().saturating_sub(elements.next);
            if left > 0 {
                return Err(CodecError::Unread {
                    offset: elements.input.offset(),
                    found: left,
                });
            }
            Ok(value)
        })
    }

    /// Passes over the value.
    fn skip(self) -> Result<(), CodecError> {
        let this = self.resolved()?;
        match this.shape {
            TypeShape::Scalar(scalar) => {
                let input = this.input;
                input.rest = input
                    .rest
                    .get(scalar.width()..)
                    .ok_or_else(|| CodecError::Truncated {
                        offset: input.len - input.rest.len(),
                        expected: scalar.width(),
                        found: input.rest.len(),
                    })?;
                Ok(())
            }
            TypeShape::String | TypeShape::Bytes => this.input.plain::<&[u8]>().map(drop),
            TypeShape::Option(some) => {
                if this.input.plain::<bool>()? {
                    this.nested(|input, around| skip_all(input, around, [&**some]))?;
                }
                Ok(())
            }
            TypeShape::Seq(element) => {
                let count = this.input.count()?;
                this.nested(|input, around| {
                    skip_all(input, around, std::iter::repeat_n(&**element, count))
                })
            }
            TypeShape::Map(key, value) => {
                let count = this.input.count()?;
                this.nested(|input, around| {
                    (0..count).try_for_each(|_| skip_all(input, around, [&**key, &**value]))
                })
            }
            TypeShape::Tuple(parts) => this.nested(|input, around| skip_all(input, around, parts)),
            TypeShape::Array(element, count) => this.nested(|input, around| {
                skip_all(input, around, std::iter::repeat_n(&**element, *count))
            }),
            TypeShape::Struct { fields, .. } => this.nested(|input, around| {
                skip_all(input, around, fields.iter().map(|field| &field.shape))
            }),
            TypeShape::Enum { variants, .. } => {
                let index = this.input.plain::<u32>()?;
                let content = usize::try_from(index).ok().and_then(|index| variants.get(index));
                let Some(variant) = content else {
                    return Err(refused(format!("there is no variant {index} in {}", this.shape)));
                };
                this.nested(|input, around| match &variant.content {
                    VariantContent::Unit => Ok(()),
                    VariantContent::Tuple(parts) => skip_all(input, around, parts),
                    VariantContent::Struct(fields) => {
                        skip_all(input, around, fields.iter().map(|field| &field.shape))
                    }
                })
            }
            TypeShape::Outer(_) | TypeShape::Opaque => this.mismatch("a part that is left out"),
        }
    }
}

fn skip_all<'s>(
    input: &mut Input<'_>,
    around: &Around<'_>,
    shapes: impl IntoIterator<Item = &'s TypeShape>,
) -> Result<(), CodecError> {
    for shape in shapes {
        Reader {
            input: &mut *input,
            shape,
            around: Some(around),
        }
        .skip()?;
    }
    Ok(())
}

fn visit_fields<'de, V: Visitor<'de>>(
    input: &mut Input<'de>,
    around: &Around<'_>,
    fields: &[FieldShape],
    visitor: V,
) -> Result<V::Value, CodecError> {
    // Fields of types with aliases are stored without names.
    if let Some(unnamed) = fields
        .iter()
        .enumerate()
        .find(|(index, field)| field.name == format!("_{index}"))
    {
        return Err(refused(format!(
            "the names of the stored fields are not known ({}), since one had an alias",
            unnamed.1
        )));
    }
    let mut entries = Fields {
        input,
        around,
        fields: fields.iter(),
        value: None,
    };
    let value = visitor.visit_map(&mut entries)?;
    // A visitor that does not care for the rest leaves it.
    let (rest, around) = (entries.fields.as_slice(), entries.around);
    skip_all(entries.input, around, rest.iter().map(|field| &field.shape))?;
    Ok(value)
}

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

/// The shapes of parts that lie one after the other.
#[derive(Clone, Copy)]
enum Parts<'s> {
    Each(&'s [TypeShape]),
    Alike(&'s TypeShape, usize),
    /// Keys and values by turns: so many of each.
    Entries(&'s TypeShape, &'s TypeShape, usize),
}

impl<'s> Parts<'s> {
    fn len(self) -> usize {
        match self {
            Self::Each(parts) => parts.len(),
            Self::Alike(_, count) => count,
            Self::Entries(_, _, count) => count * 2,
        }
    }

    fn get(self, index: usize) -> Option<&'s TypeShape> {
        match self {
            Self::Each(parts) => parts.get(index),
            Self::Alike(element, count) => (index < count).then_some(element),
            Self::Entries(..) if index >= self.len() => None,
            Self::Entries(key, value, _) => Some(if index.is_multiple_of(2) { key } else { value }),
        }
    }
}

struct Elements<'a, 'de> {
    input: &'a mut Input<'de>,
    around: &'a Around<'a>,
    parts: Parts<'a>,
    next: usize,
}

impl<'de> Elements<'_, 'de> {
    fn part<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, CodecError> {
        let Some(shape) = self.parts.get(self.next) else {
            return Ok(None);
        };
        self.next += 1;
        let reader = Reader {
            input: &mut *self.input,
            shape,
            around: Some(self.around),
        };
        seed.deserialize(reader).map(Some)
    }

    /// No more than the rest of the input could hold: serde bounds by it what it allocates in advance.
    fn hint(&self) -> usize {
        self.parts
            .len()
            .saturating_sub(self.next)
            .min(self.input.rest.len())
    }
}

impl<'de> de::SeqAccess<'de> for Elements<'_, 'de> {
    type Error = CodecError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, CodecError> {
        self.part(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

impl<'de> de::MapAccess<'de> for Elements<'_, 'de> {
    type Error = CodecError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, CodecError> {
        self.part(seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, CodecError> {
        self.part(seed)?
            .ok_or_else(|| refused("an entry of a map has no value".to_owned()))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.hint() / 2)
    }
}

/// The fields of a struct by their names.
struct Fields<'a, 'de> {
    input: &'a mut Input<'de>,
    around: &'a Around<'a>,
    fields: std::slice::Iter<'a, FieldShape>,
    /// The field whose name was given out.
    value: Option<&'a FieldShape>,
}

impl<'de> de::MapAccess<'de> for Fields<'_, 'de> {
    type Error = CodecError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, CodecError> {
        let Some(field) = self.fields.next() else {
            return Ok(None);
        };
        self.value = Some(field);
        seed.deserialize(named(&field.name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, CodecError> {
        let field = self
            .value
            .take()
            .ok_or_else(|| refused("a field's value was asked for before its name".to_owned()))?;
        let reader = Reader {
            input: &mut *self.input,
            shape: &field.shape,
            around: Some(self.around),
        };
        seed.deserialize(reader).map_err(|error| match error {
            CodecError::Custom { offset, message } => CodecError::Custom {
                offset,
                message: format!("{}: {message}", field.name).into_boxed_str(),
            },
            other => other,
        })
    }
}

fn named(name: &str) -> StrDeserializer<'_, CodecError> {
    name.into_deserializer()
}

/// A stored variant, by its name.
struct Variant<'a, 'de> {
    input: &'a mut Input<'de>,
    around: &'a Around<'a>,
    variant: &'a super::VariantShape,
}

impl<'a, 'de> Variant<'a, 'de> {
    /// The fields or parts cannot become what is asked for.
    #[cold]
    fn mismatch<T>(&self, asked: &str) -> Result<T, CodecError> {
        Err(refused(format!("stored is the variant {}, registered is {asked}", self.variant)))
    }

    fn parts<V: Visitor<'de>>(self, parts: &[TypeShape], visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_seq(Elements {
            input: self.input,
            around: self.around,
            parts: Parts::Each(parts),
            next: 0,
        })
    }
}

impl<'de> de::EnumAccess<'de> for Variant<'_, 'de> {
    type Error = CodecError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), CodecError> {
        Ok((seed.deserialize(named(&self.variant.name))?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_, 'de> {
    type Error = CodecError;

    fn unit_variant(self) -> Result<(), CodecError> {
        match &self.variant.content {
            VariantContent::Unit => Ok(()),
            _ => self.mismatch("without content"),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, CodecError> {
        match &self.variant.content {
            VariantContent::Tuple(parts) => match parts.as_slice() {
                [shape] => seed.deserialize(Reader {
                    input: self.input,
                    shape,
                    around: Some(self.around),
                }),
                _ => self.mismatch("with one part"),
            },
            _ => self.mismatch("with one part"),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, CodecError> {
        match &self.variant.content {
            VariantContent::Tuple(parts) if parts.len() == len => self.parts(parts, visitor),
            _ => self.mismatch(&format!("with {len} parts")),
        }
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        match &self.variant.content {
            VariantContent::Struct(fields) => visit_fields(self.input, self.around, fields, visitor),
            _ => self.mismatch("with fields"),
        }
    }
}
