//! When and how often a failed job is started again.

use std::time::Duration;

use super::options;
use crate::config::{ConfigOption, RestartStrategyType};

/// `execution-retries.default` (Flink before 1.0): a positive count asked for a fixed delay, 0 for no restart, -1 said nothing.
fn strategy_of_retries(count: &str) -> Option<String> {
    match count.parse::<i64>() {
        Ok(1..) => Some("fixed-delay".to_owned()),
        Ok(0) => Some("disable".to_owned()),
        // What is no number is reported by the option that takes the count.
        _ => None,
    }
}

fn attempts_of_retries(count: &str) -> Option<String> {
    (count != "-1").then(|| count.to_owned())
}

/// Java's largest `int`, which Flink takes for no bound.
pub(in crate::config) const UNBOUNDED: u32 = 2_147_483_647;

options! {
    "Restart strategy";

    /// When a failed job is started again. Unset: `exponential-delay` if checkpoints are on, else `disable`. A positive
    /// `execution-retries.default` is read as `fixed-delay`.
    TYPE: RestartStrategyType = "restart-strategy.type"
        .with_old_keys(&["restart-strategy"])
        .with_translated_keys(&[("execution-retries.default", strategy_of_retries)]);

    /// `fixed-delay`: restarts before the job fails for good.
    FIXED_DELAY_ATTEMPTS: u32 = "restart-strategy.fixed-delay.attempts"
        .with_default("1")
        .with_translated_keys(&[("execution-retries.default", attempts_of_retries)]);

    /// `fixed-delay`: pause before a restart.
    FIXED_DELAY_DELAY: Duration = "restart-strategy.fixed-delay.delay"
        .with_default("1 s")
        .with_old_keys(&["execution-retries.delay"]);

    /// `failure-rate`: failures within the interval that are still followed by a restart.
    FAILURE_RATE_MAX_FAILURES: u32 = "restart-strategy.failure-rate.max-failures-per-interval"
        .with_default("1")
        .accepting(|count| *count >= 1, "a whole number of at least 1");

    /// `failure-rate`: the interval in which failures are counted.
    FAILURE_RATE_INTERVAL: Duration = "restart-strategy.failure-rate.failure-rate-interval"
        .with_default("1 min")
        .accepting(|interval| !interval.is_zero(), "a duration of more than 0");

    /// `failure-rate`: pause before a restart.
    FAILURE_RATE_DELAY: Duration = "restart-strategy.failure-rate.delay".with_default("1 s");

    /// `exponential-delay`: the first pause.
    EXPONENTIAL_INITIAL_BACKOFF: Duration = "restart-strategy.exponential-delay.initial-backoff"
        .with_default("1 s")
        .accepting(|pause| *pause >= Duration::from_millis(1), "a duration of at least 1 ms");

    /// `exponential-delay`: the longest pause.
    EXPONENTIAL_MAX_BACKOFF: Duration = "restart-strategy.exponential-delay.max-backoff"
        .with_default("1 min")
        .accepting(|pause| *pause >= Duration::from_millis(1), "a duration of at least 1 ms");

    /// `exponential-delay`: how much longer each pause is than the one before.
    EXPONENTIAL_MULTIPLIER: f64 = "restart-strategy.exponential-delay.backoff-multiplier"
        .with_default("1.5")
        .accepting(|factor| *factor >= 1.0, "a number of at least 1");

    /// `exponential-delay`: time without a failure after which the pause is the first one again.
    EXPONENTIAL_RESET_THRESHOLD: Duration = "restart-strategy.exponential-delay.reset-backoff-threshold"
        .with_default("1 h")
        .accepting(|quiet| !quiet.is_zero(), "a duration of more than 0");

    /// `exponential-delay`: share of the pause that is added or taken away at random.
    EXPONENTIAL_JITTER: f64 = "restart-strategy.exponential-delay.jitter-factor"
        .with_default("0.1")
        .accepting(|share| (0.0..=1.0).contains(share), "a share from 0 to 1");

    /// `exponential-delay`: restarts without such a quiet time before the job fails for good.
    EXPONENTIAL_ATTEMPTS: u32 = "restart-strategy.exponential-delay.attempts-before-reset-backoff"
        .with_default("2147483647");
}
