//! What may lie under the tables of a state: entries that are not in memory.

use crate::table::Parts;
use millpond_backend_api::{BackendResult, Entry, KeyBatch, KeyGroup};
use std::fmt;
use std::sync::Arc;

/// The entries of one state that lie below its tables, such as in mapped snapshot files.
///
/// The tables are asked first and hide what is below: an entry by its new value or by the note that it is deleted. A lower layer never
/// changes; it can be replaced by another one with the same content.
///
/// # Contract
/// 1. Only groups of the state's range are asked for, from any thread.
/// 2. Each cell is given at most once, with its newest value; deleted ones are not given.
/// 3. What is found stays the same for as long as the layer lives. Damage is an error, never a wrong value.
pub trait Lower: fmt::Debug + Send + Sync + 'static {
    /// The value of an entry.
    ///
    /// # Errors
    /// [`Corrupted`](millpond_backend_api::BackendErrorKind::Corrupted) and those of the storage; also for the other calls.
    fn get(&self, group: KeyGroup, parts: &Parts<'_>) -> BackendResult<Option<&[u8]>>;

    /// Calls `each` with the entries of the map that the head `map` addresses, in no order.
    ///
    /// # Errors
    /// As [`get`](Self::get), and those of `each`.
    fn visit_map<'a>(
        &'a self,
        group: KeyGroup,
        map: &Parts<'_>,
        each: &mut VisitEntry<'_, 'a>,
    ) -> BackendResult<()>;

    /// Calls `each` with every entry of a group; those of a sorted map in order.
    ///
    /// # Errors
    /// As [`get`](Self::get), and those of `each`.
    fn visit<'a>(&'a self, group: KeyGroup, each: &mut VisitEntry<'_, 'a>) -> BackendResult<()>;

    /// Fetches what [`get`](Self::get) will need for `keys`, without namespace; only a hint.
    fn prefetch(&self, _keys: &KeyBatch<'_>) {}
}

/// What is done with each entry of a visit, whose bytes lie in a layer that lives for `'a`.
pub type VisitEntry<'f, 'a> = dyn FnMut(Entry<'a>) -> BackendResult<()> + 'f;

/// A lower layer, if there is one.
pub type LowerLayer = Option<Arc<dyn Lower>>;
