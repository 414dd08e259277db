//! What a record must be.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A record of a stream, a key, or a value of state: anything that serde can write and read back, that can be cloned and sent.
///
/// Implemented for every type that qualifies. Numbers, tuples, arrays and structs of such have a fixed width in
/// [the encoding](crate::codec), which makes them the fastest keys and state values.
pub trait Data: Clone + Send + Serialize + DeserializeOwned + 'static {}

impl<T: Clone + Send + Serialize + DeserializeOwned + 'static> Data for T {}

/// Milliseconds since 1970-01-01 UTC: event time, watermarks and the timestamps of timers.
pub type TimestampMs = i64;

/// The watermark before the first one: nothing is known yet.
pub const WATERMARK_MIN: TimestampMs = i64::MIN;

/// The watermark at the end of a stream: no record will follow.
pub const WATERMARK_MAX: TimestampMs = i64::MAX;
