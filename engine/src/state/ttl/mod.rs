//! State that expires: how long values live, what is seen of those that have expired, and who removes them.
//!
//! A state that is registered through [`StateRegistry::with_ttl`](super::StateRegistry::with_ttl) keeps the time of its last write, or of its last access, with each
//! value, each element of a list and each entry of a map, as `millpond_backend_api::ttl` describes. What has expired is hidden when it is read,
//! whatever the backend has dropped by then; the backend's part is to give the room back. Time is processing time. It is read once a batch, so
//! that all records of a batch see the same.

mod clock;
mod config;
mod expiry;

pub use clock::{ManualTtlTime, TtlTimeProvider};
pub use config::{CLEANUP_CELLS_DEFAULT, StateTtlConfig, StateTtlConfigBuilder, StateVisibility, TtlUpdate};

pub(crate) use clock::SystemTtlTime;
pub(crate) use expiry::{Expiry, TtlStates, damaged_element};
