//! Where flow control aims: how long something may take, when part of it takes its time however little there is to do.

use std::time::Duration;

/// The most that a time may be of its fixed part. What it is worth is then at least half of it, between the doublings of an amount.
const FIXED_PARTS: u32 = 4;

/// How long an amount of records may take.
///
/// Usually that is the target, whatever the amount. But workers that share a processor wait for each other's turns, and when that alone takes longer than the target, no amount is small
/// enough: with fewer records everything takes as long as before, for nothing. So the aim moves as far as it must to be a few times the fixed part, and no further than the
/// target for each of the workers that take turns.
///
/// The fixed part follows from two amounts and the shortest times that they took, by the line through them. It is never more than a time that was seen.
#[derive(Debug)]
pub(super) struct Aim {
    target: Duration,
    limit: Duration,
    /// The amount before the present one.
    before: Option<Shortest>,
    present: Option<Shortest>,
}

/// An amount, and the shortest time that it took.
#[derive(Clone, Copy, Debug)]
struct Shortest {
    amount: u64,
    took: Duration,
}

impl Aim {
    /// Aims at `target` where `turns` workers take turns on a processor.
    pub(super) fn new(target: Duration, turns: u32) -> Self {
        Self {
            target,
            limit: target.saturating_mul(turns.max(1)),
            before: None,
            present: None,
        }
    }

    /// Notes that `amount` records took so long.
    pub(super) fn learn(&mut self, amount: u64, took: Duration) {
        match &mut self.present {
            Some(present) if present.amount == amount => present.took = present.took.min(took),
            present => {
                self.before = present.replace(Shortest { amount, took });
            }
        }
    }

    /// How long an amount may take.
    pub(super) fn time(&self) -> Duration {
        let fixed = self.fixed();
        // Half of the target is left for records, at least.
        if fixed * 2 <= self.target {
            return self.target;
        }
        fixed.saturating_mul(FIXED_PARTS).clamp(self.target, self.limit)
    }

    fn fixed(&self) -> Duration {
        let (Some(before), Some(present)) = (self.before, self.present) else {
            return Duration::ZERO;
        };
        let (less, more) = if before.amount < present.amount {
            (before, present)
        } else {
            (present, before)
        };
        let Some(for_the_rest) = more.took.checked_sub(less.took) else {
            return less.took.min(more.took);
        };
        #[expect(clippy::cast_precision_loss, reason = "amounts are below 2^53")]
        let share = less.amount as f64 / (more.amount - less.amount).max(1) as f64;
        less.took.saturating_sub(for_the_rest.mul_f64(share.min(1e6)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(200);

    /// The aim after amounts that took `fixed` and `each` for each record.
    fn aim(turns: u32, fixed: u64, each: u64) -> Duration {
        let mut aim = Aim::new(TARGET, turns);
        for amount in [128, 51, 102] {
            aim.learn(amount, Duration::from_millis(fixed + each * amount) + TARGET);
            aim.learn(amount, Duration::from_millis(fixed + each * amount));
        }
        aim.time()
    }

    #[test]
    fn it_is_the_target_where_no_worker_waits_for_another() {
        assert_eq!(Aim::new(TARGET, 1).time(), TARGET);
        assert_eq!(aim(1, 500, 0), TARGET);
        assert_eq!(aim(40, 0, 10), TARGET);
        assert_eq!(aim(40, 100, 1), TARGET);
    }

    #[test]
    fn it_is_a_few_times_what_takes_its_time_anyway_and_within_a_target_for_each_turn() {
        assert_eq!(aim(40, 500, 0), Duration::from_secs(2));
        assert_eq!(aim(40, 500, 100), Duration::from_secs(2));
        assert_eq!(aim(5, 500, 0), Duration::from_secs(1));
        assert_eq!(aim(40, 101, 10), Duration::from_millis(404));
    }

    #[test]
    fn what_takes_less_for_more_is_fixed_altogether_and_never_more_than_was_seen() {
        let mut aim = Aim::new(TARGET, 40);
        aim.learn(100, Duration::from_millis(900));
        assert_eq!(aim.time(), TARGET, "one amount tells nothing");
        aim.learn(200, Duration::from_millis(300));
        assert_eq!(aim.time(), Duration::from_millis(1200));
        aim.learn(200, Duration::from_millis(20));
        assert_eq!(aim.time(), TARGET);
    }
}
