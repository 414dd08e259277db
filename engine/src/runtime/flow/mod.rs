//! Flow control: how many records a source may have on their way to the sinks.
//!
//! Timely has none of its own, so a source counts what it emitted and what the frontier at the sinks has passed. The window is found by
//! feeling for it, as TCP does: while records come through in less than half the target time the window doubles, and when they take longer
//! than the target it shrinks in proportion. What is in flight is then worth about the target's time of processing, whatever the job
//! does with a record; so is the time that a barrier waits under backpressure.
//!
//! A worker runs its operators in turn, and a barrier needs several rounds to get through. So a source also emits no more at a time than
//! what keeps a round within a small part of the target: the *quantum*, found in the same way from how long its rounds take. Nor more than what leads to some batches
//! behind the chain: a line is ten words, and ten times as many batches would not wait in the cache but in new memory.
//!
//! Where many workers share a processor, rounds and ways take long however few records there are; [`aim`] is about that.

mod aim;

use self::aim::Aim;
use super::batch::BATCH_RECORDS;
use super::time::Time;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The window that a source begins with, in records: short enough that a sink of a millisecond a record does not hold up the first barrier.
const WINDOW_START: u64 = 128;
/// More in flight would only fill memory: at a hundred million records a second this is milliseconds of work.
const WINDOW_MAX: u64 = 256 * 1024;

/// The quantum that a source begins with, in records.
const QUANTUM_START: u64 = 64;
/// The most records of a round, in batches: what a round costs beside them is small then, and the batches still wait for the next operator in the cache.
const QUANTUM_MAX: u64 = 4 * BATCH_RECORDS as u64;
/// The part of the target that a round of the worker may take.
const ROUNDS_PER_TARGET: u32 = 8;

/// The window of one source subtask.
#[derive(Debug)]
pub(crate) struct Flow {
    /// How long a round may take.
    round_aim: Aim,
    quantum: u64,
    /// How many records left the chain for each that was emitted in the last round, rounded up; at least 1.
    spread: u64,
    /// When the source emitted last, if it went on at once: what it sees of a round.
    round: Option<Round>,
    /// How long the way of a record may take.
    way_aim: Aim,
    window: u64,
    in_flight: u64,
    /// What is in flight, in the order of time: when it was emitted, how many records.
    sent: VecDeque<Sent>,
    /// The window stood in the way since it was changed last: only then says a short way something about the window.
    exhausted: bool,
    changed: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Round {
    began: Instant,
    /// The quantum was used up.
    is_full: bool,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    time: Time,
    at: Instant,
    records: u64,
}

impl Flow {
    /// A window that aims at records taking `target` to be processed, in a process where `turns` workers take turns on a processor.
    pub(crate) fn new(target: Duration, turns: u32) -> Self {
        Self {
            round_aim: Aim::new(target / ROUNDS_PER_TARGET, turns),
            quantum: QUANTUM_START,
            spread: 1,
            round: None,
            way_aim: Aim::new(target, turns),
            window: WINDOW_START,
            in_flight: 0,
            sent: VecDeque::new(),
            exhausted: false,
            changed: None,
        }
    }

    /// How many records may be emitted now.
    pub(crate) fn available(&mut self) -> u64 {
        let available = self.window.saturating_sub(self.in_flight);
        // A window that does not hold another round is too small to tell how long a way is.
        self.exhausted |= available < self.quantum;
        available
    }

    /// How many records may be emitted in the round that begins `now`; at least 1.
    pub(crate) fn quantum(&mut self, now: Instant) -> u64 {
        if let Some(round) = self.round.take() {
            let took = now.saturating_duration_since(round.began);
            if round.is_full {
                self.round_aim.learn(self.quantum, took);
            }
            let wanted = self.round_aim.time();
            if took > wanted {
                let share = wanted.as_secs_f64() / took.as_secs_f64();
                self.quantum = scale(self.quantum, share.max(0.1)).max(1);
            } else if took * 2 < wanted && round.is_full {
                self.quantum = (self.quantum * 2).min(QUANTUM_MAX);
            }
        }
        self.quantum = self.quantum.min(QUANTUM_MAX / self.spread).max(1);
        self.quantum
    }

    /// Notes that `emitted` records of the source led to `sent` records that left its chain.
    pub(crate) fn led_to(&mut self, emitted: u64, sent: u64) {
        if emitted > 0 {
            self.spread = sent.div_ceil(emitted).max(1);
        }
    }

    /// Notes that `records` were emitted in a round that began at `began`, and that the source goes on with the next one.
    pub(crate) fn goes_on(&mut self, records: u64, began: Instant) {
        self.round = (records > 0).then_some(Round {
            began,
            is_full: records >= self.quantum,
        });
    }

    /// Whether anything is in flight.
    pub(crate) fn is_in_flight(&self) -> bool {
        self.in_flight > 0
    }

    /// Notes that `records` were emitted at `time`, `now`.
    pub(crate) fn sent(&mut self, time: Time, records: u64, now: Instant) {
        if records > 0 {
            self.in_flight += records;
            self.sent.push_back(Sent {
                time,
                at: now,
                records,
            });
        }
    }

    /// Notes that everything below `frontier` has been processed, `None`: everything at all.
    pub(crate) fn passed(&mut self, frontier: Option<Time>, now: Instant) {
        let mut took = None;
        while let Some(sent) = self.sent.front().copied() {
            if frontier.is_some_and(|frontier| sent.time >= frontier) {
                break;
            }
            self.sent.pop_front();
            self.in_flight -= sent.records;
            took = Some(now.saturating_duration_since(sent.at));
        }
        if let Some(took) = took {
            self.adapt(took, now);
        }
    }

    fn adapt(&mut self, took: Duration, now: Instant) {
        // What a change does is seen only after what was sent before has come through.
        let is_settled = self
            .changed
            .is_none_or(|changed| now.saturating_duration_since(changed) >= took);
        if is_settled {
            self.way_aim.learn(self.window, took);
        }
        let wanted = self.way_aim.time();
        if took > wanted {
            if is_settled {
                let share = wanted.as_secs_f64() / took.as_secs_f64();
                self.set_window(scale(self.window, share.max(0.1)), now);
            }
        } else if took * 2 < wanted && self.exhausted {
            self.set_window(self.window.saturating_mul(2), now);
        }
    }

    fn set_window(&mut self, window: u64, now: Instant) {
        self.window = window.clamp(1, WINDOW_MAX);
        self.exhausted = false;
        self.changed = Some(now);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a window is below 2^53, and a share of it is rounded on purpose"
)]
fn scale(window: u64, share: f64) -> u64 {
    (window as f64 * share) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a source against a sink that takes `record` for each record, and returns the window and the longest way at the end.
    fn steady_state(record: Duration, emitted: u64) -> (u64, Duration) {
        steady_state_of_turns(1, Duration::ZERO, record, emitted)
    }

    /// The same where `turns` workers take turns on a processor, which makes each way longer by `fixed`.
    fn steady_state_of_turns(turns: u32, fixed: Duration, record: Duration, emitted: u64) -> (u64, Duration) {
        let mut flow = Flow::new(Duration::from_millis(200), turns);
        let start = Instant::now();
        let mut now = start;
        let (mut time, mut last, mut sent) = (0, Duration::ZERO, 0);
        let mut sink_free_at = start;
        let mut queue = VecDeque::new();
        while sent < emitted {
            let available = flow.available();
            if available > 0 {
                let records = available.min(4096);
                flow.sent(time, records, now);
                sink_free_at = sink_free_at.max(now) + record * u32::try_from(records).unwrap();
                queue.push_back((time, now, sink_free_at + fixed));
                time += 1;
                sent += records;
            } else {
                let (passed, emitted_at, done) = queue.pop_front().unwrap();
                now = now.max(done);
                last = done - emitted_at;
                flow.passed(Some(passed + 1), now);
            }
        }
        (flow.window, last)
    }

    #[test]
    fn a_slow_sink_gets_a_window_of_about_the_target() {
        let (window, last) = steady_state(Duration::from_millis(1), 5000);
        assert!((50..=250).contains(&window), "{window}");
        assert!(last <= Duration::from_millis(300), "{last:?}");
    }

    #[test]
    fn a_very_slow_sink_is_fed_record_by_record() {
        let (window, _) = steady_state(Duration::from_secs(1), 400);
        assert_eq!(window, 1);
    }

    #[test]
    fn the_window_is_not_given_up_for_what_takes_its_time_whatever_the_window() {
        let (record, fixed) = (Duration::from_nanos(10), Duration::from_millis(500));
        let (window, last) = steady_state_of_turns(40, fixed, record, 20_000_000);
        assert_eq!(window, WINDOW_MAX);
        assert!(last <= fixed * 2, "{last:?}");
        // Where every worker has a processor, a way that is too long is the window's fault.
        let (window, _) = steady_state_of_turns(1, fixed, record, 400);
        assert!(window <= 2, "{window}");
    }

    #[test]
    fn a_slow_sink_gets_a_window_of_about_the_target_also_where_workers_take_turns() {
        let (window, last) = steady_state_of_turns(40, Duration::ZERO, Duration::from_millis(1), 5000);
        assert!((50..=250).contains(&window), "{window}");
        assert!(last <= Duration::from_millis(300), "{last:?}");
    }

    #[test]
    fn a_fast_sink_gets_the_largest_window() {
        let (window, _) = steady_state(Duration::from_nanos(10), 20_000_000);
        assert_eq!(window, WINDOW_MAX);
    }

    #[test]
    fn a_round_takes_a_small_part_of_the_target_whatever_a_record_costs() {
        for (record, expected) in [
            (Duration::from_millis(1), 10..=25),
            (Duration::from_secs(1), 1..=1),
            (Duration::from_nanos(20), QUANTUM_MAX..=QUANTUM_MAX),
        ] {
            let mut flow = Flow::new(Duration::from_millis(200), 1);
            let mut now = Instant::now();
            for _ in 0..100 {
                let records = flow.quantum(now);
                flow.goes_on(records, now);
                now += record * u32::try_from(records).unwrap();
            }
            assert!(
                expected.contains(&flow.quantum),
                "{record:?} a record: {}",
                flow.quantum
            );
        }
    }

    #[test]
    fn the_quantum_is_not_given_up_for_what_takes_its_time_whatever_the_quantum() {
        for (turns, expected) in [(40, QUANTUM_MAX), (1, 1)] {
            let mut flow = Flow::new(Duration::from_millis(200), turns);
            let mut now = Instant::now();
            for _ in 0..100 {
                let records = flow.quantum(now);
                flow.goes_on(records, now);
                now +=
                    Duration::from_millis(100) + Duration::from_nanos(20) * u32::try_from(records).unwrap();
            }
            assert_eq!(flow.quantum, expected, "{turns} turns");
        }
    }

    #[test]
    fn window_and_quantum_grow_together_where_a_round_passes_the_frontier_of_the_one_before() {
        let mut flow = Flow::new(Duration::from_millis(200), 1);
        let mut now = Instant::now();
        for time in 0..100 {
            flow.passed(Some(time), now);
            let records = flow.available().min(flow.quantum(now));
            flow.sent(time, records, now);
            flow.goes_on(records, now);
            now += Duration::from_nanos(20) * u32::try_from(records).unwrap();
        }
        assert_eq!(flow.quantum, QUANTUM_MAX);
        assert!(flow.window >= QUANTUM_MAX, "{}", flow.window);
    }

    #[test]
    fn a_round_leads_to_a_few_batches_however_many_records_come_of_one() {
        let mut flow = Flow::new(Duration::from_millis(200), 1);
        let mut now = Instant::now();
        for (sent_for_each, expected) in [
            (10, QUANTUM_MAX / 10),
            (QUANTUM_MAX * 2, 1),
            (0, QUANTUM_MAX),
            (1, QUANTUM_MAX),
        ] {
            for _ in 0..100 {
                let records = flow.quantum(now);
                flow.led_to(records, records * sent_for_each);
                flow.goes_on(records, now);
                now += Duration::from_nanos(20) * u32::try_from(records).unwrap();
            }
            assert_eq!(flow.quantum(now), expected, "{sent_for_each} for each");
        }
        // Nothing was emitted, so nothing is known.
        flow.led_to(0, 0);
        assert_eq!(flow.quantum(now), QUANTUM_MAX);
    }

    #[test]
    fn a_source_that_has_little_to_emit_keeps_its_window() {
        let mut flow = Flow::new(Duration::from_millis(200), 1);
        let now = Instant::now();
        for time in 0..100 {
            assert!(flow.available() > 0);
            flow.sent(time, 1, now);
            flow.passed(Some(time + 1), now);
        }
        assert_eq!(flow.window, WINDOW_START);
        assert!(!flow.is_in_flight());
    }
}
