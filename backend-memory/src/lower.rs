//! What may lie under the tables of a state: entries that are not in memory.

use crate::table::Parts;
use millpond_backend_api::{BackendResult, Entry, KeyBatch, KeyGroup};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The entries of one state that lie below its tables: in mapped snapshot files, or in a database that the tables are a write-back cache of.
///
/// The tables are asked first and hide what is below: an entry by its new value or by the note that it is deleted. A layer can be
/// replaced by another one with the same content.
///
/// # Contract
/// 1. Only groups of the state's range are asked for, from any thread.
/// 2. Each cell is given at most once, with its newest value; deleted ones are not given.
/// 3. What is found stays the same for every cell that the tables neither have nor note as deleted. Others may change: a database takes over what the
///    tables had at a snapshot ([`Deletions::below`](crate::kinds::Deletions::below)). Damage is an error, never a wrong value.
pub trait Lower: fmt::Debug + Send + Sync + 'static {
    /// The value of an entry: borrowed from what lives as long as the layer, such as a mapped file, or owned where it had to be fetched.
    /// The tables keep what is owned as clean entries of their own.
    ///
    /// # Errors
    /// [`Corrupted`](millpond_backend_api::BackendErrorKind::Corrupted) and those of the storage; also for the other calls.
    fn get(&self, group: KeyGroup, parts: &Parts<'_>) -> BackendResult<Option<Cow<'_, [u8]>>>;

    /// The values of many entries, in the order asked.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn get_many(&self, cells: &[(KeyGroup, Parts<'_>)]) -> BackendResult<Vec<Option<Cow<'_, [u8]>>>> {
        cells
            .iter()
            .map(|(group, parts)| self.get(*group, parts))
            .collect()
    }

    /// Whether a look-up costs so much, a read of a database, that the tables ask for all that a batch misses at once and keep what they
    /// got. Always the same for a layer.
    fn is_costly(&self) -> bool {
        false
    }

    /// Whether what is appended to a list may come without the list: the tables then hold [suffixes](crate::table::EntryView::suffix) and hand them on as such
    /// ([`Changed::appended`](crate::kinds::Changed::appended)), and ask by [`may_have`](Self::may_have) and [`get_as_of`](Self::get_as_of). Always the
    /// same for a layer.
    fn takes_suffixes(&self) -> bool {
        false
    }

    /// Whether there may be an entry; false only if there is none. Takes no time worth speaking of: rather true than a read.
    fn may_have(&self, _group: KeyGroup, _parts: &Parts<'_>) -> bool {
        true
    }

    /// The value of an entry, which the tables may have appended to, and the epoch up to which it has what was appended: all that was until then, and nothing
    /// later. To be overridden by a layer that [takes suffixes](Self::takes_suffixes).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn get_as_of(&self, group: KeyGroup, parts: &Parts<'_>) -> BackendResult<(Option<Cow<'_, [u8]>>, u32)> {
        Ok((self.get(group, parts)?, 0))
    }

    /// Calls `each` with the entries of the map that the head `map` addresses, in no order.
    ///
    /// # Errors
    /// As [`get`](Self::get), and those of `each`.
    fn visit_map(&self, group: KeyGroup, map: &Parts<'_>, each: &mut VisitEntry<'_>) -> BackendResult<()>;

    /// Calls `each` with the entries of the sorted map that the head `map` addresses, in order, from the map key `from` on, until it returns false.
    ///
    /// # Errors
    /// As [`get`](Self::get), and those of `each`.
    fn visit_from(
        &self,
        group: KeyGroup,
        map: &Parts<'_>,
        from: &[u8],
        each: &mut VisitWhile<'_>,
    ) -> BackendResult<()> {
        let mut entries: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        self.visit_map(group, map, &mut |entry| {
            if entry.map_key >= from {
                entries.push((entry.map_key.to_vec(), entry.value.to_vec()));
            }
            Ok(())
        })?;
        entries.sort_unstable();
        for (map_key, value) in &entries {
            let (key, namespace) = (map.key, map.namespace);
            if !each(Entry {
                key,
                namespace,
                map_key,
                value,
            })? {
                break;
            }
        }
        Ok(())
    }

    /// Calls `each` with every entry of a group; those of a sorted map in order.
    ///
    /// # Errors
    /// As [`get`](Self::get), and those of `each`.
    fn visit(&self, group: KeyGroup, each: &mut VisitEntry<'_>) -> BackendResult<()>;

    /// Fetches what [`get`](Self::get) will need for `keys`, without namespace; only a hint.
    fn prefetch(&self, _keys: &KeyBatch<'_>) {}
}

/// What is done with each entry of a visit.
pub type VisitEntry<'f> = dyn for<'e> FnMut(Entry<'e>) -> BackendResult<()> + 'f;

/// What is done with each entry of a visit, and whether it goes on.
pub type VisitWhile<'f> = dyn for<'e> FnMut(Entry<'e>) -> BackendResult<bool> + 'f;

/// A lower layer, if there is one.
pub type LowerLayer = Option<Arc<dyn Lower>>;
