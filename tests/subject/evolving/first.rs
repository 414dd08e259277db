//! The first release.

use super::merging::Merging;
use super::shown::{Shown, show};
use super::{Gate, RECENT, Release, kind_of, narrow};
use millpond_engine::Result;
use millpond_engine::api::ProcessContext;
use millpond_engine::state::{
    AggregateFunction, AggregatingState, ListState, MapState, MergingAggregateFunction, ReducingState,
    StateRegistry, ValueState,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct FirstVisits {
    pub(super) count: u32,
    pub(super) last: u64,
}

#[derive(Clone, Serialize, Deserialize)]
struct FirstKind {
    count: u32,
    unused: (bool, String),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum FirstMood {
    Calm,
    Busy(u32),
}

#[derive(Clone)]
struct FirstMean;

impl AggregateFunction for FirstMean {
    type Input = u64;
    type Accumulator = (u64, u64);
    type Output = u64;

    fn create(&self) -> (u64, u64) {
        (0, 0)
    }

    fn add(&self, value: u64, (sum, count): (u64, u64)) -> (u64, u64) {
        (sum + value, count + 1)
    }

    fn result(&self, (sum, count): &(u64, u64)) -> u64 {
        sum / count
    }
}

impl MergingAggregateFunction for FirstMean {
    fn merge(&self, left: (u64, u64), right: (u64, u64)) -> (u64, u64) {
        (left.0 + right.0, left.1 + right.1)
    }
}

/// The first release.
#[derive(Clone)]
pub(super) struct First {
    visits: ValueState<FirstVisits>,
    total: ValueState<u32>,
    recent: ListState<u32>,
    kinds: MapState<u8, FirstKind>,
    sum: ReducingState<u64>,
    mean: AggregatingState<FirstMean>,
    mood: ValueState<FirstMood>,
    merging: Merging<u32, FirstMean>,
    /// The second release does not know of it.
    given_up: ValueState<String>,
}

impl Release for First {
    fn open(states: &mut StateRegistry<'_>, _: &Gate) -> Result<Self> {
        Ok(Self {
            visits: states.value_state("visits")?,
            total: states.value_state("total")?,
            recent: states.list_state("recent")?,
            kinds: states.map_state("kinds")?,
            sum: states.reducing_state("sum", |left, right| left + right)?,
            mean: states.aggregating_state("mean", FirstMean)?,
            mood: states.value_state("mood")?,
            merging: Merging::open(states.with_namespaces(), FirstMean, |left, right| left + right)?,
            given_up: states.value_state("given up")?,
        })
    }

    fn enter(&self, record: u64, number: u64, context: &mut ProcessContext<'_, u64>) -> Result<String> {
        let before = self.visits.value(context)?;
        let count = before.as_ref().map_or(0, |before| before.count) + 1;
        self.visits
            .update(context, &FirstVisits { count, last: record })?;
        let total = self
            .total
            .modify(context, |total| total.unwrap_or(0) + narrow(number))?;
        if self.recent.get(context)?.len() == RECENT {
            self.recent.clear(context)?;
        }
        self.recent.add(context, &narrow(record))?;
        let kind = self.kinds.get(context, &kind_of(number))?;
        let kind = FirstKind {
            count: kind.map_or(0, |kind| kind.count) + 1,
            unused: (true, "unused".to_owned()),
        };
        self.kinds.put(context, &kind_of(number), &kind)?;
        let kinds = self.kinds.entries(context)?;
        self.sum.add(context, record)?;
        self.mean.add(context, record)?;
        let mood = self.mood.value(context)?;
        let next = match mood {
            Some(FirstMood::Calm) | None => FirstMood::Busy(narrow(number)),
            Some(FirstMood::Busy(_)) => FirstMood::Calm,
        };
        self.mood.update(context, &next)?;
        self.given_up.update(context, &format!("{record}"))?;
        let merged = self.merging.enter(record, narrow(1), number, context)?;
        Ok(show(Shown {
            merged,
            count: count.into(),
            last: before.map(|before| before.last),
            total: total.into(),
            recent: self.recent.get(context)?.into_iter().map(u64::from).collect(),
            kinds: kinds
                .into_iter()
                .map(|(kind, entry)| (kind, entry.count.into()))
                .collect(),
            sum: self.sum.get(context)?.unwrap_or(0).into(),
            mean: self.mean.get(context)?.unwrap_or(0),
            mood: mood.map_or_else(|| "None".to_owned(), |mood| format!("{mood:?}")),
        }))
    }
}
