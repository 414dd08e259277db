//! Looks at the memory of this process and at the progress of a job all the time, beside what is measured.

use crate::keeper::Control;
use crate::process::{resident_kb, unix_ms};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A look costs some 20 µs.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What was seen at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// The wall clock, as that of checkpoints, in milliseconds since 1970.
    pub(crate) unix_ms: u64,
    /// Resident memory.
    pub(crate) rss_kb: u64,
    /// Resident memory that is neither file nor shared.
    pub(crate) anonymous_kb: u64,
    /// Records that the keyed function has processed.
    pub(crate) processed: u64,
}

impl Sample {
    pub(crate) fn now(control: &Control) -> Self {
        let (rss_kb, anonymous_kb) = resident_kb();
        Self {
            unix_ms: unix_ms(),
            rss_kb,
            anonymous_kb,
            processed: control.processed(),
        }
    }
}

/// Takes samples until it is dropped.
#[derive(Debug)]
pub(crate) struct Sampler {
    stop: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    pub(crate) fn start(control: Arc<Control>) -> Self {
        let (stop, samples) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<_>>>::default());
        let (should_stop, to) = (Arc::clone(&stop), Arc::clone(&samples));
        let thread = std::thread::spawn(move || {
            while !should_stop.load(Ordering::Relaxed) {
                let sample = Sample::now(&control);
                to.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
                std::thread::sleep(LOOK_EVERY);
            }
        });
        Self {
            stop,
            samples,
            thread: Some(thread),
        }
    }

    /// All samples so far, in their order.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.samples
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It does not panic.
            let _ = thread.join();
        }
    }
}

/// What happened to a number while something went on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Growth {
    /// Before it began.
    pub(crate) before_kb: u64,
    /// How much more there was at the peak.
    pub(crate) growth_kb: u64,
    /// Records processed meanwhile.
    pub(crate) processed: u64,
}

/// How far `of` grew from `from_ms` to `to_ms`, both in milliseconds since 1970; `None` without a sample before and one within.
pub(crate) fn growth(samples: &[Sample], from_ms: u64, to_ms: u64, of: fn(&Sample) -> u64) -> Option<Growth> {
    let begin = samples.partition_point(|sample| sample.unix_ms <= from_ms);
    let end = samples.partition_point(|sample| sample.unix_ms <= to_ms);
    let before = samples.get(begin.checked_sub(1)?)?;
    let within = samples.get(begin..end)?;
    let peak = within.iter().map(of).max()?;
    Some(Growth {
        before_kb: of(before),
        growth_kb: peak.saturating_sub(of(before)),
        processed: within.last()?.processed - before.processed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_from_the_sample_before_to_the_peak_within() {
        let sample = |unix_ms, rss_kb| Sample {
            unix_ms,
            rss_kb,
            anonymous_kb: 0,
            processed: unix_ms * 10,
        };
        let samples = [
            sample(1, 900),
            sample(5, 100),
            sample(9, 150),
            sample(12, 130),
            sample(20, 990),
        ];
        let seen = growth(&samples, 6, 13, |sample| sample.rss_kb);
        let expected = Growth {
            before_kb: 100,
            growth_kb: 50,
            processed: 70,
        };
        assert_eq!(seen, Some(expected));
        assert_eq!(growth(&samples, 0, 13, |sample| sample.rss_kb), None);
        assert_eq!(growth(&samples, 13, 14, |sample| sample.rss_kb), None);
    }
}
