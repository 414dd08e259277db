//! The decision to keep the end of a value, which the binding takes for ever and RocksDB copies at once.
#![expect(
    unsafe_code,
    reason = "the binding wants the new value to live for ever, and needs it for the length of a call"
)]

use rocksdb::CompactionDecision;

/// Keeps `value`, which a filter was called with, from byte `from` on. To be returned by that call.
pub(super) fn keep_from(value: &[u8], from: usize) -> CompactionDecision {
    match value.get(from..) {
        Some(kept) if from > 0 => {
            // SAFETY: the binding hands address and length to RocksDB's C interface as soon as the filter has returned; that copies the bytes into a
            // string of its own (`rocksdb_compactionfilter_t::Filter`) before it returns to the compaction, which holds `value` until then.
            let kept = unsafe { std::slice::from_raw_parts(kept.as_ptr(), kept.len()) };
            CompactionDecision::Change(kept)
        }
        _ => CompactionDecision::Keep,
    }
}
