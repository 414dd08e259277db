//! What is refused, and that hostile input does no harm.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU32;

use proptest::prelude::*;
use serde::ser::{SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};

use super::{Reading, Unit, reading, serde_bytes_like};
use crate::codec::*;

/// A list that is as deep as it is long: two levels an element.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Link {
    next: Option<Box<Link>>,
}

fn chain(levels: usize) -> Link {
    (1..levels / 2).fold(Link::default(), |link, _| Link {
        next: Some(Box::new(link)),
    })
}

#[test]
fn wrong_bytes_are_errors_that_say_where() {
    assert_eq!(
        decode::<(u8, bool)>(&[0, 2]),
        Err(CodecError::InvalidTag {
            offset: 1,
            expected: "0 or 1 for a bool",
            found: 2
        })
    );
    assert_eq!(
        decode::<Option<u8>>(&[3]).unwrap_err().to_string(),
        "invalid byte at offset 0: expected 0 for None or 1 for Some, found 3"
    );
    assert_eq!(
        decode::<char>(&[0, 0xd8, 0, 0]),
        Err(CodecError::InvalidChar {
            offset: 0,
            found: 0xd800
        })
    );
    assert!(matches!(
        decode::<(u8, String)>(&[0, 1, 0, 0, 0, 0xff]),
        Err(CodecError::InvalidUtf8 { offset: 5, .. })
    ));
    assert_eq!(
        decode::<(u32, u64)>(&[0; 7]),
        Err(CodecError::Truncated {
            offset: 4,
            expected: 8,
            found: 3
        })
    );
    assert_eq!(
        decode::<u32>(&[0; 7]),
        Err(CodecError::Trailing { offset: 4, found: 3 })
    );
    let unknown_variant = decode::<Unit>(&[9, 0, 0, 0]).unwrap_err();
    assert!(
        matches!(&unknown_variant, CodecError::Custom { offset: 4, message } if message.contains("variant index")),
        "{unknown_variant}"
    );
    let zero = decode::<(u8, NonZeroU32)>(&[0; 5]).unwrap_err();
    assert!(matches!(zero, CodecError::Custom { offset: 5, .. }), "{zero}");
}

#[test]
fn an_error_of_the_codec_is_an_error_of_state_at_the_engines_edge() {
    let error = crate::Error::from(decode::<u32>(&[0]).unwrap_err());
    assert_eq!(error.kind(), crate::ErrorKind::State);
    assert!(
        error
            .to_string()
            .ends_with("expected 4 more bytes at offset 0, found 1"),
        "{error}"
    );
}

#[test]
fn what_is_refused_does_not_depend_on_the_direction() {
    // An innermost element is one level, the others are two.
    let deepest = chain(DEPTH_MAX);
    let bytes = to_vec(&deepest).unwrap();
    assert_eq!(decode::<Link>(&bytes).unwrap(), deepest);
    assert!(matches!(
        to_vec(&chain(DEPTH_MAX + 2)),
        Err(CodecError::TooDeep {
            expected: DEPTH_MAX,
            ..
        })
    ));
    assert!(matches!(
        decode::<Link>(&[1; 1 << 20]),
        Err(CodecError::TooDeep {
            expected: DEPTH_MAX,
            ..
        })
    ));

    let most = vec![(); EMPTY_ELEMENTS_MAX];
    assert_eq!(decode::<Vec<()>>(&to_vec(&most).unwrap()).unwrap(), most);
    assert!(matches!(
        to_vec(&vec![(); EMPTY_ELEMENTS_MAX + 1]),
        Err(CodecError::TooLong { offset: 0, .. })
    ));
    let length = EMPTY_ELEMENTS_MAX + 1;
    assert!(matches!(
        decode::<Vec<()>>(&u32::try_from(length).unwrap().to_le_bytes()),
        Err(CodecError::TooLong { offset: 0, .. })
    ));
}

/// Holds nothing but itself, so no number of bytes ends it.
#[derive(Debug, Deserialize)]
struct Endless(#[expect(dead_code, reason = "cannot be made")] Box<Endless>);

#[test]
fn a_type_without_end_is_an_error() {
    assert!(matches!(decode::<Endless>(&[]), Err(CodecError::TooDeep { .. })));
}

/// Large in memory, nothing when encoded.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Cache {
    #[serde(skip)]
    #[expect(dead_code, reason = "only its size matters")]
    memory: [u64; 16],
}

#[test]
fn a_length_cannot_ask_for_more_memory_than_the_input_is_worth() {
    for length in [1 << 12, 1 << 20, u32::MAX] {
        let bytes = to_vec(&length).unwrap();
        assert!(decode::<Vec<Cache>>(&bytes).is_err(), "{length}");
        assert!(decode::<Vec<u64>>(&bytes).is_err(), "{length}");
        assert!(decode::<HashMap<(), ()>>(&bytes).is_err(), "{length}");
        assert!(decode::<String>(&bytes).is_err(), "{length}");
        assert!(decode::<serde_bytes_like::Bytes>(&bytes).is_err(), "{length}");
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u32),
    Word(String),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flattened {
    id: u32,
    #[serde(flatten)]
    rest: BTreeMap<String, u32>,
}

#[derive(Serialize)]
struct Skipping {
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<u8>,
}

#[test]
fn what_needs_a_self_describing_format_is_refused_by_name() {
    let error = decode::<Untagged>(&[1, 0, 0, 0]).unwrap_err().to_string();
    assert!(
        error.contains("not self-describing") && error.contains("deserialize_any"),
        "{error}"
    );
    let flattened = Flattened {
        id: 1,
        rest: BTreeMap::new(),
    };
    let error = decode::<Flattened>(&to_vec(&flattened).unwrap()).unwrap_err();
    assert!(error.to_string().contains("not self-describing"), "{error}");
    assert_eq!(
        to_vec(&Skipping { note: None }),
        Err(CodecError::SkippedField {
            offset: 0,
            field: "note"
        })
    );
    assert_eq!(to_vec(&Skipping { note: Some(1) }), Ok(vec![1, 1]));
}

struct Liar;

impl Serialize for Liar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut parts = serializer.serialize_struct("Liar", 2)?;
        parts.serialize_field("one", &1u8)?;
        parts.end()
    }
}

#[test]
fn a_struct_with_fewer_fields_than_announced_is_refused() {
    assert!(matches!(to_vec(&Liar), Err(CodecError::Custom { .. })));
}

proptest! {
    #[test]
    fn a_value_cut_off_anywhere_is_an_error(value in reading()) {
        let bytes = to_vec(&value).unwrap();
        for len in 0..bytes.len() {
            prop_assert!(decode::<Reading>(&bytes[..len]).is_err(), "cut at {} of {}", len, bytes.len());
        }
    }

    #[test]
    fn any_bytes_give_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode::<Reading>(&bytes);
        let _ = decode::<Link>(&bytes);
        let _ = decode::<Vec<Vec<Unit>>>(&bytes);
        let _ = decode::<BTreeSet<char>>(&bytes);
        let _ = decode::<Vec<Cache>>(&bytes);
        if let Ok(value) = decode::<HashMap<u8, Option<String>>>(&bytes) {
            prop_assert!(encoded_len(&value).unwrap() <= bytes.len());
        }
    }

    #[test]
    fn a_flipped_bit_gives_a_value_or_an_error(value in reading(), at in any::<prop::sample::Index>(), bit in 0u32..8) {
        let mut bytes = to_vec(&value).unwrap();
        *at.get_mut(&mut bytes) ^= 1u8 << bit;
        if let Ok(other) = decode::<Reading>(&bytes) {
            // Maps may have had their keys in another order or twice.
            prop_assert!(encoded_len(&other).unwrap() <= bytes.len());
        }
    }
}
