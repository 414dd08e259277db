//! Values made up for a shape, encoded: what a type is tried on before it is trusted with stored bytes.

use super::{TypeShape, VariantContent};
use crate::codec::DEPTH_MAX;
use std::collections::HashMap;

/// How many values are made up at most.
const SAMPLES_MAX: usize = 4096;

/// The shapes around a part, innermost first.
#[derive(Clone, Copy)]
pub(in crate::codec) struct Around<'s> {
    shape: &'s TypeShape,
    outer: Option<&'s Around<'s>>,
}

impl<'s> Around<'s> {
    /// What lies directly within `shape`, which has `outer` around it.
    pub(in crate::codec) fn within(shape: &'s TypeShape, outer: Option<&'s Around<'s>>) -> Self {
        Self { shape, outer }
    }

    /// The `levels`-th shape around, 1 being the innermost, and what is around that.
    pub(in crate::codec) fn find(
        around: Option<&'s Around<'s>>,
        levels: usize,
    ) -> Option<(&'s TypeShape, Option<&'s Around<'s>>)> {
        let mut place = around?;
        for _ in 1..levels {
            place = place.outer?;
        }
        Some((place.shape, place.outer))
    }
}

/// Encoded values of a shape, such that every variant of every enum in it is in one of them; other parts are as those that types are
/// [traced](super::shape_of) with. `None` if the shape has no end, is opaque, or has too many variants within variants.
pub(in crate::codec) fn samples(shape: &TypeShape) -> Option<Vec<Vec<u8>>> {
    let mut maker = Maker::default();
    let mut samples = Vec::new();
    while samples.len() < SAMPLES_MAX {
        let mut sample = Vec::new();
        maker.put(shape, None, &mut sample)?;
        samples.push(sample);
        if maker.turns.values().all(|(turn, variants)| turn >= variants) {
            return Some(samples);
        }
    }
    None
}

#[derive(Default)]
struct Maker {
    /// Of each enum, by its place in memory: whose turn it is, and how many variants there are.
    turns: HashMap<*const TypeShape, (usize, usize)>,
    depth: usize,
}

impl Maker {
    fn put(&mut self, shape: &TypeShape, around: Option<&Around<'_>>, to: &mut Vec<u8>) -> Option<()> {
        if self.depth == DEPTH_MAX {
            return None;
        }
        self.depth += 1;
        let within = Around::within(shape, around);
        let inner = Some(&within);
        match shape {
            TypeShape::Scalar(super::Scalar::F32) => to.extend_from_slice(&1_f32.to_le_bytes()),
            TypeShape::Scalar(super::Scalar::F64) => to.extend_from_slice(&1_f64.to_le_bytes()),
            TypeShape::Scalar(super::Scalar::Char) => to.extend_from_slice(&u32::from('1').to_le_bytes()),
            TypeShape::Scalar(scalar) => {
                to.push(1);
                to.resize(to.len() + scalar.width() - 1, 0);
            }
            TypeShape::String | TypeShape::Bytes => {
                to.extend_from_slice(&1_u32.to_le_bytes());
                to.push(b'1');
            }
            TypeShape::Option(some) => {
                to.push(1);
                self.put(some, inner, to)?;
            }
            TypeShape::Seq(element) => {
                to.extend_from_slice(&1_u32.to_le_bytes());
                self.put(element, inner, to)?;
            }
            TypeShape::Map(key, value) => {
                to.extend_from_slice(&1_u32.to_le_bytes());
                self.put(key, inner, to)?;
                self.put(value, inner, to)?;
            }
            TypeShape::Tuple(parts) => self.all(parts, inner, to)?,
            TypeShape::Array(element, count) => {
                for _ in 0..*count {
                    self.put(element, inner, to)?;
                }
            }
            TypeShape::Struct { fields, .. } => {
                self.all(fields.iter().map(|field| &field.shape), inner, to)?
            }
            TypeShape::Enum { variants, .. } => {
                let turn = self
                    .turns
                    .entry(std::ptr::from_ref(shape))
                    .or_insert((0, variants.len()));
                let index = turn.0.checked_rem(variants.len())?;
                turn.0 += 1;
                to.extend_from_slice(&u32::try_from(index).ok()?.to_le_bytes());
                self.content(&variants.get(index)?.content, inner, to)?;
            }
            // What is around has been made up once already; here anything that ends will do.
            TypeShape::Outer(levels) => {
                let (shape, around) = Around::find(around, *levels)?;
                self.end(shape, around, to)?;
            }
            TypeShape::Opaque => return None,
        }
        self.depth -= 1;
        Some(())
    }

    fn all<'s>(
        &mut self,
        shapes: impl IntoIterator<Item = &'s TypeShape>,
        around: Option<&Around<'_>>,
        to: &mut Vec<u8>,
    ) -> Option<()> {
        shapes
            .into_iter()
            .try_for_each(|shape| self.put(shape, around, to))
    }

    fn content(
        &mut self,
        content: &VariantContent,
        around: Option<&Around<'_>>,
        to: &mut Vec<u8>,
    ) -> Option<()> {
        match content {
            VariantContent::Unit => Some(()),
            VariantContent::Tuple(parts) => self.all(parts, around, to),
            VariantContent::Struct(fields) => self.all(fields.iter().map(|field| &field.shape), around, to),
        }
    }

    /// A value that ends as soon as possible.
    fn end(&mut self, shape: &TypeShape, around: Option<&Around<'_>>, to: &mut Vec<u8>) -> Option<()> {
        // Each level tries every variant, so this is much less than what can be read.
        const LEVELS_MAX: usize = 8;
        self.end_within(shape, around, to, LEVELS_MAX)
    }

    fn end_within(
        &mut self,
        shape: &TypeShape,
        around: Option<&Around<'_>>,
        to: &mut Vec<u8>,
        levels: usize,
    ) -> Option<()> {
        let levels = levels.checked_sub(1)?;
        let within = Around::within(shape, around);
        let inner = Some(&within);
        match shape {
            TypeShape::Option(_) => to.push(0),
            TypeShape::Seq(_) | TypeShape::Map(..) => to.extend_from_slice(&0_u32.to_le_bytes()),
            TypeShape::Tuple(parts) => {
                for part in parts {
                    self.end_within(part, inner, to, levels)?;
                }
            }
            TypeShape::Array(element, count) => {
                for _ in 0..*count {
                    self.end_within(element, inner, to, levels)?;
                }
            }
            TypeShape::Struct { fields, .. } => {
                for field in fields {
                    self.end_within(&field.shape, inner, to, levels)?;
                }
            }
            TypeShape::Enum { variants, .. } => {
                let start = to.len();
                let ended = variants.iter().enumerate().any(|(index, variant)| {
                    to.truncate(start);
                    to.extend_from_slice(&u32::try_from(index).unwrap_or(0).to_le_bytes());
                    let parts: Vec<&TypeShape> = match &variant.content {
                        VariantContent::Unit => Vec::new(),
                        VariantContent::Tuple(parts) => parts.iter().collect(),
                        VariantContent::Struct(fields) => fields.iter().map(|field| &field.shape).collect(),
                    };
                    parts
                        .into_iter()
                        .all(|part| self.end_within(part, inner, to, levels).is_some())
                });
                return ended.then_some(());
            }
            TypeShape::Outer(outer) => {
                let (shape, around) = Around::find(around, *outer)?;
                self.end_within(shape, around, to, levels)?;
            }
            TypeShape::Scalar(_) | TypeShape::String | TypeShape::Bytes => self.put(shape, around, to)?,
            TypeShape::Opaque => return None,
        }
        Some(())
    }
}
