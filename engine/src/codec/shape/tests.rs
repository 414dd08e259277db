//! What tracing finds, and what the text form keeps.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::time::Duration;

use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::*;

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape matters")]
struct WordCount {
    word: String,
    count: u64,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape matters")]
enum Side {
    Left,
    Right(u8),
    Pair(u8, String),
    Both { left: Option<u8>, right: Inner },
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape matters")]
enum Inner {
    A,
    #[serde(rename = "b, or \"c\"")]
    B([u16; 4]),
}

#[track_caller]
fn shape<T: DeserializeOwned>(text: &str) {
    let shape = shape_of::<T>();
    assert_eq!(shape.to_string(), text);
    assert_eq!(text.parse::<TypeShape>().as_ref(), Ok(&shape));
    assert_eq!(shape.reads(&shape), Ok(()));
}

#[test]
fn scalars_and_strings_have_their_names() {
    shape::<bool>("bool");
    shape::<u8>("u8");
    shape::<i128>("i128");
    shape::<usize>("u64");
    shape::<f32>("f32");
    shape::<char>("char");
    shape::<String>("string");
    shape::<Box<str>>("string");
    shape::<NonZeroU64>("u64");
    shape::<std::ffi::CString>("bytes");
    assert_eq!(shape_of::<&str>(), TypeShape::String);
}

#[test]
fn products_and_collections_show_their_parts() {
    shape::<()>("()");
    shape::<PhantomData<u8>>("()");
    shape::<(u32, String)>("(u32,string)");
    shape::<(u32, u32)>("[u32;2]");
    shape::<[f32; 3]>("[f32;3]");
    shape::<(u8,)>("(u8)");
    shape::<Option<u8>>("option<u8>");
    shape::<Option<Option<Vec<u8>>>>("option<option<seq<u8>>>");
    shape::<Vec<Vec<f64>>>("seq<seq<f64>>");
    shape::<HashSet<char>>("seq<char>");
    shape::<BTreeMap<String, (i8, bool)>>("map<string,(i8,bool)>");
    shape::<HashMap<u8, HashMap<u8, ()>>>("map<u8,map<u8,()>>");
    shape::<WordCount>("struct WordCount{word:string,count:u64}");
    shape::<Duration>("struct Duration{secs:u64,nanos:u32}");
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape matters")]
struct Id(u64);

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape matters")]
struct Wrapper<T> {
    inner: T,
}

#[test]
fn a_newtype_is_what_is_inside() {
    shape::<Id>("u64");
    shape::<(Id, String)>("(u64,string)");
    shape::<Vec<Id>>("seq<u64>");
}

#[test]
fn a_generic_type_inside_itself_is_no_recursion() {
    shape::<Wrapper<Wrapper<u8>>>("struct Wrapper{inner:struct Wrapper{inner:u8}}");
}

#[test]
fn every_variant_is_seen() {
    let inner = r#"enum Inner{A,"b, or \"c\""([u16;4])}"#;
    shape::<Inner>(inner);
    shape::<Side>(&format!(
        "enum Side{{Left,Right(u8),Pair(u8,string),Both{{left:option<u8>,right:{inner}}}}}"
    ));
    shape::<(Inner, Inner)>(&format!("[{inner};2]"));
    shape::<Result<u8, String>>("enum Result{Ok(u8),Err(string)}");
    shape::<std::net::IpAddr>("enum IpAddr{V4([u8;4]),V6([u8;16])}");
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape matters")]
struct Node {
    value: u64,
    next: Option<Box<Node>>,
    children: Vec<Node>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape matters")]
enum Expression {
    Add(Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
    Call {
        name: String,
        arguments: Vec<Expression>,
    },
    Number(f64),
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape matters")]
enum Ping {
    Pong(Box<Pong>),
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape matters")]
enum Pong {
    Ping(Box<Ping>),
    End,
}

#[derive(Deserialize)]
#[serde(transparent)]
#[expect(dead_code, reason = "only its shape matters")]
struct Nest(Option<Box<Nest>>);

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape matters")]
struct Forest(Vec<Tree>);

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape matters")]
struct Tree {
    children: Forest,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape matters")]
struct Endless(Box<Endless>);

#[derive(Deserialize)]
enum Never {}

#[test]
fn recursive_types_refer_to_the_type_around() {
    shape::<Node>("struct Node{value:u64,next:option<^2>,children:seq<^2>}");
    shape::<Expression>(
        "enum Expression{Add(^1,^1),Not(^1),Call{name:string,arguments:seq<^2>},Number(f64)}",
    );
    shape::<Ping>("enum Ping{Pong(enum Pong{Ping(^2),End})}");
    shape::<Nest>("option<^1>");
    shape::<Tree>("struct Tree{children:seq<^2>}");
    shape::<Forest>("seq<struct Tree{children:^2}>");
    assert_eq!(shape_of::<Node>().fixed_width(), None);
}

#[test]
fn a_type_without_values_is_opaque() {
    shape::<Endless>("opaque");
    shape::<Never>("opaque");
}

#[derive(Deserialize)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its shape matters")]
enum Untagged {
    Number(u32),
}

struct Odd;

impl<'de> Deserialize<'de> for Odd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            1 => Err(serde::de::Error::custom("1 is not allowed")),
            _ => Ok(Self),
        }
    }
}

#[test]
fn a_type_that_cannot_be_traced_is_opaque_and_variable() {
    shape::<Untagged>("opaque");
    shape::<Odd>("opaque");
    shape::<(u8, Odd)>("opaque");
    assert_eq!(shape_of::<Odd>().fixed_width(), None);
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape matters")]
struct Renamed {
    #[serde(alias = "old")]
    new: u8,
    other: u16,
    #[serde(skip)]
    cache: u64,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape matters")]
enum RenamedVariant {
    #[serde(alias = "Old")]
    New,
    Other(u8),
}

#[test]
fn fields_and_variants_with_aliases_have_numbers_for_names() {
    shape::<Renamed>("struct Renamed{_0:u8,_1:u16}");
    shape::<RenamedVariant>("enum RenamedVariant{_0,_1(u8)}");
}

#[test]
fn only_what_never_varies_has_a_fixed_width() {
    assert_eq!(shape_of::<()>().fixed_width(), Some(0));
    assert_eq!(shape_of::<u128>().fixed_width(), Some(16));
    assert_eq!(shape_of::<(u64, u32, bool)>().fixed_width(), Some(13));
    assert_eq!(shape_of::<[(char, Id); 5]>().fixed_width(), Some(60));
    assert_eq!(shape_of::<Wrapper<Duration>>().fixed_width(), Some(12));
    assert_eq!(shape_of::<Option<u8>>().fixed_width(), None);
    assert_eq!(shape_of::<Inner>().fixed_width(), None);
    assert_eq!(shape_of::<[String; 2]>().fixed_width(), None);
    assert_eq!(shape_of::<(u8, Vec<u8>)>().fixed_width(), None);
    assert_eq!(shape_of::<BTreeMap<u8, u8>>().fixed_width(), None);
    let vast = TypeShape::Array(Box::new(TypeShape::Scalar(Scalar::U64)), usize::MAX);
    assert_eq!(vast.fixed_width(), None);
}

/// Each case: stored, registered, and the difference (or nothing).
#[test]
fn compatible_is_what_has_the_same_bytes_and_field_names() {
    let cases = [
        ("u64", "u64", ""),
        ("u64", "i64", "stored is u64, registered is i64"),
        ("struct A{x:u8}", "struct B{x:u8}", ""),
        ("enum A{X,Y(u8)}", "enum B{X,Y(u8)}", ""),
        (
            "struct A{x:u8,y:u8}",
            "struct A{y:u8,x:u8}",
            "stored is struct A{x:u8,y:u8}, registered is struct A{y:u8,x:u8}",
        ),
        (
            "struct A{x:u8}",
            "struct A{x:u8,y:u8}",
            "stored is struct A{x:u8}, registered is struct A{x:u8,y:u8}",
        ),
        (
            "struct A{x:u8}",
            "(u8)",
            "stored is struct A{x:u8}, registered is (u8)",
        ),
        ("struct A{x:u8,n:option<^2>}", "struct B{x:u8,n:option<^2>}", ""),
        ("[struct A{x:u8};2]", "(struct A{x:u8},struct B{x:u8})", ""),
        ("(struct A{x:u8},struct B{x:u8})", "[struct A{x:u8};2]", ""),
        ("[u8;2]", "[u8;3]", "stored is [u8;2], registered is [u8;3]"),
        ("enum A{X}", "enum A{X,Y}", ""),
        (
            "enum A{X,Y}",
            "enum A{X}",
            "stored is enum A{X,Y}, registered is enum A{X}",
        ),
        (
            "enum A{X,Y}",
            "enum A{Y,X}",
            "stored is enum A{X,Y}, registered is enum A{Y,X}",
        ),
        ("opaque", "opaque", ""),
        ("opaque", "u8", "stored is opaque, registered is u8"),
        (
            "seq<struct A{x:map<u8,u8>}>",
            "seq<struct A{x:map<u8,u16>}>",
            "at `[].x[]` stored is u8, registered is u16",
        ),
        (
            "map<(u8,string),u8>",
            "map<(u8,u8),u8>",
            "at `[key].1` stored is string, registered is u8",
        ),
        (
            "option<enum S{L(u8)}>",
            "option<enum S{L(i8)}>",
            "at `?::L.0` stored is u8, registered is i8",
        ),
        (
            "enum S{L(u8)}",
            "enum S{L{x:u8}}",
            "at `::L` stored is L(u8), registered is L{x:u8}",
        ),
    ];
    for (stored, registered, difference) in cases {
        let result = registered
            .parse::<TypeShape>()
            .unwrap()
            .reads(&stored.parse().unwrap());
        let found = result.err().map(|mismatch| mismatch.to_string());
        assert_eq!(
            found.unwrap_or_default(),
            difference,
            "{stored} read as {registered}"
        );
    }
}

#[test]
fn a_text_that_is_no_shape_is_refused_with_its_place() {
    let cases = [
        ("", "at offset 0: expected a type"),
        ("u63", "at offset 0: expected a type, found `u63`"),
        ("u64 ", "at offset 3: expected the end"),
        ("(u8", "at offset 3: expected `,` or `)`"),
        ("[u8;x]", "at offset 4: expected a number, found `x]`"),
        ("option<u8", "at offset 9: expected `>`"),
        ("struct A{:u8}", "at offset 9: expected a name"),
        ("struct \"A{x:u8}", "expected a closing quote"),
    ];
    for (text, message) in cases {
        let error = text.parse::<TypeShape>().unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
    assert!("(".repeat(1 << 20).parse::<TypeShape>().is_err());
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z_][a-z0-9_]{0,8}", any::<String>()]
}

fn any_shape() -> impl Strategy<Value = TypeShape> {
    let leaf = prop_oneof![
        prop::sample::select(Scalar::ALL).prop_map(TypeShape::Scalar),
        Just(TypeShape::String),
        Just(TypeShape::Bytes),
        Just(TypeShape::Opaque),
        (1usize..9).prop_map(TypeShape::Outer),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        let parts = prop::collection::vec(inner.clone(), 0..4);
        let fields = prop::collection::vec(
            (any_name(), inner).prop_map(|(name, shape)| FieldShape { name, shape }),
            0..4,
        )
        .boxed();
        let content = prop_oneof![
            Just(VariantContent::Unit),
            parts.clone().prop_map(VariantContent::Tuple),
            fields.clone().prop_map(VariantContent::Struct),
        ];
        let variant = (any_name(), content).prop_map(|(name, content)| VariantShape { name, content });
        prop_oneof![
            boxed.clone().prop_map(TypeShape::Option),
            boxed.clone().prop_map(TypeShape::Seq),
            (boxed.clone(), boxed.clone()).prop_map(|(key, value)| TypeShape::Map(key, value)),
            parts.prop_map(TypeShape::Tuple),
            (boxed, any::<usize>()).prop_map(|(element, count)| TypeShape::Array(element, count)),
            (any_name(), fields).prop_map(|(name, fields)| TypeShape::Struct { name, fields }),
            (any_name(), prop::collection::vec(variant, 0..4))
                .prop_map(|(name, variants)| TypeShape::Enum { name, variants }),
        ]
    })
}

proptest! {
    #[test]
    fn the_text_of_a_shape_gives_the_shape_again(shape in any_shape()) {
        let text = shape.to_string();
        prop_assert_eq!(text.parse::<TypeShape>(), Ok(shape.clone()), "{}", text);
        prop_assert_eq!(shape.reads(&shape), Ok(()));
    }

    #[test]
    fn any_text_is_a_shape_or_an_error(text in "[(){}\\[\\]<>:;,^\"\\\\ a-z0-9]{0,60}") {
        let _ = text.parse::<TypeShape>();
    }
}
