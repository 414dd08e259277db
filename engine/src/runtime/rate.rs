//! A throttle for sources: at most so many records a second.

use std::time::{Duration, Instant};

/// How much a throttled source may emit at once: the records of this long.
const BURST: Duration = Duration::from_millis(20);

/// Spreads records evenly over time.
#[derive(Debug)]
pub(crate) struct Throttle {
    records_per_s: f64,
    /// The moment up to which the rate has been used.
    used_to: Instant,
}

impl Throttle {
    pub(crate) fn new(records_per_s: f64, now: Instant) -> Self {
        Self {
            records_per_s: records_per_s.max(f64::MIN_POSITIVE),
            used_to: now,
        }
    }

    /// How many records may be emitted at `now`, or how long to wait for the next one.
    pub(crate) fn available(&mut self, now: Instant) -> Result<u64, Duration> {
        if now < self.used_to {
            return Err(self.used_to - now);
        }
        // Time that was not used is lost, but for a burst.
        if let Some(earliest) = now.checked_sub(BURST) {
            self.used_to = self.used_to.max(earliest);
        }
        let unused = now.saturating_duration_since(self.used_to).as_secs_f64();
        // At least one: the time of the last record is over.
        Ok(whole(unused * self.records_per_s).max(1))
    }

    /// Notes that `records` were emitted.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a batch has far fewer than 2^53 records"
    )]
    pub(crate) fn emitted(&mut self, records: u64) {
        self.used_to += Duration::from_secs_f64((records as f64 / self.records_per_s).min(1e9));
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count below 2^53, rounded down"
)]
fn whole(records: f64) -> u64 {
    records as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emitted_in(seconds: u64, rate: f64, most_at_once: u64) -> u64 {
        let start = Instant::now();
        let mut throttle = Throttle::new(rate, start);
        let (mut now, mut emitted) = (start, 0);
        while now < start + Duration::from_secs(seconds) {
            match throttle.available(now) {
                Ok(records) => {
                    let records = records.min(most_at_once);
                    throttle.emitted(records);
                    emitted += records;
                }
                Err(wait) => now += wait,
            }
        }
        emitted
    }

    #[test]
    fn the_rate_is_kept_whatever_it_is() {
        for rate in [0.5, 3.0, 1000.0, 1e6] {
            let emitted = emitted_in(20, rate, u64::MAX);
            let expected = whole(rate * 20.0);
            let slack = expected / 50 + 2;
            assert!(
                emitted.abs_diff(expected) <= slack,
                "rate {rate}: {emitted} instead of {expected}"
            );
        }
    }

    #[test]
    fn unused_time_is_not_saved_up() {
        let start = Instant::now();
        let mut throttle = Throttle::new(1000.0, start);
        let records = throttle.available(start + Duration::from_secs(60)).unwrap();
        assert!(records <= 21, "{records}");
    }
}
