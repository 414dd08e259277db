//! What the bytes of a type look like: found by [tracing](shape_of) its `Deserialize`, written as [text](parse) into
//! checkpoints, and [compared](TypeShape::reads) when they are restored.

mod notes;
mod parse;
mod reads;
mod sample;
#[cfg(test)]
mod tests;
mod text;
mod trace;

pub use parse::ParseShapeError;
pub use reads::Mismatch;
pub(super) use sample::{Around, samples};
pub use trace::shape_of;

/// The structure of an encoded type, as the format of [`codec`](super) sees it.
///
/// Its text form, by `Display` and `FromStr`, is the fingerprint of a type in checkpoints and does not change within a version
/// of the codec: `u64`, `[f32;3]`, `(u32,string)`, `option<u8>`, `seq<f64>`, `map<string,i64>`,
/// `struct WordCount{word:string,count:u64}`, `enum Side{Left,Right(u8),Both{left:u8,right:u8}}`, `opaque`. A newtype is what
/// is inside it; a tuple whose parts are alike is an array; a part that is again one of the types around it is `^n`, the n-th
/// around it (`struct Node{value:u64,next:option<^2>}`). Names that are no identifiers stand in double quotes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TypeShape {
    /// A number, `bool` or `char`.
    Scalar(Scalar),
    /// A string.
    String,
    /// Bytes that are written as one (`serde_bytes`), not as a sequence of `u8`.
    Bytes,
    /// An `Option`.
    Option(Box<TypeShape>),
    /// A sequence of any length: `Vec`, `HashSet`.
    Seq(Box<TypeShape>),
    /// A map: key, value.
    Map(Box<TypeShape>, Box<TypeShape>),
    /// A tuple or tuple struct; `()` and unit structs are tuples without parts.
    Tuple(Vec<TypeShape>),
    /// An array, or a tuple of at least two parts that are alike: element, number of elements.
    Array(Box<TypeShape>, usize),
    /// A struct with named fields.
    Struct {
        /// Its name, which does not count in comparisons.
        name: String,
        /// Its fields, in their order.
        fields: Vec<FieldShape>,
    },
    /// An enum.
    Enum {
        /// Its name, which does not count in comparisons.
        name: String,
        /// Its variants, in their order.
        variants: Vec<VariantShape>,
    },
    /// A recursive type: the n-th of the shapes around this one, 1 being the innermost.
    Outer(usize),
    /// A type that cannot be traced, since its `Deserialize` refuses the probing values or looks ahead.
    Opaque,
}

/// A field of a struct.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldShape {
    /// The name as serde has it, after `rename`; `_0`, `_1`, .. where a field has an `alias`.
    pub name: String,
    /// The field's type.
    pub shape: TypeShape,
}

/// A variant of an enum.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VariantShape {
    /// The name as serde has it, after `rename`; `_0`, `_1`, .. where a variant has an `alias`.
    pub name: String,
    /// What the variant holds.
    pub content: VariantContent,
}

/// What a variant of an enum holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VariantContent {
    /// Nothing: `Left`.
    Unit,
    /// Parts without names: `Left(u8)`.
    Tuple(Vec<TypeShape>),
    /// Fields: `Left { id: u8 }`.
    Struct(Vec<FieldShape>),
}

macro_rules! scalars {
    ($($variant:ident $name:literal $width:literal $doc:literal),* $(,)?) => {
        /// A value of one fixed width.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Scalar {
            $(#[doc = $doc] $variant,)*
        }

        impl Scalar {
            const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in a shape's text.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Number of bytes of an encoded value.
            #[must_use]
            pub fn width(self) -> usize {
                match self {
                    $(Self::$variant => $width,)*
                }
            }
        }
    };
}

scalars! {
    Bool "bool" 1 "`bool`",
    U8 "u8" 1 "`u8`",
    U16 "u16" 2 "`u16`",
    U32 "u32" 4 "`u32`",
    U64 "u64" 8 "`u64`, `usize`",
    U128 "u128" 16 "`u128`",
    I8 "i8" 1 "`i8`",
    I16 "i16" 2 "`i16`",
    I32 "i32" 4 "`i32`",
    I64 "i64" 8 "`i64`, `isize`",
    I128 "i128" 16 "`i128`",
    F32 "f32" 4 "`f32`",
    F64 "f64" 8 "`f64`",
    Char "char" 4 "`char`",
}

impl TypeShape {
    /// Number of bytes of every value of the type, or `None` if values differ, as those of an `Option`, an enum, a string, a
    /// sequence, a map, or of a type that cannot be traced.
    #[must_use]
    pub fn fixed_width(&self) -> Option<usize> {
        match self {
            Self::Scalar(scalar) => Some(scalar.width()),
            Self::Tuple(parts) => sum_of_widths(parts),
            Self::Array(element, count) => element.fixed_width()?.checked_mul(*count),
            Self::Struct { fields, .. } => sum_of_widths(fields.iter().map(|field| &field.shape)),
            Self::String
            | Self::Bytes
            | Self::Option(_)
            | Self::Seq(_)
            | Self::Map(..)
            | Self::Enum { .. }
            | Self::Outer(_)
            | Self::Opaque => None,
        }
    }

    /// The tuple of these parts in its one form: an array if it has at least two and they are alike.
    fn of_parts(mut parts: Vec<TypeShape>) -> TypeShape {
        match parts.as_slice() {
            [first, rest @ ..] if !rest.is_empty() && rest.iter().all(|part| part == first) => {
                let count = parts.len();
                TypeShape::Array(Box::new(parts.swap_remove(0)), count)
            }
            _ => TypeShape::Tuple(parts),
        }
    }
}

fn sum_of_widths<'a>(parts: impl IntoIterator<Item = &'a TypeShape>) -> Option<usize> {
    parts
        .into_iter()
        .try_fold(0usize, |sum, part| sum.checked_add(part.fixed_width()?))
}
