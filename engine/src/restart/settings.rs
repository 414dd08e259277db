//! Settings of the restart strategies.

use std::time::Duration;

/// `restart-strategy.*`.
#[derive(Clone, Debug, PartialEq)]
pub enum RestartSettings {
    /// `disable`: the first failure is the last.
    None,
    /// `fixed-delay`: a number of restarts for the life of the job, each after the same pause.
    FixedDelay {
        /// `restart-strategy.fixed-delay.attempts`.
        attempts: u64,
        /// `restart-strategy.fixed-delay.delay`.
        delay: Duration,
    },
    /// `failure-rate`: gives up when there are more failures in a sliding window than allowed.
    FailureRate {
        /// `restart-strategy.failure-rate.max-failures-per-interval`.
        max_failures: u64,
        /// `restart-strategy.failure-rate.failure-rate-interval`.
        interval: Duration,
        /// `restart-strategy.failure-rate.delay`.
        delay: Duration,
    },
    /// `exponential-delay`: pauses that grow with every failure and start afresh after a quiet time.
    ExponentialDelay {
        /// `restart-strategy.exponential-delay.initial-backoff`.
        initial: Duration,
        /// `restart-strategy.exponential-delay.max-backoff`.
        max: Duration,
        /// `restart-strategy.exponential-delay.backoff-multiplier`, at least 1.
        multiplier: f64,
        /// `restart-strategy.exponential-delay.reset-backoff-threshold`.
        reset_threshold: Duration,
        /// `restart-strategy.exponential-delay.jitter-factor`, in `0.0..=1.0`.
        jitter_factor: f64,
        /// `restart-strategy.exponential-delay.attempts-before-reset-backoff`.
        attempts_before_reset: u64,
    },
}

impl RestartSettings {
    /// `fixed-delay` with Flink's defaults: one restart after 1 s.
    #[must_use]
    pub fn fixed_delay() -> Self {
        Self::FixedDelay {
            attempts: 1,
            delay: Duration::from_secs(1),
        }
    }

    /// `failure-rate` with Flink's defaults: one failure a minute, pause 1 s.
    #[must_use]
    pub fn failure_rate() -> Self {
        Self::FailureRate {
            max_failures: 1,
            interval: Duration::from_secs(60),
            delay: Duration::from_secs(1),
        }
    }

    /// `exponential-delay` with Flink's defaults: 1 s growing by 1.5 to 1 min, ± 10 %, reset after 1 h, without end.
    #[must_use]
    pub fn exponential_delay() -> Self {
        Self::ExponentialDelay {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(60),
            multiplier: 1.5,
            reset_threshold: Duration::from_secs(3600),
            jitter_factor: 0.1,
            attempts_before_reset: u64::MAX,
        }
    }

    /// What holds when nothing is configured: exponential delay if checkpoints are taken, else no restart.
    #[must_use]
    pub fn default_for(checkpointing: bool) -> Self {
        if checkpointing {
            Self::exponential_delay()
        } else {
            Self::None
        }
    }
}
