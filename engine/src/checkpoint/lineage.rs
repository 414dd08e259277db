//! Lineages: which checkpoints are each other's past.
//!
//! The numbers of checkpoints tell which came first only along one line. Who goes back to an older checkpoint begins another line, on which the same numbers may
//! come again with other content, and what was committed for the line that was left must not be taken for the new one's. So each line has a [`LineageId`],
//! which checkpoints record and sinks are told, and a [`Lineage`] knows where the lines before it were left.
//!
//! | what happens | lineage |
//! |---|---|
//! | a job starts from nothing | a new one, of a family of its own |
//! | an attempt fails, the program is killed, and the job goes on from its latest checkpoint | the same |
//! | a damaged checkpoint is passed over for an older one | a branch that leaves the old line at the older checkpoint |
//! | a job is started from a savepoint or retained checkpoint | a branch that leaves its line there, since that line may have gone on |

use super::CheckpointId;
use super::id::random_hex;
use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of a lineage. The upper half is that of the *family*: all lineages that have one beginning.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LineageId(u64);

impl LineageId {
    /// Number of hexadecimal digits that it is shown with.
    pub const DIGITS: usize = 16;
    const FAMILY_SHIFT: u32 = 32;

    /// Whether both have the same beginning, so that what one has committed may be what the other commits again.
    #[must_use]
    pub fn is_related(self, other: Self) -> bool {
        self.0 >> Self::FAMILY_SHIFT == other.0 >> Self::FAMILY_SHIFT
    }

    /// Reads back what `Display` has shown.
    ///
    /// # Errors
    /// [`ErrorKind::Restore`] for anything but 16 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self> {
        let valid =
            text.len() == Self::DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let id = valid.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        id.map(Self).ok_or_else(|| {
            Error::new(
                ErrorKind::Restore,
                format!(
                    "'{text}' is not a lineage: expected {} hexadecimal digits",
                    Self::DIGITS
                ),
            )
        })
    }

    fn random() -> Self {
        let digits: String = random_hex().chars().take(Self::DIGITS).collect();
        // 16 hexadecimal digits always are a number.
        Self(u64::from_str_radix(&digits, 16).unwrap_or_default())
    }

    fn sibling(self) -> Self {
        let low = (1 << Self::FAMILY_SHIFT) - 1;
        Self(self.0 & !low | Self::random().0 & low)
    }
}

impl fmt::Display for LineageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for LineageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LineageId({self})")
    }
}

/// One checkpoint among all that any run of any job ever takes: a number is used once on each line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CheckpointKey {
    /// The line that it is on.
    pub lineage: LineageId,
    /// Its number there.
    pub id: CheckpointId,
}

impl fmt::Display for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.lineage, self.id)
    }
}

/// A line of checkpoints, with the lines that it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    id: LineageId,
    /// The lines before, oldest first, each with its last checkpoint that is part of this one's past.
    before: Vec<CheckpointKey>,
}

impl Lineage {
    /// A line that nothing came before.
    #[must_use]
    pub fn new() -> Self {
        Self {
            id: LineageId::random(),
            before: Vec::new(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> LineageId {
        self.id
    }

    /// The lines before, oldest first, each with its last checkpoint that is part of this one's past.
    #[must_use]
    pub fn before(&self) -> &[CheckpointKey] {
        &self.before
    }

    /// A new line that leaves this one behind checkpoint `at`, which must be one of this line itself.
    #[must_use]
    pub fn branch(&self, at: CheckpointId) -> Self {
        let mut before = self.before.clone();
        before.push(self.checkpoint(at));
        let mut id = self.id.sibling();
        while before.iter().any(|key| key.lineage == id) {
            id = id.sibling();
        }
        Self { id, before }
    }

    /// Checkpoint `id` of this line.
    #[must_use]
    pub fn checkpoint(&self, id: CheckpointId) -> CheckpointKey {
        CheckpointKey { lineage: self.id, id }
    }

    /// Whether what was prepared for this checkpoint is, or will be, committed for this line: it is on the line itself, or was before a place where an older line was left.
    #[must_use]
    pub fn includes(&self, key: CheckpointKey) -> bool {
        key.lineage == self.id
            || self
                .before
                .iter()
                .any(|last| last.lineage == key.lineage && key.id <= last.id)
    }

    /// Whether this is of a line that was left before it came to this checkpoint, or of a branch that this line did not take: something else than what it prepared has, or
    /// will have, its effect.
    #[must_use]
    pub fn has_left(&self, key: CheckpointKey) -> bool {
        key.lineage.is_related(self.id) && !self.includes(key)
    }
}

impl Default for Lineage {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(lineage: &Lineage, id: u64) -> CheckpointKey {
        lineage.checkpoint(CheckpointId(id))
    }

    #[test]
    fn a_branch_includes_the_past_of_where_it_left_and_not_its_future() {
        let first = Lineage::new();
        let second = first.branch(CheckpointId(3));
        let third = second.branch(CheckpointId(5));
        let sibling = first.branch(CheckpointId(3));
        // line, checkpoint of the first line, of the second, of the third: the last that is included
        for (line, last) in [
            (&first, [Some(u64::MAX), None, None]),
            (&second, [Some(3), Some(u64::MAX), None]),
            (&third, [Some(3), Some(5), Some(u64::MAX)]),
            (&sibling, [Some(3), None, None]),
        ] {
            for (of, last) in [&first, &second, &third].into_iter().zip(last) {
                for id in [1, 3, 4, 5, 6, 1000] {
                    let included = last.is_some_and(|last| id <= last);
                    assert_eq!(line.includes(key(of, id)), included, "{line:?} {of:?} {id}");
                    assert_eq!(line.has_left(key(of, id)), !included, "{line:?} {of:?} {id}");
                }
            }
        }
        assert_eq!(third.before(), [key(&first, 3), key(&second, 5)]);
    }

    #[test]
    fn lines_of_two_beginnings_have_nothing_to_do_with_each_other() {
        let (a, b) = (Lineage::new(), Lineage::new());
        assert!(!a.id().is_related(b.id()) && !a.includes(key(&b, 1)) && !a.has_left(key(&b, 1)));
        assert!(a.id().is_related(a.branch(CheckpointId(1)).id()));
    }

    #[test]
    fn names_are_read_back_strictly() {
        let id = Lineage::new().id();
        assert_eq!(LineageId::parse(&id.to_string()).unwrap(), id);
        for text in [
            "",
            "0",
            "../../../../../..",
            "00000000000000000",
            "+000000000000000",
            "ABCDEF0123456789",
        ] {
            assert_eq!(
                LineageId::parse(text).unwrap_err().kind(),
                ErrorKind::Restore,
                "{text}"
            );
        }
    }
}
