//! Rules that all subtasks have, as broadcast state: of each kind the one that holds is the last by event time.

use millpond_engine::Result;
use millpond_engine::state::{
    BroadcastState, BroadcastStates, FunctionInitializationContext, MapStateDescriptor,
};

/// Rules by their kinds and event times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rulebook(BroadcastState<(u64, i64), u64>);

impl Rulebook {
    /// What the rules' stream is broadcast with.
    pub(crate) fn descriptor() -> MapStateDescriptor<(u64, i64), u64> {
        MapStateDescriptor::new("rules")
    }

    pub(crate) fn open(context: &mut FunctionInitializationContext<'_>) -> Result<Self> {
        context.get_broadcast_state(&Self::descriptor()).map(Self)
    }

    pub(crate) fn add(self, states: &mut BroadcastStates, (kind, time): (u64, i64), rule: u64) -> Result<()> {
        self.0.put(states, (kind, time), rule).map(drop)
    }

    /// The rule of a kind that holds at `time`, if there is one.
    pub(crate) fn at(self, states: &BroadcastStates, kind: u64, time: i64) -> Result<Option<u64>> {
        let known = self.0.entries(states)?;
        let last = known.range((kind, i64::MIN)..=(kind, time)).next_back();
        Ok(last.map(|(_, rule)| *rule))
    }

    /// Removes the rules of a kind that hold at no moment from `time` on: all up to it but the last.
    pub(crate) fn forget_before(self, states: &mut BroadcastStates, kind: u64, time: i64) -> Result<()> {
        let known = self.0.entries(states)?;
        let past = known.range((kind, i64::MIN)..=(kind, time));
        let old: Vec<_> = past.rev().skip(1).map(|(key, _)| *key).collect();
        old.iter()
            .try_for_each(|key| self.0.remove(states, key).map(drop))
    }
}
