//! A shape as text.

use std::fmt::{self, Display, Formatter, Write};

use super::{FieldShape, TypeShape, VariantContent, VariantShape};

impl Display for TypeShape {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(scalar) => f.write_str(scalar.name()),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Option(inner) => write!(f, "option<{inner}>"),
            Self::Seq(element) => write!(f, "seq<{element}>"),
            Self::Map(key, value) => write!(f, "map<{key},{value}>"),
            Self::Tuple(parts) => list(f, '(', parts, ')'),
            Self::Array(element, count) => write!(f, "[{element};{count}]"),
            Self::Struct { name, fields } => {
                write!(f, "struct {}", Name(name))?;
                list(f, '{', fields, '}')
            }
            Self::Enum { name, variants } => {
                write!(f, "enum {}", Name(name))?;
                list(f, '{', variants, '}')
            }
            Self::Outer(levels) => write!(f, "^{levels}"),
            Self::Opaque => f.write_str("opaque"),
        }
    }
}

impl Display for FieldShape {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Name(&self.name), self.shape)
    }
}

impl Display for VariantShape {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Name(&self.name).fmt(f)?;
        match &self.content {
            VariantContent::Unit => Ok(()),
            VariantContent::Tuple(parts) => list(f, '(', parts, ')'),
            VariantContent::Struct(fields) => list(f, '{', fields, '}'),
        }
    }
}

fn list<T: Display>(f: &mut Formatter<'_>, open: char, items: &[T], close: char) -> fmt::Result {
    f.write_char(open)?;
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_char(',')?;
        }
        item.fmt(f)?;
    }
    f.write_char(close)
}

/// Whether a name can stand without quotes.
pub(super) fn is_name_char(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}

struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.0.is_empty() && self.0.chars().all(is_name_char) {
            return f.write_str(self.0);
        }
        f.write_char('"')?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(c)?;
        }
        f.write_char('"')
    }
}
