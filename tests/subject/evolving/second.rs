//! The second release: other types.

use super::first::FirstVisits;
use super::merging::Merging;
use super::shown::{Shown, show};
use super::{Gate, RECENT, Release, kind_of};
use crate::say;
use millpond_engine::Result;
use millpond_engine::api::ProcessContext;
use millpond_engine::state::{
    AggregateFunction, AggregatingState, ListState, MapState, MergingAggregateFunction, ReducingState,
    StateRegistry, ValueState,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct SecondVisits {
    count: u64,
    last: Option<u64>,
    note: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct SecondKind {
    #[serde(default)]
    name: String,
    count: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum SecondMood {
    Idle { since: u64 },
    Busy(u64),
    Calm,
}

#[derive(Clone, Serialize, Deserialize)]
struct Seen {
    record: u64,
    text: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct MeanOf {
    count: u64,
    sum: u64,
}

impl MergingAggregateFunction for SecondMean {
    fn merge(&self, left: MeanOf, right: MeanOf) -> MeanOf {
        MeanOf {
            count: left.count + right.count,
            sum: left.sum + right.sum,
        }
    }
}

#[derive(Clone)]
struct SecondMean;

impl AggregateFunction for SecondMean {
    type Input = u64;
    type Accumulator = MeanOf;
    type Output = u64;

    fn create(&self) -> MeanOf {
        MeanOf { count: 0, sum: 0 }
    }

    fn add(&self, value: u64, MeanOf { count, sum }: MeanOf) -> MeanOf {
        MeanOf {
            count: count + 1,
            sum: sum + value,
        }
    }

    fn result(&self, accumulator: &MeanOf) -> u64 {
        accumulator.sum / accumulator.count
    }
}

/// The second release: some states by a function of its own, the others by their names.
#[derive(Clone)]
pub(super) struct Second {
    visits: ValueState<SecondVisits>,
    total: ValueState<u64>,
    recent: ListState<Seen>,
    kinds: MapState<u8, SecondKind>,
    sum: ReducingState<u128>,
    mean: AggregatingState<SecondMean>,
    mood: ValueState<SecondMood>,
    merging: Merging<u64, SecondMean>,
}

impl Release for Second {
    fn open(states: &mut StateRegistry<'_>, gate: &Gate) -> Result<Self> {
        let gate = gate.clone();
        Ok(Self {
            mood: states.value_state("mood")?,
            merging: Merging::open(
                states
                    .with_migration(|(sum, count): (u64, u64)| MeanOf { count, sum })
                    .with_namespaces(),
                SecondMean,
                |left, right| left + right,
            )?,
            total: states.value_state("total")?,
            kinds: states.map_state("kinds")?,
            sum: states.reducing_state("sum", |left, right| left + right)?,
            visits: states
                .with_migration(move |FirstVisits { count, last }| {
                    gate.pass();
                    SecondVisits {
                        count: count.into(),
                        last: Some(last),
                        note: format!("{count} by the first release"),
                    }
                })
                .value_state("visits")?,
            recent: states
                .with_migration(|record: u32| Seen {
                    record: record.into(),
                    text: record.to_string(),
                })
                .list_state("recent")?,
            mean: states
                .with_migration(|(sum, count): (u64, u64)| MeanOf { count, sum })
                .aggregating_state("mean", SecondMean)?,
        })
    }

    fn enter(&self, record: u64, number: u64, context: &mut ProcessContext<'_, u64>) -> Result<String> {
        let before = self.visits.value(context)?;
        let (count, last, note) = before.map_or((0, None, String::new()), |visits| {
            (visits.count, visits.last, visits.note)
        });
        let visits = SecondVisits {
            count: count + 1,
            last: Some(record),
            note,
        };
        self.visits.update(context, &visits)?;
        let total = self.total.modify(context, |total| total.unwrap_or(0) + number)?;
        if self.recent.get(context)?.len() == RECENT {
            self.recent.clear(context)?;
        }
        let seen = Seen {
            record,
            text: record.to_string(),
        };
        self.recent.add(context, &seen)?;
        let recent = self.recent.get(context)?;
        let kind = self.kinds.get(context, &kind_of(number))?;
        let kind = SecondKind {
            name: kind.as_ref().map_or_else(String::new, |kind| kind.name.clone()),
            count: kind.map_or(0, |kind| kind.count) + 1,
        };
        self.kinds.put(context, &kind_of(number), &kind)?;
        let kinds = self.kinds.entries(context)?;
        self.sum.add(context, record.into())?;
        self.mean.add(context, record)?;
        let mood = self.mood.value(context)?;
        let next = match mood {
            Some(SecondMood::Busy(_)) => SecondMood::Calm,
            _ => SecondMood::Busy(number),
        };
        self.mood.update(context, &next)?;
        if recent.iter().any(|seen| seen.text != seen.record.to_string()) {
            say(format_args!("FAULT: an element has the text of another one"));
        }
        let merged = self.merging.enter(record, 1, number, context)?;
        Ok(show(Shown {
            merged,
            count: count + 1,
            last,
            total,
            recent: recent.into_iter().map(|seen| seen.record).collect(),
            kinds: kinds
                .into_iter()
                .map(|(kind, entry)| (kind, entry.count))
                .collect(),
            sum: self.sum.get(context)?.unwrap_or(0),
            mean: self.mean.get(context)?.unwrap_or(0),
            mood: mood.map_or_else(|| "None".to_owned(), |mood| format!("{mood:?}")),
        }))
    }
}
