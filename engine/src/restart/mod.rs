//! Restart strategies: whether and when a failed job starts again.
//!
//! A strategy is pure: it is told when an attempt failed and answers with a [`Decision`]; clock and randomness come from the caller.
//! The four are Flink's (`restart-strategy.type`), with its defaults.

mod settings;

pub use settings::RestartSettings;

use std::time::Duration;

/// What to do after a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start the next attempt after this time.
    RestartAfter(Duration),
    /// The job has failed for good; the text says which rule was used up.
    GiveUp(String),
}
