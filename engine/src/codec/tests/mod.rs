//! The types that the tests of the format share.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

mod evolution;
mod format;
mod refusal;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Reading {
    id: u64,
    unit: Unit,
    word: String,
    letter: char,
    ratio: Option<f64>,
    history: Vec<(i16, bool)>,
    names: BTreeMap<String, Vec<u8>>,
    wide: [i128; 2],
    nested: Option<Box<Reading>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Unit {
    Count,
    Metres(f32),
    Range(u8, u16),
    Span { from: i64, to: Option<i64> },
}

fn unit() -> impl Strategy<Value = Unit> {
    prop_oneof![
        Just(Unit::Count),
        any::<f32>().prop_map(Unit::Metres),
        any::<(u8, u16)>().prop_map(|(low, high)| Unit::Range(low, high)),
        any::<(i64, Option<i64>)>().prop_map(|(from, to)| Unit::Span { from, to }),
    ]
}

fn reading() -> impl Strategy<Value = Reading> {
    let flat = (
        (any::<u64>(), unit(), "\\PC{0,9}", any::<char>()),
        any::<Option<f64>>(),
        prop::collection::vec(any::<(i16, bool)>(), 0..9),
        prop::collection::btree_map("[a-z]{0,3}", prop::collection::vec(any::<u8>(), 0..9), 0..4),
        any::<[i128; 2]>(),
    )
        .prop_map(
            |((id, unit, word, letter), ratio, history, names, wide)| Reading {
                id,
                unit,
                word,
                letter,
                ratio,
                history,
                names,
                wide,
                nested: None,
            },
        );
    flat.prop_recursive(4, 8, 1, |inner| {
        (inner.clone(), inner).prop_map(|(outer, inner)| Reading {
            nested: Some(Box::new(inner)),
            ..outer
        })
    })
}

/// What the `serde_bytes` crate does.
mod serde_bytes_like {
    use serde::de::{Deserialize, Deserializer, Error, Visitor};
    use serde::ser::{Serialize, Serializer};

    #[derive(Debug, PartialEq)]
    pub(super) struct Bytes(pub(super) Vec<u8>);

    impl Serialize for Bytes {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(&self.0)
        }
    }

    impl<'de> Deserialize<'de> for Bytes {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Copying;
            impl Visitor<'_> for Copying {
                type Value = Bytes;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("bytes")
                }
                fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                    Ok(Bytes(bytes.to_vec()))
                }
            }
            deserializer.deserialize_byte_buf(Copying)
        }
    }
}
