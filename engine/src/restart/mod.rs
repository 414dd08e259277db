//! Restart strategies: whether and when a failed job starts again.
//!
//! [`RestartStrategy`] is pure: it is told when an attempt failed and answers with a [`Decision`]; clock and randomness come from the caller.
//! The four are Flink's (`restart-strategy.type`), with its defaults.
//!
//! ```
//! use millpond_engine::restart::{Decision, RestartSettings, RestartStrategy};
//! use std::time::Duration;
//!
//! let mut strategy = RestartStrategy::new(RestartSettings::fixed_delay());
//! let first = strategy.on_failure(Duration::from_secs(10), 0.0);
//! assert_eq!(first, Decision::RestartAfter(Duration::from_secs(1)));
//! let second = strategy.on_failure(Duration::from_secs(20), 0.0);
//! assert!(matches!(second, Decision::GiveUp(_)));
//! ```

mod settings;
mod strategy;

pub use settings::RestartSettings;
pub use strategy::RestartStrategy;

use std::time::Duration;

/// What to do after a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start the next attempt after this time.
    RestartAfter(Duration),
    /// The job has failed for good; the text says which rule was used up.
    GiveUp(String),
}
