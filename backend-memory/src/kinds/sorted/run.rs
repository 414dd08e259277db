//! A run: the sorted sequence of one group, in chunks of about [`CHUNK_BYTES`].

use super::chunk::{Address, Chunk, Mark};
use millpond_backend_api::Entry;
use std::sync::Arc;

/// The entry bytes above which a chunk is cut in two.
pub(super) const CHUNK_BYTES: usize = 16 << 10;

/// A sorted sequence. No chunk is empty, and each one's entries come after those of the one before.
#[derive(Clone, Debug, Default)]
pub struct Run {
    chunks: Vec<Arc<Chunk>>,
}

/// Where an entry is in a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    chunk: usize,
    index: usize,
}

impl Run {
    /// How many chunks there are.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// How many chunks someone else has too; all of them if the run itself is shared.
    pub(super) fn shared_chunks(&self, run_is_shared: bool) -> usize {
        if run_is_shared {
            return self.chunks.len();
        }
        self.chunks
            .iter()
            .filter(|chunk| Arc::strong_count(chunk) > 1)
            .count()
    }

    /// The bytes that the run takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(|chunk| chunk.bytes()).sum();
        chunks + self.chunks.capacity() * size_of::<Arc<Chunk>>()
    }

    /// The chunk that has `address`, if it is there: the last one that does not begin after it.
    fn chunk_of(&self, address: &Address<'_>) -> usize {
        self.chunks
            .partition_point(|chunk| {
                chunk
                    .entry(0)
                    .is_some_and(|entry| Address::of_entry(&entry) <= *address)
            })
            .saturating_sub(1)
    }

    pub(super) fn get(&self, address: &Address<'_>) -> Option<&[u8]> {
        let place = self.find(address)?;
        Some(self.chunks.get(place.chunk)?.entry(place.index)?.value)
    }

    /// Where the entry at `address` is, until the run is changed.
    pub(super) fn find(&self, address: &Address<'_>) -> Option<Place> {
        let number = self.chunk_of(address);
        let index = self.chunks.get(number)?.search(address).ok()?;
        Some(Place { chunk: number, index })
    }

    /// Sets a value; returns the length of the one that was there. `mark` is that of a new entry; one that was there is changed in its
    /// epoch.
    pub(super) fn put(&mut self, address: &Address<'_>, value: &[u8], mark: Mark) -> Option<usize> {
        let number = self.chunk_of(address);
        let last = number + 1 >= self.chunks.len();
        let Some(shared) = self.chunks.get_mut(number) else {
            self.add_chunk(0, address, value, mark);
            return None;
        };
        let index = match shared.search(address) {
            Ok(index) => {
                let before = Arc::make_mut(shared).replace(index, address, value, mark.epoch);
                self.split_if_large(number);
                return Some(before);
            }
            Err(index) => index,
        };
        let full = shared.live_bytes() + address.entry_bytes(value.len()) > CHUNK_BYTES;
        if full && last && index == shared.len() {
            // Entries that come in order, as timers do, leave full chunks behind them.
            self.add_chunk(number + 1, address, value, mark);
            return None;
        }
        Arc::make_mut(shared).insert(index, address, value, mark);
        self.split_if_large(number);
        None
    }

    fn add_chunk(&mut self, number: usize, address: &Address<'_>, value: &[u8], mark: Mark) {
        let mut chunk = Chunk::default();
        chunk.insert(0, address, value, mark);
        self.chunks.insert(number, Arc::new(chunk));
    }

    fn split_if_large(&mut self, number: usize) {
        let Some(chunk) = self.chunks.get(number) else {
            return;
        };
        if chunk.live_bytes() <= CHUNK_BYTES || chunk.len() < 2 {
            return;
        }
        let middle = chunk.len() / 2;
        let (left, right) = (chunk.part(0, middle), chunk.part(middle, chunk.len()));
        if let Some(place) = self.chunks.get_mut(number) {
            *place = Arc::new(left);
        }
        self.chunks.insert(number + 1, Arc::new(right));
        // Large entries may have come to one side.
        self.split_if_large(number + 1);
        self.split_if_large(number);
    }

    /// Removes an entry; returns the length of its value, and its mark.
    pub(super) fn delete(&mut self, place: Place) -> Option<(usize, Mark)> {
        let Place { chunk: number, index } = place;
        let shared = self.chunks.get_mut(number)?;
        let (entry, mark) = shared.marked(index)?;
        let len = entry.value.len();
        if shared.len() == 1 {
            self.chunks.remove(number);
            return Some((len, mark));
        }
        Arc::make_mut(shared).remove(index);
        self.merge_if_small(number);
        Some((len, mark))
    }

    /// Joins a chunk that has become small with the next one, if that is small too.
    fn merge_if_small(&mut self, number: usize) {
        let (Some(chunk), Some(next)) = (self.chunks.get(number), self.chunks.get(number + 1)) else {
            return;
        };
        if chunk.live_bytes() > CHUNK_BYTES / 4 || next.live_bytes() > CHUNK_BYTES / 2 {
            return;
        }
        let mut joined = chunk.part(0, chunk.len());
        joined.push_all(next, 0, next.len());
        if let Some(place) = self.chunks.get_mut(number) {
            *place = Arc::new(joined);
        }
        self.chunks.remove(number + 1);
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.len()).sum()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The entries that were changed after the epoch `since` (`None`: all), in order. Chunks without any are not looked at.
    pub fn changed(&self, since: Option<u32>) -> impl Iterator<Item = Entry<'_>> {
        self.chunks
            .iter()
            .filter(move |chunk| since.is_none_or(|since| chunk.newest() > since))
            .flat_map(|chunk| chunk.iter_marked())
            .filter(move |(_, mark)| since.is_none_or(|since| mark.epoch > since))
            .map(|(entry, _)| entry)
    }

    /// A run of the entries that were changed after the epoch `since`.
    pub(super) fn after(&self, since: u32) -> Self {
        self.only(|mark| mark.epoch > since)
    }

    /// The entries with their marks, in order.
    pub(super) fn iter_marked(&self) -> impl Iterator<Item = (Entry<'_>, Mark)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter_marked())
    }

    /// A run of the entries that `keep` wants, which is asked in order.
    pub(super) fn only(&self, mut keep: impl FnMut(&Mark) -> bool) -> Self {
        let mut run = Self::default();
        for (entry, mark) in self.iter_marked() {
            if keep(&mark) {
                run.put(&Address::of_entry(&entry), entry.value, mark);
            }
        }
        run
    }

    /// The entries in order.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter_from(0))
    }

    /// The entries from `address` on, in order.
    pub(super) fn iter_from(&self, address: &Address<'_>) -> impl Iterator<Item = Entry<'_>> {
        let number = self.chunk_of(address);
        let from = self
            .chunks
            .get(number)
            .map_or(0, |chunk| chunk.search(address).unwrap_or_else(|at| at));
        self.chunks
            .iter()
            .skip(number)
            .enumerate()
            .flat_map(move |(step, chunk)| chunk.iter_from(if step == 0 { from } else { 0 }))
    }
}
