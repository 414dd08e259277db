//! Timestamps of the dataflow: a checkpoint epoch and a flow-control tick in one totally ordered number.
//!
//! The epoch is the high half, so a frontier that has left an epoch is the barrier of the checkpoint with that number. The tick is the low
//! half: sources raise it as they emit, and read off the frontier at the sinks how much of what they emitted is still on its way.

use timely::progress::frontier::AntichainRef;

/// A timestamp of the dataflow: `epoch << 32 | tick`.
pub(crate) type Time = u64;

/// The epoch of a time.
#[inline]
pub(crate) fn epoch_of(time: Time) -> u64 {
    time >> 32
}

/// The tick of a time.
#[inline]
pub(crate) fn tick_of(time: Time) -> u64 {
    time & 0xffff_ffff
}

/// The first time of an epoch.
#[inline]
pub(crate) fn epoch_start(epoch: u64) -> Time {
    epoch << 32
}

/// The least time of a frontier, `None` if it is empty: nothing will come any more.
#[inline]
pub(crate) fn least(frontier: AntichainRef<'_, Time>) -> Option<Time> {
    frontier.first().copied()
}
