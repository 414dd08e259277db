//! Values to bytes.

use serde::Serialize;
use serde::ser;

use super::sink::{Counter, Place, Sink, Tail};
use super::{CodecError, DEPTH_MAX, EMPTY_ELEMENTS_MAX};

/// The bytes of `value`.
///
/// # Errors
/// If the value cannot be written in this format, see [limits](super#limits).
#[inline]
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    encode_into(value, &mut out)?;
    Ok(out)
}

/// Appends the bytes of `value` to `out`. After an error `out` is as it was.
///
/// # Errors
/// If the value cannot be written in this format, see [limits](super#limits).
#[inline]
pub fn encode_into<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = out.len();
    match encode_to(value, &mut Tail { out, start }) {
        Ok(()) => Ok(()),
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// Writes the bytes of `value` into `place`, which they must fill exactly. After an error what is in `place` is unspecified.
///
/// # Errors
/// [`CodecError::WrongWidth`] if `place` is too short or too long, or if the value cannot be written in this format, see
/// [limits](super#limits).
#[inline]
pub fn encode_fixed<T: Serialize + ?Sized>(value: &T, place: &mut [u8]) -> Result<(), CodecError> {
    let mut sink = Place { place, position: 0 };
    encode_to(value, &mut sink)?;
    if sink.position == sink.place.len() {
        Ok(())
    } else {
        Err(CodecError::WrongWidth {
            expected: sink.place.len(),
            found: sink.position,
        })
    }
}

/// Number of bytes that `value` takes, without writing them.
///
/// # Errors
/// If the value cannot be written in this format, see [limits](super#limits).
#[inline]
pub fn encoded_len<T: Serialize + ?Sized>(value: &T) -> Result<usize, CodecError> {
    let mut sink = Counter(0);
    encode_to(value, &mut sink)?;
    Ok(sink.0)
}

/// Writes the bytes of `value` to `sink`. After an error it may hold some of them.
///
/// # Errors
/// What the sink says, or if the value cannot be written in this format, see [limits](super#limits).
#[inline]
pub fn encode_to<T: Serialize + ?Sized, S: Sink>(value: &T, sink: &mut S) -> Result<(), CodecError> {
    let start = sink.position();
    let mut encoder = Encoder {
        sink,
        start,
        depth: 0,
    };
    match value.serialize(&mut encoder) {
        Ok(()) => Ok(()),
        Err(error) => Err(error.at(encoder.offset())),
    }
}

/// serde's view of a sink.
struct Encoder<'s, S> {
    sink: &'s mut S,
    /// The sink's position before the value.
    start: usize,
    depth: usize,
}

impl<S: Sink> Encoder<'_, S> {
    #[inline]
    fn offset(&self) -> usize {
        self.sink.position() - self.start
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        self.sink.put(bytes)
    }

    #[inline]
    fn put_len(&mut self, len: usize) -> Result<(), CodecError> {
        let len = len32(len, self.offset())?;
        self.put(&len.to_le_bytes())
    }

    #[inline]
    fn enter(&mut self) -> Result<(), CodecError> {
        if self.depth == DEPTH_MAX {
            return Err(CodecError::TooDeep {
                offset: self.offset(),
                expected: DEPTH_MAX,
            });
        }
        self.depth += 1;
        Ok(())
    }

    #[inline]
    fn nested<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        self.enter()?;
        value.serialize(&mut *self)?;
        self.depth -= 1;
        Ok(())
    }
}

#[inline]
fn len32(len: usize, offset: usize) -> Result<u32, CodecError> {
    u32::try_from(len).map_err(|_| CodecError::TooLong {
        offset,
        expected: usize::try_from(u32::MAX).unwrap_or(usize::MAX),
        found: len,
    })
}

macro_rules! numbers {
    ($($method:ident: $number:ty),* $(,)?) => {$(
        #[inline]
        fn $method(self, value: $number) -> Result<(), CodecError> {
            self.put(&value.to_le_bytes())
        }
    )*};
}

impl<'a, 's, S: Sink> ser::Serializer for &'a mut Encoder<'s, S> {
    type Ok = ();
    type Error = CodecError;
    type SerializeSeq = Counted<'a, 's, S>;
    type SerializeTuple = Parts<'a, 's, S>;
    type SerializeTupleStruct = Parts<'a, 's, S>;
    type SerializeTupleVariant = Parts<'a, 's, S>;
    type SerializeMap = Counted<'a, 's, S>;
    type SerializeStruct = Parts<'a, 's, S>;
    type SerializeStructVariant = Parts<'a, 's, S>;

    numbers! {
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128,
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_f32: f32, serialize_f64: f64,
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), CodecError> {
        self.put(&[u8::from(value)])
    }

    #[inline]
    fn serialize_char(self, value: char) -> Result<(), CodecError> {
        self.put(&u32::from(value).to_le_bytes())
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), CodecError> {
        self.serialize_bytes(value.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<(), CodecError> {
        let len = len32(value.len(), self.offset())?;
        self.sink.put_behind(len.to_le_bytes(), value)
    }

    #[inline]
    fn serialize_none(self) -> Result<(), CodecError> {
        self.put(&[0])
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CodecError> {
        self.put(&[1])?;
        self.nested(value)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), CodecError> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), CodecError> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
    ) -> Result<(), CodecError> {
        self.put(&index.to_le_bytes())
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), CodecError> {
        self.nested(value)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        value: &T,
    ) -> Result<(), CodecError> {
        self.put(&index.to_le_bytes())?;
        self.nested(value)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Counted<'a, 's, S>, CodecError> {
        Counted::begin(self, len)
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Parts<'a, 's, S>, CodecError> {
        Parts::begin(self, len)
    }

    #[inline]
    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Result<Parts<'a, 's, S>, CodecError> {
        Parts::begin(self, len)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        len: usize,
    ) -> Result<Parts<'a, 's, S>, CodecError> {
        self.put(&index.to_le_bytes())?;
        Parts::begin(self, len)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Counted<'a, 's, S>, CodecError> {
        Counted::begin(self, len)
    }

    #[inline]
    fn serialize_struct(self, _name: &'static str, len: usize) -> Result<Parts<'a, 's, S>, CodecError> {
        Parts::begin(self, len)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        len: usize,
    ) -> Result<Parts<'a, 's, S>, CodecError> {
        self.put(&index.to_le_bytes())?;
        Parts::begin(self, len)
    }
}

/// A sequence or map being written: its length goes in front, corrected at the end if it was not known or not true.
struct Counted<'a, 's, S> {
    encoder: &'a mut Encoder<'s, S>,
    /// Where the length is, in the sink.
    position: usize,
    announced: usize,
    count: usize,
}

impl<'a, 's, S: Sink> Counted<'a, 's, S> {
    #[inline]
    fn begin(encoder: &'a mut Encoder<'s, S>, len: Option<usize>) -> Result<Self, CodecError> {
        encoder.enter()?;
        let position = encoder.sink.position();
        let announced = len.unwrap_or(0);
        encoder.put_len(announced)?;
        Ok(Self {
            encoder,
            position,
            announced,
            count: 0,
        })
    }

    #[inline]
    fn finish(self) -> Result<(), CodecError> {
        let offset = self.position - self.encoder.start;
        let bytes = self.encoder.offset() - offset - 4;
        if self.count > bytes + EMPTY_ELEMENTS_MAX {
            return Err(CodecError::TooLong {
                offset,
                expected: bytes + EMPTY_ELEMENTS_MAX,
                found: self.count,
            });
        }
        if self.count != self.announced {
            let count = len32(self.count, offset)?;
            self.encoder.sink.patch(self.position, count.to_le_bytes());
        }
        self.encoder.depth -= 1;
        Ok(())
    }
}

impl<S: Sink> ser::SerializeSeq for Counted<'_, '_, S> {
    type Ok = ();
    type Error = CodecError;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        self.count += 1;
        value.serialize(&mut *self.encoder)
    }

    #[inline]
    fn end(self) -> Result<(), CodecError> {
        self.finish()
    }
}

impl<S: Sink> ser::SerializeMap for Counted<'_, '_, S> {
    type Ok = ();
    type Error = CodecError;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CodecError> {
        self.count += 1;
        key.serialize(&mut *self.encoder)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        value.serialize(&mut *self.encoder)
    }

    #[inline]
    fn end(self) -> Result<(), CodecError> {
        self.finish()
    }
}

/// A tuple, struct or variant being written: nothing but its parts, as many as were announced.
struct Parts<'a, 's, S> {
    encoder: &'a mut Encoder<'s, S>,
    left: usize,
}

impl<'a, 's, S: Sink> Parts<'a, 's, S> {
    #[inline]
    fn begin(encoder: &'a mut Encoder<'s, S>, len: usize) -> Result<Self, CodecError> {
        encoder.enter()?;
        Ok(Self { encoder, left: len })
    }

    #[inline]
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        self.left = self.left.wrapping_sub(1);
        value.serialize(&mut *self.encoder)
    }

    #[inline]
    fn skipped(&self, field: &'static str) -> Result<(), CodecError> {
        Err(CodecError::SkippedField {
            offset: self.encoder.offset(),
            field,
        })
    }

    #[inline]
    fn finish(self) -> Result<(), CodecError> {
        if self.left != 0 {
            return Err(ser::Error::custom(
                "a tuple or struct has another number of parts than its Serialize announced",
            ));
        }
        self.encoder.depth -= 1;
        Ok(())
    }
}

macro_rules! parts {
    ($($interface:ident::$method:ident),* $(,)?) => {$(
        impl<S: Sink> ser::$interface for Parts<'_, '_, S> {
            type Ok = ();
            type Error = CodecError;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
                self.part(value)
            }

            #[inline]
            fn end(self) -> Result<(), CodecError> {
                self.finish()
            }
        }
    )*};
}

parts!(
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field,
);

macro_rules! fields {
    ($($interface:ident),* $(,)?) => {$(
        impl<S: Sink> ser::$interface for Parts<'_, '_, S> {
            type Ok = ();
            type Error = CodecError;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                _name: &'static str,
                value: &T,
            ) -> Result<(), CodecError> {
                self.part(value)
            }

            #[inline]
            fn skip_field(&mut self, name: &'static str) -> Result<(), CodecError> {
                self.skipped(name)
            }

            #[inline]
            fn end(self) -> Result<(), CodecError> {
                self.finish()
            }
        }
    )*};
}

fields!(SerializeStruct, SerializeStructVariant);
