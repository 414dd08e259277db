//! The four strategies.

use super::{Decision, RestartSettings};
use std::collections::VecDeque;
use std::time::Duration;

/// Decides after each failure of a job. One value lives as long as the job in this process.
#[derive(Clone, Debug)]
pub struct RestartStrategy {
    settings: RestartSettings,
    /// Failures since the start, or since the last reset.
    failures: u64,
    /// When the failures that still matter happened (failure rate).
    recent: VecDeque<Duration>,
    /// The pause before jitter (exponential delay).
    backoff: Duration,
    /// When the last restart was, or will be (exponential delay).
    restart_at: Option<Duration>,
}

impl RestartStrategy {
    /// A strategy that has seen no failure.
    #[must_use]
    pub fn new(settings: RestartSettings) -> Self {
        Self {
            settings,
            failures: 0,
            recent: VecDeque::new(),
            backoff: Duration::ZERO,
            restart_at: None,
        }
    }

    /// An attempt failed. `now` is the time since any fixed moment and must not go back; `jitter` is a random number in `-1.0..=1.0`, of which only
    /// exponential delay makes use.
    pub fn on_failure(&mut self, now: Duration, jitter: f64) -> Decision {
        self.failures = self.failures.saturating_add(1);
        match self.settings {
            RestartSettings::None => {
                Decision::GiveUp("no restarts are configured (restart-strategy.type: none)".into())
            }
            RestartSettings::FixedDelay { attempts, delay } => self.fixed_delay(attempts, delay),
            RestartSettings::FailureRate {
                max_failures,
                interval,
                delay,
            } => self.failure_rate(now, max_failures, interval, delay),
            RestartSettings::ExponentialDelay {
                initial,
                max,
                multiplier,
                reset_threshold,
                jitter_factor,
                attempts_before_reset,
            } => {
                if let Some(restart_at) = self.restart_at {
                    // One cause may show as several failures: those during the pause belong to the one before.
                    if now <= restart_at {
                        self.failures -= 1;
                        return Decision::RestartAfter(restart_at - now);
                    }
                    if now - restart_at >= reset_threshold {
                        self.failures = 1;
                    }
                }
                if self.failures > attempts_before_reset {
                    return Decision::GiveUp(format!(
                        "the job failed {} times without a quiet time of {reset_threshold:?} in between \
                         (restart-strategy.exponential-delay.attempts-before-reset-backoff: {attempts_before_reset})",
                        self.failures
                    ));
                }
                self.backoff = if self.failures == 1 {
                    initial.min(max)
                } else {
                    scale(self.backoff, multiplier).min(max)
                };
                let share = jitter.clamp(-1.0, 1.0) * jitter_factor.clamp(0.0, 1.0);
                let pause = scale(self.backoff, 1.0 + share).clamp(initial.min(max), max);
                self.restart_at = now.checked_add(pause);
                Decision::RestartAfter(pause)
            }
        }
    }

    fn fixed_delay(&self, attempts: u64, delay: Duration) -> Decision {
        if self.failures <= attempts {
            return Decision::RestartAfter(delay);
        }
        Decision::GiveUp(format!(
            "the job was restarted {attempts} times (restart-strategy.fixed-delay.attempts)"
        ))
    }

    fn failure_rate(
        &mut self,
        now: Duration,
        max_failures: u64,
        interval: Duration,
        delay: Duration,
    ) -> Decision {
        self.recent.push_back(now);
        while self
            .recent
            .front()
            .is_some_and(|oldest| now.saturating_sub(*oldest) > interval)
        {
            self.recent.pop_front();
        }
        let found = self.recent.len() as u64;
        if found <= max_failures {
            return Decision::RestartAfter(delay);
        }
        Decision::GiveUp(format!(
            "the job failed {found} times within {interval:?}, more than the {max_failures} allowed \
             (restart-strategy.failure-rate.max-failures-per-interval)"
        ))
    }
}

/// Scales without overflow; a factor that is no number counts as 1.
fn scale(duration: Duration, factor: f64) -> Duration {
    if factor.is_nan() {
        return duration;
    }
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor.max(0.0)).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each step: when the failure happens and the pause that must follow, in milliseconds; none: given up.
    fn run(settings: RestartSettings, jitter: f64, steps: &[(u64, Option<u64>)]) {
        let mut strategy = RestartStrategy::new(settings.clone());
        for (now, pause) in steps {
            let decision = strategy.on_failure(Duration::from_millis(*now), jitter);
            match (&decision, pause) {
                (Decision::RestartAfter(found), Some(pause)) => {
                    assert_eq!(
                        *found,
                        Duration::from_millis(*pause),
                        "{settings:?} at {now}: {steps:?}"
                    );
                }
                (Decision::GiveUp(reason), None) => {
                    assert!(reason.contains("restart-strategy."), "{reason}");
                }
                _ => panic!("{settings:?} at {now}: {decision:?}, expected {pause:?}"),
            }
        }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn none_gives_up_at_once() {
        run(RestartSettings::None, 0.0, &[(0, None)]);
    }

    #[test]
    fn fixed_delay_restarts_a_number_of_times_however_long_it_takes() {
        for (attempts, steps) in [
            (0, &[(0, None)][..]),
            (1, &[(0, Some(50)), (1_000_000_000, None)]),
            (
                3,
                &[(0, Some(50)), (1, Some(50)), (2, Some(50)), (3, None), (4, None)],
            ),
        ] {
            let settings = RestartSettings::FixedDelay {
                attempts,
                delay: ms(50),
            };
            run(settings, 0.0, steps);
        }
    }

    #[test]
    fn failure_rate_counts_in_a_sliding_window() {
        let settings = |max_failures| RestartSettings::FailureRate {
            max_failures,
            interval: ms(1000),
            delay: ms(50),
        };
        run(settings(0), 0.0, &[(0, None)]);
        run(settings(1), 0.0, &[(0, Some(50)), (1000, None)]);
        run(
            settings(1),
            0.0,
            &[(0, Some(50)), (1001, Some(50)), (2002, Some(50))],
        );
        run(
            settings(2),
            0.0,
            &[(0, Some(50)), (600, Some(50)), (1200, Some(50)), (1500, None)],
        );
    }

    fn exponential(attempts_before_reset: u64, jitter_factor: f64) -> RestartSettings {
        RestartSettings::ExponentialDelay {
            initial: ms(100),
            max: ms(1000),
            multiplier: 2.0,
            reset_threshold: ms(5000),
            jitter_factor,
            attempts_before_reset,
        }
    }

    #[test]
    fn exponential_delay_grows_to_its_bound_and_starts_afresh_after_a_quiet_time() {
        run(
            exponential(u64::MAX, 0.0),
            0.0,
            &[
                (0, Some(100)),
                (101, Some(200)),
                (302, Some(400)),
                (1000, Some(800)),
                (2000, Some(1000)),
                (4000, Some(1000)),
                // Quiet since the restart at 5000.
                (9999, Some(1000)),
                (15_999, Some(100)),
            ],
        );
    }

    #[test]
    fn failures_during_the_pause_are_one_failure() {
        run(
            exponential(2, 0.0),
            0.0,
            &[
                (0, Some(100)),
                (30, Some(70)),
                (100, Some(0)),
                (101, Some(200)),
                (302, None),
            ],
        );
    }

    #[test]
    fn attempts_are_counted_afresh_after_a_quiet_time() {
        run(
            exponential(1, 0.0),
            0.0,
            &[(0, Some(100)), (5100, Some(100)), (5201, None)],
        );
    }

    #[test]
    fn jitter_moves_the_pause_within_its_bounds_but_not_the_growth() {
        for (jitter, pauses) in [
            (1.0, [110, 220, 440, 880, 1000]),
            (-1.0, [100, 180, 360, 720, 900]),
            (0.5, [105, 210, 420, 840, 1000]),
        ] {
            let mut at = 0;
            let steps: Vec<_> = pauses
                .into_iter()
                .map(|pause| {
                    let step = (at, Some(pause));
                    at += pause + 1;
                    step
                })
                .collect();
            run(exponential(u64::MAX, 0.1), jitter, &steps);
        }
    }

    #[test]
    fn defaults_are_those_of_flink() {
        let minute = 60_000;
        let steps = [
            (0, Some(1000)),
            (minute, Some(1500)),
            (2 * minute, Some(2250)),
            (3 * minute, Some(3375)),
        ];
        run(RestartSettings::default_for(true), 0.0, &steps);
        run(RestartSettings::default_for(false), 0.0, &[(0, None)]);
    }

    #[test]
    fn absurd_numbers_neither_panic_nor_overflow() {
        let settings = RestartSettings::ExponentialDelay {
            initial: Duration::MAX,
            max: Duration::MAX,
            multiplier: f64::INFINITY,
            reset_threshold: Duration::ZERO,
            jitter_factor: f64::NAN,
            attempts_before_reset: u64::MAX,
        };
        let mut strategy = RestartStrategy::new(settings);
        for now in [Duration::ZERO, ms(1), Duration::MAX] {
            assert!(matches!(
                strategy.on_failure(now, f64::NAN),
                Decision::RestartAfter(_)
            ));
        }
    }
}
