//! The value of a suffix: what was appended to a list of which the beginning lies below only, cut where snapshots were taken.
//!
//! ```text
//! for each epoch in which something was appended, in order
//!     u32  the epoch
//!     u32  length of what was appended
//!          the bytes
//! ```
//!
//! What lies below takes over the segments up to some epoch at a time. Who puts the list together has to know up to which one.

use super::entry::u32_at;

/// The bytes in front of a segment.
const HEAD: usize = 8;

/// Some segments of a suffix, oldest first: each with the epoch that it was appended in.
#[derive(Clone, Copy, Debug)]
pub struct Segments<'a> {
    bytes: &'a [u8],
}

/// The last segment of a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Last {
    /// Where the segment's length stands in the value.
    pub(super) len_at: usize,
    pub(super) epoch: u32,
    pub(super) len: usize,
}

impl<'a> Segments<'a> {
    /// The segments in the value of a suffix.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The segments that were appended after `epoch`.
    #[must_use]
    pub fn after(self, epoch: u32) -> Self {
        let mut rest = self;
        while let Some((of, len, _)) = rest.first()
            && of <= epoch
        {
            rest.bytes = rest.bytes.get(HEAD + len..).unwrap_or_default();
        }
        rest
    }

    /// Whether there is no segment. A segment may have no bytes.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes of all segments together.
    #[must_use]
    pub fn len(self) -> usize {
        self.iter().map(<[u8]>::len).sum()
    }

    /// The bytes of each segment.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (_, len, bytes) = Segments::new(rest).first()?;
            rest = rest.get(HEAD + len..).unwrap_or_default();
            Some(bytes)
        })
    }

    fn first(self) -> Option<(u32, usize, &'a [u8])> {
        if self.bytes.len() < HEAD {
            return None;
        }
        let len = u32_at(self.bytes, 4) as usize;
        Some((u32_at(self.bytes, 0), len, self.bytes.get(HEAD..HEAD + len)?))
    }

    pub(super) fn last(self) -> Option<Last> {
        let mut at = 0;
        let mut last = None;
        while let Some((epoch, len, _)) = Segments::new(self.bytes.get(at..)?).first() {
            last = Some(Last {
                len_at: at + 4,
                epoch,
                len,
            });
            at += HEAD + len;
        }
        last
    }

    /// These segments and a new one, as the value of a suffix.
    pub(super) fn with(self, epoch: u32, appended: &[u8]) -> Vec<u8> {
        let mut value = Vec::with_capacity(self.bytes.len() + HEAD + appended.len());
        value.extend_from_slice(self.bytes);
        value.extend_from_slice(&epoch.to_le_bytes());
        value.extend_from_slice(&super::len32(appended.len()).to_le_bytes());
        value.extend_from_slice(appended);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_cut_by_the_epochs_in_which_they_were_appended() {
        let none = Segments::new(&[]);
        assert!(none.is_empty() && none.last().is_none());
        let value = none.with(3, b"abc");
        let value = Segments::new(&value).with(5, b"");
        let value = Segments::new(&value).with(6, b"de");
        let all = Segments::new(&value);
        assert_eq!(all.iter().collect::<Vec<_>>(), [&b"abc"[..], b"", b"de"]);
        assert_eq!(all.after(2).iter().count(), 3);
        assert_eq!(all.after(3).iter().collect::<Vec<_>>(), [&b""[..], b"de"]);
        assert_eq!((all.after(5).len(), all.len()), (2, 5));
        assert!(all.after(6).is_empty() && !all.after(5).is_empty());
        let last = all.last().unwrap();
        assert_eq!((last.epoch, last.len), (6, 2));
        assert_eq!(u32_at(&value, last.len_at), 2);
    }
}
