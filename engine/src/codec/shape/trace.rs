//! Finds the shape of a type by deserializing it from a source that makes up every value and takes notes.
//!
//! One run sees one variant of each enum, so runs are repeated on the same notes, each choosing a variant not seen yet, until
//! none is left. A type that contains itself is noticed by the name of its visitor; from there on the source gives what ends
//! soonest (`None`, empty sequences), and for enums a variant found by trial that does not lead back. The idea is
//! serde-reflection's; unlike there, no registry of names is needed.

use std::any::type_name;
use std::collections::{HashMap, HashSet};
use std::fmt::{self, Display, Formatter};

use serde::de::value::U32Deserializer;
use serde::de::{self, Deserialize, DeserializeSeed, IntoDeserializer, Visitor};

use super::notes::{Kind, Node};
use super::{Scalar, TypeShape};

/// How many times a type is deserialized before it is taken for opaque. Each time completes at least one variant.
const RUNS_MAX: usize = 4096;

/// How deep a type may be nested before it is taken for endless.
const DEPTH_MAX: usize = 128;

/// The shape of `T`, found by running its `Deserialize` on made-up values: 1, `true`, `"1"`, one element, each variant in turn.
///
/// [`TypeShape::Opaque`] if that fails, since the type looks ahead (`untagged`) or refuses such values. Not found is what the
/// code decides by values, as a hand-written `Deserialize` that reads more after some number than after another.
/// This takes microseconds to milliseconds: ask once and keep the answer.
#[must_use]
pub fn shape_of<'de, T: Deserialize<'de>>() -> TypeShape {
    let mut root = Node::Unknown;
    let mut ends = HashMap::new();
    for _ in 0..RUNS_MAX {
        let mut state = State::new(&mut ends);
        let result = T::deserialize(Probe {
            node: &mut root,
            state: &mut state,
        });
        match result {
            Ok(_) if root.is_complete() => return root.shape(),
            Ok(_) => {}
            Err(Untraceable) if state.again => {}
            Err(Untraceable) => break,
        }
    }
    TypeShape::Opaque
}

fn child(children: &mut Vec<Node>, index: usize) -> Result<&mut Node, Untraceable> {
    while children.len() <= index {
        children.push(Node::Unknown);
    }
    children.get_mut(index).ok_or(Untraceable)
}

/// What tells one type from another within a process: the name of the visitor and of what it makes.
type Identity = (&'static str, &'static str);

fn identity<'de, V: Visitor<'de>>() -> Identity {
    (type_name::<V>(), type_name::<V::Value>())
}

/// The state of one run.
struct State<'s> {
    /// The types around the current part, each with the number of levels of the shape around it.
    around: Vec<(Identity, usize)>,
    /// Levels of the shape around the current part: all of `around` but the newtypes.
    levels: usize,
    depth: usize,
    /// Inside a type that contains itself, at its second occurrence: find an end, take no notes.
    ending: bool,
    /// While ending: the enums around the current part, each with its number of variants.
    ending_enums: Vec<(Identity, u32)>,
    /// For each enum, the variant to take while ending. Kept from run to run.
    ends: &'s mut HashMap<Identity, u32>,
    /// The run failed by a choice that another run will make differently.
    again: bool,
}

impl<'s> State<'s> {
    fn new(ends: &'s mut HashMap<Identity, u32>) -> Self {
        Self {
            around: Vec::new(),
            levels: 0,
            depth: 0,
            ending: false,
            ending_enums: Vec::new(),
            ends,
            again: false,
        }
    }

    /// The variants chosen so far do not lead to an end: moves on to the next combination, innermost first.
    fn choose_other_ends(&mut self) -> Untraceable {
        let mut seen = HashSet::new();
        for (enumeration, variants) in self.ending_enums.iter().rev() {
            if !seen.insert(enumeration) {
                continue;
            }
            let end = self.ends.entry(*enumeration).or_default();
            *end += 1;
            if *end < *variants {
                self.again = true;
                break;
            }
            *end = 0;
        }
        Untraceable
    }
}

/// A `Deserialize` said no, or would have to.
#[derive(Debug)]
struct Untraceable;

impl Display for Untraceable {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("type cannot be traced")
    }
}

impl std::error::Error for Untraceable {}

impl de::Error for Untraceable {
    fn custom<T: Display>(_message: T) -> Self {
        Self
    }
}

/// The source that makes up values, and where it writes down what is asked for.
struct Probe<'a, 's> {
    node: &'a mut Node,
    state: &'a mut State<'s>,
}

impl<'s> Probe<'_, 's> {
    fn leaf(self, shape: TypeShape) {
        *self.node = Node::Leaf(shape);
    }

    /// Runs `inside` with the types around extended by the one that `V` makes.
    fn enter<'de, V: Visitor<'de>>(
        self,
        is_level: bool,
        inside: impl FnOnce(Probe<'_, 's>) -> Result<V::Value, Untraceable>,
    ) -> Result<V::Value, Untraceable> {
        let Probe { node, state } = self;
        if state.depth == DEPTH_MAX {
            return Err(state.choose_other_ends());
        }
        state.depth += 1;
        let identity = identity::<V>();
        let outer = state.around.iter().find(|(around, _)| *around == identity);
        let value = if state.ending {
            inside(Probe { node, state })?
        } else if let Some((_, levels)) = outer {
            *node = Node::Leaf(TypeShape::Outer(state.levels - levels));
            state.ending = true;
            let mut unused = Node::Unknown;
            let value = inside(Probe {
                node: &mut unused,
                state: &mut *state,
            })?;
            state.ending = false;
            value
        } else {
            state.around.push((identity, state.levels));
            state.levels += usize::from(is_level);
            let value = inside(Probe {
                node,
                state: &mut *state,
            })?;
            state.levels -= usize::from(is_level);
            state.around.pop();
            value
        };
        state.depth -= 1;
        Ok(value)
    }

    /// Notes `kind` and offers `count` parts to `visit`.
    fn parts<T>(
        self,
        kind: Kind,
        count: usize,
        visit: impl FnOnce(&mut Parts<'_, 's>) -> Result<T, Untraceable>,
    ) -> Result<T, Untraceable> {
        let mut parts = Parts {
            children: self.node.open(kind),
            state: self.state,
            next: 0,
            count,
        };
        let value = visit(&mut parts)?;
        self.node.close();
        Ok(value)
    }
}

macro_rules! scalars {
    ($($method:ident: $scalar:ident => $visit:ident($value:expr)),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Untraceable> {
            self.leaf(TypeShape::Scalar(Scalar::$scalar));
            visitor.$visit($value)
        }
    )*};
}

macro_rules! strings {
    ($($method:ident: $shape:ident => $visit:ident($value:expr)),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Untraceable> {
            self.leaf(TypeShape::$shape);
            visitor.$visit($value)
        }
    )*};
}

macro_rules! unsupported {
    ($($method:ident),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Untraceable> {
            Err(Untraceable)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Probe<'_, '_> {
    type Error = Untraceable;

    scalars! {
        deserialize_bool: Bool => visit_bool(true),
        deserialize_u8: U8 => visit_u8(1), deserialize_u16: U16 => visit_u16(1), deserialize_u32: U32 => visit_u32(1),
        deserialize_u64: U64 => visit_u64(1), deserialize_u128: U128 => visit_u128(1),
        deserialize_i8: I8 => visit_i8(1), deserialize_i16: I16 => visit_i16(1), deserialize_i32: I32 => visit_i32(1),
        deserialize_i64: I64 => visit_i64(1), deserialize_i128: I128 => visit_i128(1),
        deserialize_f32: F32 => visit_f32(1.0), deserialize_f64: F64 => visit_f64(1.0),
        deserialize_char: Char => visit_char('1'),
    }

    strings! {
        deserialize_str: String => visit_borrowed_str("1"),
        deserialize_string: String => visit_borrowed_str("1"),
        deserialize_bytes: Bytes => visit_borrowed_bytes(b"1"),
        deserialize_byte_buf: Bytes => visit_borrowed_bytes(b"1"),
    }

    unsupported!(deserialize_any, deserialize_identifier, deserialize_ignored_any);

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Untraceable> {
        self.enter::<V>(true, |probe| {
            if probe.state.ending {
                return visitor.visit_none();
            }
            probe.parts(Kind::Option, 1, |parts| visitor.visit_some(parts.next_probe()?))
        })
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Untraceable> {
        self.leaf(TypeShape::Tuple(Vec::new()));
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Untraceable> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Untraceable> {
        self.enter::<V>(false, |probe| {
            probe.parts(Kind::Newtype, 1, |parts| {
                visitor.visit_newtype_struct(parts.next_probe()?)
            })
        })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Untraceable> {
        self.enter::<V>(true, |probe| {
            let count = usize::from(!probe.state.ending);
            probe.parts(Kind::Seq, count, |parts| visitor.visit_seq(parts))
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Untraceable> {
        self.enter::<V>(true, |probe| {
            probe.parts(Kind::Tuple, len, |parts| visitor.visit_seq(parts))
        })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Untraceable> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Untraceable> {
        self.enter::<V>(true, |probe| {
            let count = if probe.state.ending { 0 } else { 2 };
            probe.parts(Kind::Map, count, |parts| visitor.visit_map(parts))
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Untraceable> {
        self.enter::<V>(true, |probe| {
            probe.parts(Kind::Struct(name, fields), fields.len(), |parts| {
                visitor.visit_seq(parts)
            })
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Untraceable> {
        self.enter::<V>(true, |Probe { node, state }| {
            let fresh = !matches!(node, Node::Inner { .. });
            let children = node.open(Kind::Enum(name, variants));
            if fresh {
                children.resize_with(variants.len(), || Node::Unknown);
            }
            let ending = state.ending;
            let index = if ending {
                let identity = identity::<V>();
                let count = u32::try_from(variants.len()).map_err(|_| Untraceable)?;
                state.ending_enums.push((identity, count));
                state.ends.get(&identity).copied().unwrap_or(0)
            } else {
                // When all are known, any will do.
                let unknown = children.iter().position(|variant| !variant.is_complete());
                u32::try_from(unknown.unwrap_or(0)).map_err(|_| Untraceable)?
            };
            let value = visitor.visit_enum(VariantProbe {
                children,
                index,
                state: &mut *state,
            })?;
            node.close();
            if ending {
                state.ending_enums.pop();
            }
            Ok(value)
        })
    }
}

/// The parts of a tuple, struct, sequence or map: keys and values of a map take turns.
struct Parts<'a, 's> {
    children: &'a mut Vec<Node>,
    state: &'a mut State<'s>,
    next: usize,
    count: usize,
}

impl<'s> Parts<'_, 's> {
    fn next_probe(&mut self) -> Result<Probe<'_, 's>, Untraceable> {
        let node = child(self.children, self.next)?;
        self.next += 1;
        Ok(Probe {
            node,
            state: &mut *self.state,
        })
    }
}

impl<'de> de::SeqAccess<'de> for Parts<'_, '_> {
    type Error = Untraceable;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Untraceable> {
        if self.next >= self.count {
            return Ok(None);
        }
        seed.deserialize(self.next_probe()?).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.count.saturating_sub(self.next))
    }
}

impl<'de> de::MapAccess<'de> for Parts<'_, '_> {
    type Error = Untraceable;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Untraceable> {
        de::SeqAccess::next_element_seed(self, seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Untraceable> {
        seed.deserialize(self.next_probe()?)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.count.saturating_sub(self.next) / 2)
    }
}

/// The chosen variant of an enum.
struct VariantProbe<'a, 's> {
    children: &'a mut Vec<Node>,
    index: u32,
    state: &'a mut State<'s>,
}

impl<'a, 's> VariantProbe<'a, 's> {
    fn probe(self) -> Result<Probe<'a, 's>, Untraceable> {
        let index = usize::try_from(self.index).map_err(|_| Untraceable)?;
        Ok(Probe {
            node: child(self.children, index)?,
            state: self.state,
        })
    }
}

impl<'de> de::EnumAccess<'de> for VariantProbe<'_, '_> {
    type Error = Untraceable;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Untraceable> {
        let index: U32Deserializer<Untraceable> = self.index.into_deserializer();
        match seed.deserialize(index) {
            Ok(variant) => Ok((variant, self)),
            Err(Untraceable) if self.state.ending => Err(self.state.choose_other_ends()),
            Err(Untraceable) => {
                // Aliases are among the names of the variants: this many there are.
                let count = usize::try_from(self.index).map_err(|_| Untraceable)?;
                self.children.truncate(count);
                self.state.again = count > 0;
                Err(Untraceable)
            }
        }
    }
}

impl<'de> de::VariantAccess<'de> for VariantProbe<'_, '_> {
    type Error = Untraceable;

    fn unit_variant(self) -> Result<(), Untraceable> {
        self.probe()?.parts(Kind::UnitVariant, 0, |_| Ok(()))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Untraceable> {
        self.probe()?.parts(Kind::TupleVariant, 1, |parts| {
            seed.deserialize(parts.next_probe()?)
        })
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Untraceable> {
        self.probe()?
            .parts(Kind::TupleVariant, len, |parts| visitor.visit_seq(parts))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Untraceable> {
        self.probe()?
            .parts(Kind::StructVariant(fields), fields.len(), |parts| {
                visitor.visit_seq(parts)
            })
    }
}
