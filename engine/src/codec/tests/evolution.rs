//! Values read by the shape that they were stored with.

use crate::codec::{can_evolve, decode_stored, shape_of, to_vec};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// What `stored` becomes as a `New`, which must be possible for all values of its type.
#[track_caller]
fn evolved<Old: Serialize + DeserializeOwned, New: DeserializeOwned>(stored: &Old) -> New {
    let shape = shape_of::<Old>();
    can_evolve::<New>(&shape).unwrap();
    let mut bytes = to_vec(stored).unwrap();
    bytes.push(0xAA);
    let mut rest = bytes.as_slice();
    let new = decode_stored(&mut rest, &shape).unwrap();
    assert_eq!(rest, [0xAA], "it ends where the value does");
    new
}

/// That a `New` cannot be read from an `Old`, and that the reason has all of `named`.
#[track_caller]
fn refuses<Old: DeserializeOwned, New: DeserializeOwned>(named: &[&str]) {
    let error = can_evolve::<New>(&shape_of::<Old>()).unwrap_err().to_string();
    for text in named {
        assert!(error.contains(text), "'{text}' is not in: {error}");
    }
}

#[test]
fn numbers_become_wider_and_never_narrower() {
    assert_eq!(evolved::<u8, u64>(&200), 200);
    assert_eq!(evolved::<u32, i64>(&u32::MAX), i64::from(u32::MAX));
    assert_eq!(evolved::<i16, i128>(&-7), -7);
    assert_eq!(evolved::<u64, u128>(&u64::MAX), u128::from(u64::MAX));
    assert_eq!(evolved::<f32, f64>(&0.5).to_bits(), 0.5_f64.to_bits());
    refuses::<u64, u32>(&["u64", "u32"]);
    refuses::<u64, i64>(&["u64", "i64"]);
    refuses::<i8, u64>(&["i8", "u64"]);
    refuses::<f64, f32>(&["f64", "f32"]);
    refuses::<u32, f64>(&["u32", "f64"]);
    refuses::<u8, bool>(&["u8", "bool"]);
    refuses::<u32, char>(&["u32", "char"]);
    refuses::<String, Vec<u8>>(&["string", "a sequence"]);
}

mod before {
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    pub(super) struct Person {
        pub(super) gone: Vec<(String, Option<u16>)>,
        pub(super) name: String,
        pub(super) age: u8,
        pub(super) mood: Mood,
        pub(super) friends: Vec<Person>,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) enum Mood {
        Plain,
        Of(u8),
        Since { hour: u8, gone: [i32; 3] },
        Both(u8, String),
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Person {
    #[serde(default)]
    id: u64,
    age: u32,
    #[serde(alias = "name")]
    full_name: Option<String>,
    friends: Vec<Person>,
    mood: Mood,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Mood {
    New(u64),
    Both(u16, String),
    Since {
        #[serde(default)]
        minute: u8,
        hour: u16,
    },
    Of(u64),
    Plain,
}

#[test]
fn fields_and_variants_are_found_by_name_at_any_depth() {
    let person = |name: &str, mood, friends| before::Person {
        gone: vec![("gone".to_owned(), Some(1)), (String::new(), None)],
        name: name.to_owned(),
        age: 30,
        mood,
        friends,
    };
    let since = before::Mood::Since {
        hour: 7,
        gone: [1, 2, 3],
    };
    let inner = vec![
        person("b", before::Mood::Of(2), Vec::new()),
        person(
            "c",
            since,
            vec![person("d", before::Mood::Both(3, "x".into()), Vec::new())],
        ),
    ];
    let outer = person("a", before::Mood::Plain, inner);
    let new = |name: &str, mood, friends| Person {
        id: 0,
        age: 30,
        full_name: Some(name.to_owned()),
        friends,
        mood,
    };
    let since = Mood::Since { minute: 0, hour: 7 };
    let expected = new(
        "a",
        Mood::Plain,
        vec![
            new("b", Mood::Of(2), Vec::new()),
            new("c", since, vec![new("d", Mood::Both(3, "x".into()), Vec::new())]),
        ],
    );
    assert_eq!(evolved::<before::Person, Person>(&outer), expected);
    let map: BTreeMap<u8, before::Person> = [(1, outer)].into();
    assert_eq!(evolved::<_, BTreeMap<u16, Person>>(&map), [(1, expected)].into());
}

#[test]
fn what_is_missing_without_a_default_or_unknown_is_refused_by_name() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Needs {
        age: u8,
        needed: u8,
    }
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        age: u8,
    }
    #[derive(Debug, Serialize, Deserialize)]
    enum Fewer {
        Plain,
        Of(u8),
        Since { hour: u8 },
    }
    #[derive(Debug, Serialize, Deserialize)]
    enum Other {
        Plain,
        Of(u8, u8),
        Since(u8),
        Both(u8, String),
    }
    refuses::<before::Person, Needs>(&["missing field `needed`"]);
    refuses::<before::Person, Strict>(&["unknown field `gone`"]);
    // In the last of its variants, which one made-up value would not have.
    refuses::<before::Mood, Fewer>(&["unknown variant `Both`"]);
    refuses::<before::Mood, Other>(&["variant Of(u8)", "2 parts"]);
    refuses::<Person, before::Person>(&["not known"]);
    refuses::<(u8, u8), (u8, u8, u8)>(&["a tuple of 3"]);
    refuses::<before::Person, (u8, u8)>(&["struct Person", "a tuple of 2"]);
    refuses::<Vec<before::Mood>, Vec<Fewer>>(&["unknown variant `Both`"]);
    refuses::<BTreeMap<u16, u8>, BTreeMap<u8, u8>>(&["u16", "u8"]);
}

#[test]
fn what_was_always_there_may_become_optional_and_not_the_other_way() {
    assert_eq!(evolved::<u8, Option<u16>>(&7), Some(7));
    assert_eq!(evolved::<Option<u8>, Option<u16>>(&None), None);
    refuses::<Option<u8>, u8>(&["option<u8>", "u8"]);
}

/// A list by hand, which ends at depths that vary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Chain {
    Link(Box<Chain>, u8),
    End,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum WideChain {
    End,
    Link(Box<WideChain>, u64),
}

proptest! {
    #[test]
    fn a_value_read_by_its_own_shape_is_itself(
        value in any::<(u8, i64, Option<String>, Vec<(bool, char)>, BTreeMap<String, [u16; 2]>)>()
    ) {
        prop_assert_eq!(&evolved::<_, (u8, i64, Option<String>, Vec<(bool, char)>, BTreeMap<String, [u16; 2]>)>(&value), &value);
    }

    #[test]
    fn recursive_types_evolve_at_every_depth(numbers in proptest::collection::vec(any::<u8>(), 0..40)) {
        let chain = numbers.iter().fold(Chain::End, |rest, number| Chain::Link(Box::new(rest), *number));
        let expected = numbers
            .iter()
            .fold(WideChain::End, |rest, number| WideChain::Link(Box::new(rest), (*number).into()));
        prop_assert_eq!(evolved::<_, WideChain>(&chain), expected);
    }

    #[test]
    fn any_bytes_give_a_value_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        fn read<Old: DeserializeOwned, New: DeserializeOwned + Debug>(bytes: &[u8]) {
            let mut rest = bytes;
            if decode_stored::<New>(&mut rest, &shape_of::<Old>()).is_err() {
                assert_eq!(rest, bytes);
            }
        }
        read::<before::Person, Person>(&bytes);
        read::<Chain, WideChain>(&bytes);
        read::<BTreeMap<String, Vec<()>>, BTreeMap<String, Vec<()>>>(&bytes);
    }
}
