//! Golden bytes, round trips, widths.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use serde::{Deserialize, Serialize};

use super::{Reading, Unit, reading, serde_bytes_like};
use crate::codec::*;

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Id(u64);

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Empty;

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
fn bytes_are_length_and_content() {
    golden(&serde_bytes_like::Bytes(vec![7, 8]), &[2, 0, 0, 0, 7, 8]);
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
}
