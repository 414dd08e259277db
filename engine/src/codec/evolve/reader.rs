//! What is left of the stored bytes, and a value in them of a known shape.

use super::parts::{Elements, Fields, Parts};
use super::refused;
use crate::codec::shape::{Around, FieldShape, Scalar, TypeShape, VariantContent};
use crate::codec::{CodecError, DEPTH_MAX, EMPTY_ELEMENTS_MAX, decode_prefix};
use serde::de::{Deserialize, Visitor};

/// What is left of the bytes.
pub(super) struct Input<'de> {
    pub(super) rest: &'de [u8],
    len: usize,
    depth: usize,
}

impl<'de> Input<'de> {
    pub(super) fn new(bytes: &'de [u8]) -> Self {
        Self {
            rest: bytes,
            len: bytes.len(),
            depth: 0,
        }
    }

    pub(super) fn offset(&self) -> usize {
        self.len - self.rest.len()
    }

    /// The next value of a type that the codec reads as it is.
    pub(super) fn plain<T: Deserialize<'de>>(&mut self) -> Result<T, CodecError> {
        decode_prefix(&mut self.rest)
    }

    /// The length of a sequence, which is possible for what is left.
    pub(super) fn count(&mut self) -> Result<usize, CodecError> {
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
pub(super) enum Number {
    Unsigned(u128),
    Signed(i128),
}

/// One stored value, to be read as whatever is asked for.
pub(super) struct Reader<'a, 'de> {
    pub(super) input: &'a mut Input<'de>,
    pub(super) shape: &'a TypeShape,
    pub(super) around: Option<&'a Around<'a>>,
}

impl<'a, 'de> Reader<'a, 'de> {
    /// The same where the shape says what is there, not that it is what is around.
    pub(super) fn resolved(self) -> Result<Self, CodecError> {
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
    pub(super) fn mismatch<T>(&self, asked: &str) -> Result<T, CodecError> {
        Err(refused(format!(
            "stored is {}, registered is {asked}",
            self.shape
        )))
    }

    /// An integer of any width.
    pub(super) fn integer(&mut self) -> Result<Option<Number>, CodecError> {
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
    pub(super) fn nested<T>(
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
    pub(super) fn sequence<V: Visitor<'de>>(
        self,
        parts: Parts<'_>,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
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
    pub(super) fn skip(self) -> Result<(), CodecError> {
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
                this.nested(|input, around| skip_all(input, around, std::iter::repeat_n(&**element, count)))
            }
            TypeShape::Map(key, value) => {
                let count = this.input.count()?;
                this.nested(|input, around| {
                    (0..count).try_for_each(|_| skip_all(input, around, [&**key, &**value]))
                })
            }
            TypeShape::Tuple(parts) => this.nested(|input, around| skip_all(input, around, parts)),
            TypeShape::Array(element, count) => {
                this.nested(|input, around| skip_all(input, around, std::iter::repeat_n(&**element, *count)))
            }
            TypeShape::Struct { fields, .. } => {
                this.nested(|input, around| skip_all(input, around, fields.iter().map(|field| &field.shape)))
            }
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

pub(super) fn skip_all<'s>(
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

pub(super) fn visit_fields<'de, V: Visitor<'de>>(
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
