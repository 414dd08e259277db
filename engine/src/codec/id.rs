//! The codec's entry beside a state in a checkpoint, and whether what it describes can be restored.

use serde::{Deserialize, Serialize};
use std::fmt;

use super::{TypeShape, shape_of};

/// Which codec wrote the values of a state, and their shape. Kept in checkpoint metadata beside each state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CodecId {
    /// Name of the codec: [`CodecId::NAME`] for this one.
    pub name: String,
    /// Version of its format: [`CodecId::VERSION`] for this one.
    pub version: u32,
    /// The text of the values' [`TypeShape`].
    pub shape: String,
}

/// What to do with stored values of one [`CodecId`] that are to be read as another.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compatibility {
    /// Read them as they are.
    AsIs,
    /// Refuse to restore.
    Incompatible {
        /// Why, as a sentence without its full stop: where they differ, what is stored, what is registered.
        reason: String,
    },
}

impl CodecId {
    /// The name of the codec of this module.
    pub const NAME: &str = "millpond";
    /// The version of the format that this module writes.
    pub const VERSION: u32 = 1;

    /// This codec with the shape of `T`.
    #[must_use]
    pub fn of<T: for<'de> Deserialize<'de>>() -> Self {
        Self::of_shape(&shape_of::<T>())
    }

    /// This codec with a shape that is known already.
    #[must_use]
    pub fn of_shape(shape: &TypeShape) -> Self {
        Self {
            name: Self::NAME.to_owned(),
            version: Self::VERSION,
            shape: shape.to_string(),
        }
    }

    /// Whether values `stored` in a checkpoint can be read by what a program has `registered`, see [`TypeShape::reads`].
    #[must_use]
    pub fn check(stored: &Self, registered: &Self) -> Compatibility {
        let incompatible = |reason| Compatibility::Incompatible { reason };
        if stored == registered {
            return Compatibility::AsIs;
        }
        if (&stored.name, stored.version) != (&registered.name, registered.version) {
            return incompatible(format!(
                "codec differs: stored is {} version {}, registered is {} version {}",
                stored.name, stored.version, registered.name, registered.version
            ));
        }
        let parsed = |text: &str, whose| {
            text.parse::<TypeShape>()
                .map_err(|error| format!("the {whose} shape `{text}` cannot be read: {error}"))
        };
        let result = parsed(&stored.shape, "stored").and_then(|stored| {
            parsed(&registered.shape, "registered")?
                .reads(&stored)
                .map_err(|mismatch| format!("type differs: {mismatch}"))
        });
        match result {
            Ok(()) => Compatibility::AsIs,
            Err(reason) => incompatible(reason),
        }
    }
}

impl fmt::Display for CodecId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} version {}, `{}`", self.name, self.version, self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codec_of_a_type_is_itself_encodable() {
        let id = CodecId::of::<(u32, String)>();
        assert_eq!(id.shape, "(u32,string)");
        let bytes = crate::codec::to_vec(&id).unwrap();
        assert_eq!(crate::codec::decode::<CodecId>(&bytes).unwrap(), id);
    }

    #[test]
    fn another_codec_or_shape_is_refused_with_both_named() {
        let stored = CodecId::of::<(u32, String)>();
        assert_eq!(CodecId::check(&stored, &stored), Compatibility::AsIs);

        let other = CodecId::of::<(u64, String)>();
        let Compatibility::Incompatible { reason } = CodecId::check(&stored, &other) else {
            panic!("a u32 is no u64");
        };
        assert_eq!(reason, "type differs: at `.0` stored is u32, registered is u64");

        let newer = CodecId {
            version: 2,
            ..stored.clone()
        };
        let Compatibility::Incompatible { reason } = CodecId::check(&newer, &stored) else {
            panic!("version 2 is not known");
        };
        assert_eq!(
            reason,
            "codec differs: stored is millpond version 2, registered is millpond version 1"
        );

        let damaged = CodecId {
            shape: "(u32".to_owned(),
            ..stored.clone()
        };
        let Compatibility::Incompatible { reason } = CodecId::check(&damaged, &stored) else {
            panic!("the shape cannot be read");
        };
        assert!(
            reason.starts_with("the stored shape `(u32` cannot be read"),
            "{reason}"
        );
    }
}
