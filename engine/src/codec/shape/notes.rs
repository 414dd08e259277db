//! What tracing knows about a type so far, and the shape that it makes.

use super::{FieldShape, TypeShape, VariantContent, VariantShape};

/// What is known about a part of the type.
pub(super) enum Node {
    /// Not seen yet.
    Unknown,
    Leaf(TypeShape),
    Inner {
        kind: Kind,
        children: Vec<Node>,
        /// No more children will come: the part has been read to its end once.
        all: bool,
    },
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Newtype,
    Option,
    Seq,
    Map,
    Tuple,
    Struct(&'static str, &'static [&'static str]),
    /// The children are the variants.
    Enum(&'static str, &'static [&'static str]),
    UnitVariant,
    TupleVariant,
    StructVariant(&'static [&'static str]),
}

impl Node {
    /// The children, after making this a node of `kind` if it is none yet.
    pub(super) fn open(&mut self, new: Kind) -> &mut Vec<Node> {
        if !matches!(self, Self::Inner { kind, .. } if *kind == new) {
            *self = Self::Inner {
                kind: new,
                children: Vec::new(),
                all: false,
            };
        }
        match self {
            Self::Inner { children, .. } => children,
            _ => unreachable!("made an inner node above"),
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::Unknown => false,
            Self::Leaf(_) => true,
            Self::Inner { children, all, .. } => *all && children.iter().all(Self::is_complete),
        }
    }

    /// The visitor came to the end of this part.
    pub(super) fn close(&mut self) {
        if let Self::Inner { kind, children, all } = self {
            *all = true;
            for child in children {
                // What the visitor could have looked at and did not will never be known; but variants have their own turn.
                if matches!(child, Self::Unknown) && !matches!(kind, Kind::Enum(..)) {
                    *child = Self::Leaf(TypeShape::Opaque);
                }
            }
        }
    }

    pub(super) fn shape(&self) -> TypeShape {
        let (kind, children) = match self {
            Self::Unknown => return TypeShape::Opaque,
            Self::Leaf(shape) => return shape.clone(),
            Self::Inner { kind, children, .. } => (kind, children),
        };
        match *kind {
            Kind::Newtype => shape_at(children, 0),
            Kind::Option => TypeShape::Option(Box::new(shape_at(children, 0))),
            Kind::Seq => TypeShape::Seq(Box::new(shape_at(children, 0))),
            Kind::Map => TypeShape::Map(Box::new(shape_at(children, 0)), Box::new(shape_at(children, 1))),
            Kind::Struct(name, names) => TypeShape::Struct {
                name: name.to_owned(),
                fields: fields(names, children),
            },
            Kind::Enum(name, names) => TypeShape::Enum {
                name: name.to_owned(),
                variants: named(names, children)
                    .map(|(name, variant)| VariantShape {
                        name,
                        content: variant.content(),
                    })
                    .collect(),
            },
            Kind::Tuple | Kind::UnitVariant | Kind::TupleVariant | Kind::StructVariant(_) => {
                TypeShape::of_parts(children.iter().map(Self::shape).collect())
            }
        }
    }

    fn content(&self) -> VariantContent {
        match self {
            Self::Inner {
                kind: Kind::UnitVariant,
                ..
            } => VariantContent::Unit,
            Self::Inner {
                kind: Kind::TupleVariant,
                children,
                ..
            } => VariantContent::Tuple(children.iter().map(Self::shape).collect()),
            Self::Inner {
                kind: Kind::StructVariant(names),
                children,
                ..
            } => VariantContent::Struct(fields(names, children)),
            other => VariantContent::Tuple(vec![other.shape()]),
        }
    }
}

fn shape_at(children: &[Node], index: usize) -> TypeShape {
    children.get(index).map_or(TypeShape::Opaque, Node::shape)
}

fn fields(names: &[&str], children: &[Node]) -> Vec<FieldShape> {
    named(names, children)
        .map(|(name, node)| FieldShape {
            name,
            shape: node.shape(),
        })
        .collect()
}

/// The children with their names; if there are more names than children, some are aliases and none is known for sure.
fn named<'a>(names: &'a [&'a str], children: &'a [Node]) -> impl Iterator<Item = (String, &'a Node)> {
    let sure = names.len() == children.len();
    children.iter().enumerate().map(move |(index, child)| {
        let name = names.get(index).filter(|_| sure);
        (
            name.map_or_else(|| format!("_{index}"), |name| (*name).to_owned()),
            child,
        )
    })
}
