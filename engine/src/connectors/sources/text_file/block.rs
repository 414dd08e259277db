//! What is read at a time: whole lines of one split.

use super::{Line, TextFileSplit};
use crate::api::SourceOutput;

/// How much text becomes lines at once: what the chain behind the source then finds in the nearest cache.
const NEAR_BYTES: usize = 32 * 1024;

/// Lines of a split, one behind the other.
#[derive(Debug)]
pub(super) struct Block<L: Line> {
    /// The text, up to the end of its last line.
    pub(super) text: L::Text,
    /// The index of the line end of each line, or the text's length.
    pub(super) ends: Vec<u32>,
    /// The offset of the first byte in the file.
    pub(super) offset: u64,
    /// There is no line in the split behind these.
    pub(super) ends_split: bool,
    /// How many lines were emitted.
    emitted: usize,
    /// The index in the text of the first byte behind them.
    position: usize,
}

impl<L: Line> Default for Block<L> {
    fn default() -> Self {
        Self {
            text: L::Text::default(),
            ends: Vec::new(),
            offset: 0,
            ends_split: false,
            emitted: 0,
            position: 0,
        }
    }
}

impl<L: Line> Block<L> {
    /// The block's memory, for other lines.
    pub(super) fn reuse(&mut self) -> Vec<u8> {
        let text = std::mem::take(&mut self.text);
        self.ends.clear();
        self.emitted = 0;
        self.position = 0;
        self.ends_split = false;
        text.into()
    }

    /// Emits at most `most` of the lines that are left, and moves `split`'s position behind them; whether none is left.
    pub(super) fn emit(
        &mut self,
        split: &mut TextFileSplit,
        most: usize,
        output: &mut SourceOutput<L>,
    ) -> bool {
        let left = self.ends.get(self.emitted..).unwrap_or_default();
        let mut from = self.position;
        let near = left
            .partition_point(|end| (*end as usize) < from + NEAR_BYTES)
            .max(1);
        let ends = left.get(..near.min(most)).unwrap_or(left);
        output.collect_all(ends.iter().map(|end| {
            let end = *end as usize;
            let line = L::line(&self.text, from..end);
            from = end + 1;
            line
        }));
        // The last line of a file may have no end.
        self.position = from.min(L::len(&self.text));
        self.emitted += ends.len();
        split.position = self.offset + self.position as u64;
        self.emitted == self.ends.len()
    }
}
