//! Parts of stored values as serde asks for them: elements one after the other, fields and variants by their names.

use super::reader::{Input, Reader, visit_fields};
use super::refused;
use crate::codec::CodecError;
use crate::codec::shape::{Around, FieldShape, TypeShape, VariantContent, VariantShape};
use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

/// The shapes of parts that lie one after the other.
#[derive(Clone, Copy)]
pub(super) enum Parts<'s> {
    Each(&'s [TypeShape]),
    Alike(&'s TypeShape, usize),
    /// Keys and values by turns: so many of each.
    Entries(&'s TypeShape, &'s TypeShape, usize),
}

impl<'s> Parts<'s> {
    pub(super) fn len(self) -> usize {
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

/// Parts of a tuple, sequence or map that are still to be read.
pub(super) struct Elements<'a, 'de> {
    pub(super) input: &'a mut Input<'de>,
    pub(super) around: &'a Around<'a>,
    pub(super) parts: Parts<'a>,
    pub(super) next: usize,
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
pub(super) struct Fields<'a, 'de> {
    pub(super) input: &'a mut Input<'de>,
    pub(super) around: &'a Around<'a>,
    pub(super) fields: std::slice::Iter<'a, FieldShape>,
    /// The field whose name was given out.
    pub(super) value: Option<&'a FieldShape>,
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
pub(super) struct Variant<'a, 'de> {
    pub(super) input: &'a mut Input<'de>,
    pub(super) around: &'a Around<'a>,
    pub(super) variant: &'a VariantShape,
}

impl<'a, 'de> Variant<'a, 'de> {
    /// The fields or parts cannot become what is asked for.
    #[cold]
    fn mismatch<T>(&self, asked: &str) -> Result<T, CodecError> {
        Err(refused(format!(
            "stored is the variant {}, registered is {asked}",
            self.variant
        )))
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
