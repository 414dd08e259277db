//! The line that `big-state` prints.

use super::shared::SharedFields;
use super::{Increment, Measured, Stretch};
use crate::args::BigStateArgs;
use crate::keeper::CheckpointFacts;
use crate::process;
use crate::report::{Spread, median, round};
use crate::sampler::{Growth, Sample, growth};
use serde::Serialize;

/// The line. Sizes are in bytes, or in units of 10^6 of them (`mb`).
#[derive(Debug, Serialize)]
pub(super) struct Row<'a> {
    engine: &'static str,
    version: &'static str,
    workload: &'static str,
    backend: &'a str,
    parallelism: u32,
    keys: u64,
    value_bytes: u32,
    interval_ms: u64,
    incremental: Option<bool>,
    runs: u32,
    update_seconds: u64,
    loadavg_start: Option<f64>,
    /// What the checkpoint of all keys stands for, as the backend counts it.
    state_bytes: u64,
    /// What it wrote.
    full_bytes: u64,
    fill_per_s: f64,
    #[serde(flatten)]
    shared: SharedFields,
    updates: Updates,
    checkpoints: Checkpoints,
    full_snapshot: FullSnapshot,
    memory: Memory,
    increment: Increments,
    /// Values were checked at each update, and at the end all were there and had been written as often as updates were made.
    verified: bool,
    keys_read: u64,
    writes_read: u64,
    writes_expected: Option<u64>,
    vm_hwm_mb: u64,
    loadavg_end: Option<f64>,
}

/// Throughput; medians over the pairs of parts.
#[derive(Debug, Serialize)]
struct Updates {
    per_s_without: Option<f64>,
    per_s_with: Option<f64>,
    /// Of each pair: with over without.
    ratio: Option<f64>,
    ratios: Vec<f64>,
    /// Parts without checkpoints that began while a checkpoint may still have been written.
    disturbed: usize,
}

/// Checkpoints that were triggered while updates went on.
#[derive(Debug, Serialize)]
struct Checkpoints {
    count: usize,
    sync_ms: Option<Spread>,
    sync_ms_per_gb: Option<Spread>,
    async_ms: Option<Spread>,
    alignment_ms: Option<Spread>,
    /// Of those that the bench did not hold.
    duration_ms: Option<Spread>,
    new_bytes: Option<Spread>,
    full: usize,
}

/// Checkpoints that wrote the whole state, beside plain writes of as many bytes. Medians.
#[derive(Debug, Serialize)]
struct FullSnapshot {
    /// With nothing else going on.
    count: usize,
    mb_per_s: Option<f64>,
    /// From trigger to completion, metadata and acknowledgements included.
    mb_per_s_to_completion: Option<f64>,
    /// Of each, in their order; the first is that of the first checkpoint with all keys.
    mb_per_s_all: Vec<f64>,
    plain_mb_per_s_all: Vec<f64>,
    plain_mb_per_s: Option<f64>,
    plain_mb_per_s_best: Option<f64>,
    ratio: Option<f64>,
    ratio_to_best: Option<f64>,
    sync_ms: Option<Spread>,
    sync_ms_per_gb: Option<Spread>,
    /// While updates went on.
    count_during_updates: usize,
    mb_per_s_during_updates: Option<f64>,
    ratio_during_updates: Option<f64>,
}

/// How resident memory grew; the largest of all.
#[derive(Debug, Serialize)]
struct Memory {
    /// Before the state was filled.
    rss_empty_mb: f64,
    /// The highest of the run.
    rss_peak_mb: f64,
    /// At the end of the first part without checkpoints.
    rss_before_mb: f64,
    anonymous_before_mb: f64,
    /// From the trigger of a checkpoint to its peak before it was complete.
    rss_growth_mb: f64,
    anonymous_growth_mb: f64,
    /// From the end of a part without checkpoints to the peak of the part with them that followed.
    rss_growth_over_part_mb: f64,
    anonymous_growth_over_part_mb: f64,
    /// The last but one over the state.
    growth_over_part_share: f64,
    /// Updates while the longest of these checkpoints ran: no more pages can have been touched.
    updates_during_checkpoint: u64,
}

/// Checkpoints after 1 % of the keys was changed. Medians.
#[derive(Debug, Serialize)]
struct Increments {
    keys: u64,
    new_bytes: Option<f64>,
    /// Over the bytes of the checkpoint of all keys.
    share: Option<f64>,
    shares: Vec<f64>,
    async_ms: Option<f64>,
    /// From trigger to completion.
    duration_ms: Option<Spread>,
    sync_ms: Option<Spread>,
}

impl<'a> Row<'a> {
    pub(super) fn of(args: &'a BigStateArgs, seen: &Measured, loadavg_start: Option<f64>) -> Self {
        let state = &args.state;
        Self {
            engine: "millpond",
            version: env!("CARGO_PKG_VERSION"),
            workload: "big-state",
            backend: &state.backend,
            parallelism: state.parallelism,
            keys: state.keys,
            value_bytes: state.value_bytes,
            interval_ms: u64::try_from(args.checkpoint_interval.as_millis()).unwrap_or(u64::MAX),
            incremental: state.incremental,
            runs: args.runs,
            update_seconds: args.update_seconds,
            loadavg_start,
            state_bytes: seen.first.state_bytes,
            full_bytes: seen.first.new_bytes,
            fill_per_s: (number(state.keys) / seen.fill_s.max(1e-9)).round(),
            shared: SharedFields::of(seen),
            updates: Updates::of(seen),
            checkpoints: Checkpoints::of(seen),
            full_snapshot: FullSnapshot::of(seen),
            memory: Memory::of(seen),
            increment: Increments::of(seen),
            verified: seen.is_right(),
            keys_read: seen.keys_read,
            writes_read: seen.writes_read,
            writes_expected: seen.writes_expected,
            vm_hwm_mb: process::peak_mb(),
            loadavg_end: process::load_average(),
        }
    }
}

impl Measured {
    pub(super) fn is_held(&self, facts: &CheckpointFacts) -> bool {
        self.held.iter().any(|(id, _)| *id == facts.id)
    }

    /// Checkpoints that were triggered while updates went on.
    pub(super) fn during_updates(&self) -> impl Iterator<Item = &CheckpointFacts> {
        let (from_ms, to_ms) = self.update_ms;
        let all = self.completed.iter();
        all.filter(move |facts| (from_ms..=to_ms).contains(&facts.triggered_unix_ms))
    }
}

impl Updates {
    fn of(seen: &Measured) -> Self {
        let all = |of: fn(&(Stretch, Stretch)) -> f64| seen.pairs.iter().map(of).collect::<Vec<_>>();
        let ratios = all(|(without, with)| with.updates_per_s() / without.updates_per_s().max(1e-9));
        let disturbed = seen.held.iter().filter(|(id, settle_ms)| {
            let facts = seen.during_updates().find(|facts| facts.id == *id);
            facts.is_some_and(|facts| facts.async_ms_max > *settle_ms)
        });
        Self {
            per_s_without: median(&all(|(without, _)| without.updates_per_s())).map(f64::round),
            per_s_with: median(&all(|(_, with)| with.updates_per_s())).map(f64::round),
            ratio: median(&ratios).map(|ratio| round(ratio, 1e3)),
            ratios: ratios.iter().map(|ratio| round(*ratio, 1e3)).collect(),
            disturbed: disturbed.count(),
        }
    }
}

impl Checkpoints {
    fn of(seen: &Measured) -> Self {
        let spread = |of: fn(&CheckpointFacts) -> f64| Spread::of(seen.during_updates().map(of));
        let not_held = seen.during_updates().filter(|facts| !seen.is_held(facts));
        Self {
            count: seen.during_updates().count(),
            sync_ms: spread(|facts| facts.sync_ms_max),
            sync_ms_per_gb: spread(|facts| facts.sync_ms_per_gb_max),
            async_ms: spread(|facts| facts.async_ms_max),
            alignment_ms: spread(|facts| facts.alignment_ms_max),
            duration_ms: Spread::of(not_held.map(|facts| number(facts.duration_ms))),
            new_bytes: spread(|facts| number(facts.new_bytes)),
            full: seen.during_updates().filter(|facts| facts.is_full()).count(),
        }
    }
}

impl FullSnapshot {
    fn of(seen: &Measured) -> Self {
        let idle = || {
            let before = seen.completed.iter();
            before.filter(|facts| {
                facts.triggered_unix_ms < seen.update_ms.0 && facts.is_full() && facts.id >= seen.first.id
            })
        };
        let loaded = || seen.during_updates().filter(|facts| facts.is_full());
        let rate = |facts: &CheckpointFacts| facts.write_mb_per_s();
        let to_completion =
            |facts: &CheckpointFacts| number(facts.new_bytes) / 1e3 / number(facts.duration_ms.max(1));
        let mb = number(seen.first.new_bytes) / 1e6;
        let plain: Vec<f64> = seen
            .plain
            .iter()
            .map(|took| mb / took.as_secs_f64().max(1e-9))
            .collect();
        let plain_all = rounded(plain.iter().copied());
        let (plain, best) = (median(&plain), plain.iter().copied().reduce(f64::max));
        let mb_per_s = middle(idle().map(rate));
        let during_updates = middle(loaded().map(rate));
        let over = |rate: Option<f64>, plain: Option<f64>| Some(round(rate? / plain?.max(1e-9), 1e3));
        Self {
            count: idle().count(),
            mb_per_s: mb_per_s.map(|rate| round(rate, 10.0)),
            mb_per_s_to_completion: middle(idle().filter(|facts| !seen.is_held(facts)).map(to_completion))
                .map(|rate| round(rate, 10.0)),
            mb_per_s_all: rounded(idle().map(rate)),
            plain_mb_per_s_all: plain_all,
            plain_mb_per_s: plain.map(|rate| round(rate, 10.0)),
            plain_mb_per_s_best: best.map(|rate| round(rate, 10.0)),
            ratio: over(mb_per_s, plain),
            ratio_to_best: over(mb_per_s, best),
            sync_ms: Spread::of(idle().map(|facts| facts.sync_ms_max)),
            sync_ms_per_gb: Spread::of(idle().map(|facts| facts.sync_ms_per_gb_max)),
            count_during_updates: loaded().count(),
            mb_per_s_during_updates: during_updates.map(|rate| round(rate, 10.0)),
            ratio_during_updates: over(during_updates, plain),
        }
    }
}

impl Memory {
    fn of(seen: &Measured) -> Self {
        let rss = |sample: &Sample| sample.rss_kb;
        let anonymous = |sample: &Sample| sample.anonymous_kb;
        let of_checkpoints = |of: fn(&Sample) -> u64| -> Vec<Growth> {
            let not_held = seen.during_updates().filter(|facts| !seen.is_held(facts));
            not_held
                .filter_map(|facts| {
                    let from_ms = facts.triggered_unix_ms;
                    growth(&seen.samples, from_ms, from_ms + facts.duration_ms, of)
                })
                .collect()
        };
        let of_parts = |of: fn(&Sample) -> u64| -> Vec<Growth> {
            let parts = seen.pairs.iter().map(|(_, with)| with);
            parts
                .filter_map(|with| growth(&seen.samples, with.begin.unix_ms, with.end.unix_ms, of))
                .collect()
        };
        let max_mb = |all: &[Growth]| mb(all.iter().map(|growth| growth.growth_kb).max().unwrap_or(0));
        let before = seen
            .pairs
            .first()
            .map(|(without, _)| without.end)
            .unwrap_or_default();
        let checkpoints = of_checkpoints(rss);
        let rss_growth_over_part_mb = max_mb(&of_parts(rss));
        let peak_kb = seen.samples.iter().map(rss).max();
        Self {
            rss_empty_mb: mb(seen.rss_empty_kb),
            rss_peak_mb: mb(peak_kb.unwrap_or(0)),
            rss_before_mb: mb(before.rss_kb),
            anonymous_before_mb: mb(before.anonymous_kb),
            rss_growth_mb: max_mb(&checkpoints),
            anonymous_growth_mb: max_mb(&of_checkpoints(anonymous)),
            rss_growth_over_part_mb,
            anonymous_growth_over_part_mb: max_mb(&of_parts(anonymous)),
            growth_over_part_share: round(
                rss_growth_over_part_mb * 1e6 / number(seen.first.state_bytes.max(1)),
                1e3,
            ),
            updates_during_checkpoint: checkpoints
                .iter()
                .map(|growth| growth.processed)
                .max()
                .unwrap_or(0),
        }
    }
}

impl Increments {
    fn of(seen: &Measured) -> Self {
        let share =
            |increment: &Increment| number(increment.facts.new_bytes) / number(seen.first.new_bytes.max(1));
        let all = || seen.increments.iter();
        Self {
            keys: all().next().map_or(0, |increment| increment.keys),
            new_bytes: middle(all().map(|increment| number(increment.facts.new_bytes))).map(f64::round),
            share: middle(all().map(share)).map(|share| round(share, 1e4)),
            shares: all().map(|increment| round(share(increment), 1e4)).collect(),
            async_ms: middle(all().map(|increment| increment.facts.async_ms_max)).map(|ms| round(ms, 10.0)),
            duration_ms: Spread::of(all().map(|increment| number(increment.facts.duration_ms))),
            sync_ms: Spread::of(all().map(|increment| increment.facts.sync_ms_max)),
        }
    }
}

fn middle(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    median(&numbers.collect::<Vec<_>>())
}

fn rounded(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    numbers.map(|number| round(number, 10.0)).collect()
}

/// KiB in units of 10^6 bytes.
fn mb(kb: u64) -> f64 {
    round(number(kb) * 1024.0 / 1e6, 10.0)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "no size, count or time here comes near 2^53"
)]
fn number(number: u64) -> f64 {
    number as f64
}
