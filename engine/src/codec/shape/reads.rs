//! Whether bytes of one shape can be read as another.

use std::fmt::{self, Display, Formatter};

use super::{FieldShape, TypeShape, VariantContent, VariantShape};

/// The first place where a stored shape and a registered one differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The way there from the outermost type, as `.count`, `.side::Left.0`; empty for the outermost type itself.
    pub path: String,
    /// What is stored there.
    pub stored: String,
    /// What the program registers there.
    pub registered: String,
}

impl Display for Mismatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "at `{}` ", self.path)?;
        }
        write!(f, "stored is {}, registered is {}", self.stored, self.registered)
    }
}

impl TypeShape {
    /// Whether bytes written by a type of shape `stored` can be read as they are by a type of this shape.
    ///
    /// Fields must have the same names in the same order, variants too, except that variants may have been added at the end.
    /// Names of structs and enums do not count, so a type may be renamed or moved. [`TypeShape::Opaque`] reads what is opaque:
    /// there is nothing to compare.
    ///
    /// # Errors
    /// The first difference.
    pub fn reads(&self, stored: &TypeShape) -> Result<(), Mismatch> {
        compare(&mut String::new(), stored, self)
    }
}

fn compare(path: &mut String, stored: &TypeShape, registered: &TypeShape) -> Result<(), Mismatch> {
    use TypeShape as T;
    match (stored, registered) {
        (T::Option(stored), T::Option(registered)) => at(path, "?", |path| compare(path, stored, registered)),
        (T::Seq(stored), T::Seq(registered)) => at(path, "[]", |path| compare(path, stored, registered)),
        (T::Map(stored_key, stored_value), T::Map(key, value)) => {
            at(path, "[key]", |path| compare(path, stored_key, key))?;
            at(path, "[]", |path| compare(path, stored_value, value))
        }
        (T::Array(stored, stored_count), T::Array(registered, count)) if stored_count == count => {
            at(path, "[]", |path| compare(path, stored, registered))
        }
        (T::Tuple(stored), T::Tuple(registered)) if stored.len() == registered.len() => {
            parts(path, stored, registered)
        }
        // Structs alike but for their names make a tuple, equal ones an array.
        (T::Tuple(stored), T::Array(registered, count)) if stored.len() == *count => {
            stored.iter().enumerate().try_for_each(|(index, stored)| {
                at(path, &format!(".{index}"), |path| {
                    compare(path, stored, registered)
                })
            })
        }
        (T::Array(stored, count), T::Tuple(registered)) if registered.len() == *count => {
            registered.iter().enumerate().try_for_each(|(index, registered)| {
                at(path, &format!(".{index}"), |path| {
                    compare(path, stored, registered)
                })
            })
        }
        (
            T::Struct { fields: stored, .. },
            T::Struct {
                fields: registered, ..
            },
        ) if same_names(stored, registered) => fields(path, stored, registered),
        (
            T::Enum { variants: stored, .. },
            T::Enum {
                variants: registered, ..
            },
        ) if stored.len() <= registered.len()
            && stored
                .iter()
                .zip(registered)
                .all(|(stored, registered)| stored.name == registered.name) =>
        {
            stored
                .iter()
                .zip(registered)
                .try_for_each(|(stored, registered)| variant(path, stored, registered))
        }
        (stored, registered) if stored == registered => Ok(()),
        (stored, registered) => Err(mismatch(path, stored, registered)),
    }
}

fn variant(path: &mut String, stored: &VariantShape, registered: &VariantShape) -> Result<(), Mismatch> {
    use VariantContent as C;
    at(path, &format!("::{}", stored.name), |path| {
        match (&stored.content, &registered.content) {
            (C::Unit, C::Unit) => Ok(()),
            (C::Tuple(stored), C::Tuple(registered)) if stored.len() == registered.len() => {
                parts(path, stored, registered)
            }
            (C::Struct(stored), C::Struct(registered)) if same_names(stored, registered) => {
                fields(path, stored, registered)
            }
            _ => Err(mismatch(path, stored, registered)),
        }
    })
}

fn parts(path: &mut String, stored: &[TypeShape], registered: &[TypeShape]) -> Result<(), Mismatch> {
    stored
        .iter()
        .zip(registered)
        .enumerate()
        .try_for_each(|(index, (stored, registered))| {
            at(path, &format!(".{index}"), |path| {
                compare(path, stored, registered)
            })
        })
}

fn fields(path: &mut String, stored: &[FieldShape], registered: &[FieldShape]) -> Result<(), Mismatch> {
    stored
        .iter()
        .zip(registered)
        .try_for_each(|(stored, registered)| {
            at(path, &format!(".{}", stored.name), |path| {
                compare(path, &stored.shape, &registered.shape)
            })
        })
}

fn same_names(stored: &[FieldShape], registered: &[FieldShape]) -> bool {
    stored.len() == registered.len()
        && stored
            .iter()
            .zip(registered)
            .all(|(stored, registered)| stored.name == registered.name)
}

fn at<T>(path: &mut String, step: &str, inside: impl FnOnce(&mut String) -> T) -> T {
    let len = path.len();
    path.push_str(step);
    let result = inside(path);
    path.truncate(len);
    result
}

fn mismatch(path: &str, stored: &impl Display, registered: &impl Display) -> Mismatch {
    Mismatch {
        path: path.to_owned(),
        stored: stored.to_string(),
        registered: registered.to_string(),
    }
}
