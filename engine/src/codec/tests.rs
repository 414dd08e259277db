//! The format as a whole: golden bytes, round trips, hostile input.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::ser::{SerializeMap, SerializeSeq, SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};

use super::*;

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

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Id(u64);

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Empty;

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

#[track_caller]
fn golden<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, bytes: &[u8]) {
    assert_eq!(to_vec(value).unwrap(), bytes, "bytes of {value:?}");
    assert_eq!(&decode::<T>(bytes).unwrap(), value);
    assert_eq!(encoded_len(value), Ok(bytes.len()));
    let mut place = vec![0xee; bytes.len()];
    encode_fixed(value, &mut place).unwrap();
    assert_eq!(place, bytes);
}

#[test]
fn numbers_are_little_endian_at_their_own_width() {
    golden(&0xabu8, &[0xab]);
    golden(&-2i8, &[0xfe]);
    golden(&0x1234u16, &[0x34, 0x12]);
    golden(&-2i32, &[0xfe, 0xff, 0xff, 0xff]);
    golden(&0x0102_0304_0506_0708u64, &[8, 7, 6, 5, 4, 3, 2, 1]);
    golden(&7usize, &[7, 0, 0, 0, 0, 0, 0, 0]);
    golden(&1u128, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    golden(&-1i128, &[0xff; 16]);
    golden(&1.0f32, &[0, 0, 0x80, 0x3f]);
    golden(&-2.0f64, &[0, 0, 0, 0, 0, 0, 0, 0xc0]);
    golden(&true, &[1]);
    golden(&'ä', &[0xe4, 0, 0, 0]);
}

#[test]
fn a_float_keeps_its_bits() {
    let bits = 0x7ff0_dead_beef_0001u64;
    let bytes = to_vec(&f64::from_bits(bits)).unwrap();
    assert_eq!(bytes, bits.to_le_bytes());
    assert_eq!(decode::<f64>(&bytes).unwrap().to_bits(), bits);
}

#[test]
fn products_are_their_parts_and_nothing_else() {
    golden(&(), &[]);
    golden(&Empty, &[]);
    golden(&Id(3), &[3, 0, 0, 0, 0, 0, 0, 0]);
    golden(&(1u8, 2u16, Empty, Id(3)), &[1, 2, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    golden(&[1u16, 2, 3], &[1, 0, 2, 0, 3, 0]);
    golden(&Duration::new(1, 2), &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]);
}

#[test]
fn options_have_a_tag_byte_and_enums_a_u32() {
    golden(&None::<u16>, &[0]);
    golden(&Some(5u16), &[1, 5, 0]);
    golden(&Some(None::<u16>), &[1, 0]);
    golden(&Unit::Count, &[0, 0, 0, 0]);
    golden(&Unit::Metres(1.0), &[1, 0, 0, 0, 0, 0, 0x80, 0x3f]);
    golden(&Unit::Range(7, 8), &[2, 0, 0, 0, 7, 8, 0]);
    golden(
        &Unit::Span { from: -1, to: None },
        &[3, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0],
    );
}

#[test]
fn strings_sequences_and_maps_have_a_u32_length() {
    golden(&String::from("hé"), &[3, 0, 0, 0, b'h', 0xc3, 0xa9]);
    golden(&vec![1u16, 2], &[2, 0, 0, 0, 1, 0, 2, 0]);
    golden(&Vec::<u64>::new(), &[0, 0, 0, 0]);
    golden(
        &BTreeMap::from([(1u8, true), (2, false)]),
        &[2, 0, 0, 0, 1, 1, 2, 0],
    );
    golden(&vec![(); 3], &[3, 0, 0, 0]);
}

#[test]
fn a_borrowed_string_points_into_the_input() {
    let bytes = to_vec("pond").unwrap();
    let word: &str = decode(&bytes).unwrap();
    assert_eq!(word.as_ptr(), bytes[4..].as_ptr());
}

/// Serializes without knowing its length in advance.
struct Evens(Vec<u32>);

impl Serialize for Evens {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        for number in self.0.iter().filter(|number| *number % 2 == 0) {
            seq.serialize_element(number)?;
        }
        seq.end()
    }
}

struct UnknownMap;

impl Serialize for UnknownMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(&1u8, &Evens(vec![4, 5, 6]))?;
        map.serialize_entry(&2u8, &Evens(vec![7]))?;
        map.end()
    }
}

#[test]
fn a_length_not_known_in_advance_is_filled_in() {
    let mut bytes = b"before".to_vec();
    encode_into(&UnknownMap, &mut bytes).unwrap();
    let encoded = bytes.strip_prefix(b"before").unwrap();
    let expected = BTreeMap::from([(1u8, vec![4u32, 6]), (2, vec![])]);
    assert_eq!(encoded, to_vec(&expected).unwrap());
    assert_eq!(decode::<BTreeMap<u8, Vec<u32>>>(encoded).unwrap(), expected);
    assert_eq!(encoded_len(&UnknownMap), Ok(encoded.len()));
    let mut place = vec![0; encoded.len()];
    encode_fixed(&UnknownMap, &mut place).unwrap();
    assert_eq!(place, encoded);
}

#[test]
fn a_fixed_place_must_be_filled_exactly() {
    let wrong = |expected, found| Err(CodecError::WrongWidth { expected, found });
    assert_eq!(encode_fixed(&(1u64, 2u32), &mut [0; 12]), Ok(()));
    assert_eq!(encode_fixed(&(1u64, 2u32), &mut [0; 11]), wrong(11, 12));
    assert_eq!(encode_fixed(&(1u64, 2u32), &mut [0; 13]), wrong(13, 12));
    assert_eq!(encode_fixed(&1u64, &mut []), wrong(0, 8));
    assert_eq!(encode_fixed(&(), &mut []), Ok(()));
}

#[test]
fn decode_prefix_moves_past_the_value_and_only_if_there_is_one() {
    let mut bytes = &[1, 0, 2, 0, 3][..];
    assert_eq!(decode_prefix::<u16>(&mut bytes), Ok(1));
    assert_eq!(decode_prefix::<u16>(&mut bytes), Ok(2));
    assert!(decode_prefix::<u16>(&mut bytes).is_err());
    assert_eq!(bytes, [3]);
}

#[test]
fn encode_into_leaves_no_part_of_a_value_that_fails() {
    let mut bytes = vec![9];
    let result = encode_into(&(1u64, vec![(); EMPTY_ELEMENTS_MAX + 1]), &mut bytes);
    assert!(matches!(result, Err(CodecError::TooLong { .. })));
    assert_eq!(bytes, [9]);
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

#[test]
fn bytes_are_length_and_content() {
    golden(&serde_bytes_like::Bytes(vec![7, 8]), &[2, 0, 0, 0, 7, 8]);
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

#[track_caller]
fn width_is_true<T: Serialize + DeserializeOwned>(values: &[T]) {
    let width = shape_of::<T>().fixed_width().expect("a fixed width");
    for value in values {
        assert_eq!(encoded_len(value), Ok(width), "{}", shape_of::<T>());
        assert!(decode::<T>(&vec![0; width + 1]).is_err());
    }
}

#[test]
fn a_fixed_width_is_the_width_of_every_value() {
    width_is_true(&[(), ()]);
    width_is_true(&[0u8, 255]);
    width_is_true(&[0u64, u64::MAX]);
    width_is_true(&[i128::MIN, 0]);
    width_is_true(&['a', char::MAX]);
    width_is_true(&[true, false]);
    width_is_true(&[(0u64, 1.5f32), (u64::MAX, f32::NAN)]);
    width_is_true(&[[Id(0); 32], [Id(u64::MAX); 32]]);
    width_is_true(&[(Empty, [(1u8, 2u16); 3], Id(3))]);
    width_is_true(&[Duration::ZERO, Duration::MAX]);
    width_is_true(&[NonZeroU32::MIN, NonZeroU32::MAX]);
    width_is_true(&[std::net::Ipv6Addr::LOCALHOST]);
}

proptest! {
    #[test]
    fn every_value_comes_back(value in reading()) {
        let bytes = to_vec(&value).unwrap();
        let back: Reading = decode(&bytes).unwrap();
        // By bytes as well: floats may be NaN.
        prop_assert_eq!(&to_vec(&back).unwrap(), &bytes);
        if !format!("{value:?}").contains("NaN") {
            prop_assert_eq!(&back, &value);
        }
        prop_assert_eq!(encoded_len(&value), Ok(bytes.len()));
        let mut place = vec![0; bytes.len()];
        encode_fixed(&value, &mut place).unwrap();
        prop_assert_eq!(&place, &bytes);
        let joined = [bytes.as_slice(), &[1, 2]].concat();
        let mut rest = joined.as_slice();
        decode_prefix::<Reading>(&mut rest).unwrap();
        prop_assert_eq!(rest, [1, 2]);
    }

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
