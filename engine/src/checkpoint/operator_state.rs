//! Operator state in a checkpoint: handles whose elements can be dealt out to other subtasks without reading them.
//!
//! Each named state of a subtask is one run of bytes, inline or in a file of its own, with the place of every element in the metadata. At a
//! restore a subtask is given runs of elements and opens the files that they are in, no others.

use super::FileRef;
use super::storage::{CheckpointStorage, read_all};
use crate::codec::{CodecId, Compatibility};
use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;

/// Who gets the elements of an operator state when it is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Redistribution {
    /// Each element goes to one subtask; with unchanged parallelism every subtask gets its own back in order.
    Split,
    /// Every subtask gets every element.
    Union,
    /// Every subtask had the same elements and gets its own copy back; surplus subtasks copy from `index mod old parallelism`.
    Broadcast,
}

impl fmt::Display for Redistribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Split => "list",
            Self::Union => "union list",
            Self::Broadcast => "broadcast",
        })
    }
}

/// Where the elements of an operator state are in its bytes, one behind the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ElementOffsets {
    /// All have the same number of bytes, at least one.
    Even {
        /// The number of elements.
        count: u64,
        /// The bytes of each.
        width: u32,
    },
    /// Where each one ends.
    Ends(Vec<u64>),
}

impl ElementOffsets {
    /// The offsets of elements that end at `ends`.
    #[must_use]
    pub fn of_ends(ends: Vec<u64>) -> Self {
        let width = ends.first().copied().and_then(|first| u32::try_from(first).ok());
        let is_even = |width: u32| {
            let all = (1..).map(|index| index * u64::from(width));
            width > 0 && ends.iter().copied().zip(all).all(|(end, even)| end == even)
        };
        match width.filter(|width| is_even(*width)) {
            Some(width) => Self::Even {
                count: ends.len() as u64,
                width,
            },
            None => Self::Ends(ends),
        }
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Even { count, .. } => *count,
            Self::Ends(ends) => ends.len() as u64,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The place of element `index`; none beyond the last one.
    #[must_use]
    pub fn range(&self, index: u64) -> Option<Range<u64>> {
        match self {
            Self::Even { count, width } => {
                let (from, to) = (index, index.checked_add(1).filter(|next| next <= count)?);
                let width = u64::from(*width);
                Some(from.checked_mul(width)?..to.checked_mul(width)?)
            }
            Self::Ends(ends) => {
                let index = usize::try_from(index).ok()?;
                let from = match index.checked_sub(1) {
                    Some(before) => *ends.get(before)?,
                    None => 0,
                };
                Some(from..*ends.get(index)?)
            }
        }
    }

    /// The bytes that they take up in metadata.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Even { .. } => 0,
            Self::Ends(ends) => 8 * ends.len() as u64,
        }
    }
}

/// The snapshot of one named operator (not keyed) state of one subtask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorStateSnapshot {
    /// Name of the state, unique in its operator.
    pub name: String,
    /// Who gets the elements at restore.
    pub redistribution: Redistribution,
    /// What wrote the elements. Those of a broadcast state are entries `(key, value)`.
    pub codec: CodecId,
    /// The elements, one behind the other.
    pub elements: FileRef,
    /// Where each of them is.
    pub offsets: ElementOffsets,
}

impl OperatorStateSnapshot {
    /// A snapshot of encoded elements that rides inline, however large it is: for what the engine itself keeps, such as positions of sources.
    #[must_use]
    pub fn inline(
        name: &str,
        redistribution: Redistribution,
        codec: CodecId,
        elements: impl IntoIterator<Item = Vec<u8>>,
    ) -> Self {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for element in elements {
            bytes.extend_from_slice(&element);
            ends.push(bytes.len() as u64);
        }
        Self {
            name: name.to_owned(),
            redistribution,
            codec,
            elements: FileRef::inline(bytes),
            offsets: ElementOffsets::of_ends(ends),
        }
    }
}

/// Some elements of one snapshot, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElementRun {
    /// All elements of the snapshot.
    pub elements: FileRef,
    /// Where each of them is.
    pub offsets: ElementOffsets,
    /// The numbers of those that are meant.
    pub range: Range<u64>,
}

/// What a subtask starts with of one operator state. It may be nothing: then it is only known that the state was there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorStateShare {
    /// Name of the state.
    pub name: String,
    /// By which rule it was dealt out.
    pub redistribution: Redistribution,
    /// What wrote the elements.
    pub codec: CodecId,
    /// The elements.
    pub runs: Vec<ElementRun>,
}

impl OperatorStateShare {
    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> u64 {
        let len = |run: &ElementRun| run.range.end.saturating_sub(run.range.start);
        self.runs.iter().map(len).sum()
    }

    /// Whether the subtask gets nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks that what is stored can be read as what a program has `registered`.
    ///
    /// # Errors
    /// [`ErrorKind::State`], naming the state and both types.
    pub fn check_codec(&self, registered: &CodecId) -> Result<()> {
        match CodecId::check(&self.codec, registered) {
            Compatibility::Incompatible { reason } => Err(Error::new(
                ErrorKind::State,
                format!(
                    "operator state '{}' cannot be used: its elements were stored with another type than the program has: {reason}",
                    self.name
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Hands every element to `take`, in order. Reads the files that they are in, each whole, and checks them.
    ///
    /// # Errors
    /// As [`read_all`]; [`ErrorKind::Damaged`] when the metadata places elements outside of their file; those of `take`.
    pub fn read(
        &self,
        storage: &dyn CheckpointStorage,
        take: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        for run in self.runs.iter().filter(|run| !run.range.is_empty()) {
            let bytes = read_all(storage, &run.elements)
                .map_err(|error| error.context(format!("operator state '{}'", self.name)))?;
            for index in run.range.clone() {
                let range = run.offsets.range(index);
                let place = range.clone().and_then(|range| {
                    Some(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
                });
                let element = place.and_then(|place| bytes.get(place)).ok_or_else(|| {
                    Error::new(
                        ErrorKind::Damaged,
                        format!(
                            "operator state '{}': element {index} should be at bytes {range:?} of {}, which has {}",
                            self.name,
                            run.elements,
                            bytes.len()
                        ),
                    )
                })?;
                take(element)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::storage::JobManagerStorage;

    fn share(elements: FileRef, offsets: ElementOffsets, range: Range<u64>) -> OperatorStateShare {
        OperatorStateShare {
            name: "buffer".into(),
            redistribution: Redistribution::Split,
            codec: CodecId::of::<String>(),
            runs: vec![ElementRun {
                elements,
                offsets,
                range,
            }],
        }
    }

    fn read(share: &OperatorStateShare) -> Result<Vec<Vec<u8>>> {
        let storage = JobManagerStorage::new(1024, 1024);
        let mut elements = Vec::new();
        share.read(&storage, &mut |element| {
            elements.push(element.to_vec());
            Ok(())
        })?;
        Ok(elements)
    }

    #[test]
    fn elements_are_found_by_their_offsets() {
        for (elements, is_even) in [
            (vec!["aa", "bb", "cc"], true),
            (vec!["a", "bb", "", "c"], false),
            (vec!["", "", ""], false),
            (vec![], false),
        ] {
            let elements: Vec<Vec<u8>> = elements.iter().map(|text| text.as_bytes().to_vec()).collect();
            let stored = OperatorStateSnapshot::inline(
                "buffer",
                Redistribution::Split,
                CodecId::of::<String>(),
                elements.clone(),
            );
            assert_eq!(matches!(stored.offsets, ElementOffsets::Even { .. }), is_even);
            let len = elements.len() as u64;
            assert_eq!(stored.offsets.len(), len);
            assert_eq!(stored.offsets.range(len), None);
            for from in 0..=len {
                for to in from..=len {
                    let share = share(stored.elements.clone(), stored.offsets.clone(), from..to);
                    let expected: Vec<_> = elements
                        .iter()
                        .skip(usize::try_from(from).unwrap())
                        .take(usize::try_from(to - from).unwrap())
                        .cloned()
                        .collect();
                    assert_eq!(read(&share).unwrap(), expected);
                    assert_eq!(share.len(), to - from);
                }
            }
        }
    }

    #[test]
    fn elements_outside_of_their_file_are_damage_and_no_panic() {
        for (offsets, range) in [
            (ElementOffsets::Ends(vec![2, 9]), 0..2),
            (ElementOffsets::Ends(vec![3, 1]), 0..2),
            (ElementOffsets::Ends(vec![1]), 0..2),
            (ElementOffsets::Even { count: 3, width: 2 }, 0..3),
            (
                ElementOffsets::Even {
                    count: u64::MAX,
                    width: u32::MAX,
                },
                u64::MAX - 1..u64::MAX,
            ),
            (ElementOffsets::Even { count: 1, width: 1 }, 0..u64::MAX),
        ] {
            let error = read(&share(FileRef::inline(b"1234".to_vec()), offsets, range)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged);
            assert!(error.to_string().contains("'buffer'"), "{error}");
            assert!(error.to_string().contains("which has 4"), "{error}");
        }
    }

    #[test]
    fn another_type_is_refused_with_both_named() {
        let share = share(
            FileRef::inline(Vec::new()),
            ElementOffsets::Ends(Vec::new()),
            0..0,
        );
        share.check_codec(&CodecId::of::<String>()).unwrap();
        let error = share.check_codec(&CodecId::of::<u64>()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::State);
        for part in ["'buffer'", "string", "u64"] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
