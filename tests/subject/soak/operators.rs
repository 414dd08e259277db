//! What the job does with state that belongs to operators and not to keys: broadcast, list and union list state.

use super::{Event, Row};
use crate::say;
use millpond_engine::Result;
use millpond_engine::api::{
    Collector, FunctionContext, KeyedBroadcastContext, KeyedBroadcastProcessFunction, KeyedReadOnlyContext,
    ProcessFunction, Timer,
};
use millpond_engine::state::{
    BroadcastState, FunctionInitializationContext, FunctionSnapshotContext, ListStateDescriptor, MapState,
    MapStateDescriptor, OperatorListState, StateRegistry,
};

/// How many kinds of rules there are; that of a key is its remainder.
const KINDS: u64 = 5;
/// How many rows a subtask holds back.
const BATCH: usize = 24;

/// Rules by their kinds and event times.
pub(super) fn rules_state() -> MapStateDescriptor<(u64, i64), u64> {
    MapStateDescriptor::new("rules")
}

/// Waits until all rules up to a row's time are there, and writes behind it which one it falls under.
#[derive(Clone, Default)]
pub(super) struct ApplyRules {
    rules: Option<BroadcastState<(u64, i64), u64>>,
    waiting: Option<MapState<i64, Vec<String>>>,
}

impl KeyedBroadcastProcessFunction<u64, Row, Event, Row> for ApplyRules {
    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        self.rules = Some(context.get_broadcast_state(&rules_state())?);
        Ok(())
    }

    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.waiting = Some(states.map_state("waiting")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        (key, time, row): Row,
        context: &mut KeyedReadOnlyContext<'_, u64>,
        _: &mut Collector<Row>,
    ) -> Result<()> {
        let Some(waiting) = self.waiting else {
            return Ok(());
        };
        if time <= context.current_watermark() {
            say(format_args!("FAULT: a row of key {key} at {time} is late"));
        }
        let mut rows = waiting.get(context, &time)?.unwrap_or_default();
        rows.push(row);
        waiting.put(context, &time, &rows)?;
        context.register_event_time_timer(time)
    }

    fn process_broadcast_element(
        &mut self,
        (event, ..): Event,
        context: &mut KeyedBroadcastContext<'_, u64>,
        _: &mut Collector<Row>,
    ) -> Result<()> {
        let Some(rules) = self.rules else { return Ok(()) };
        let time = event.cast_signed();
        let kind = event % KINDS;
        rules.put(context.broadcast_states(), (kind, time), event)?;
        // Rows that are still to come or wait are later than the watermark: of the rules before it they need the last.
        let past = (kind, i64::MIN)..=(kind, context.current_watermark());
        let known = rules.entries(context.broadcast_states())?;
        let old: Vec<_> = known.range(past).rev().skip(1).map(|(key, _)| *key).collect();
        for key in old {
            rules.remove(context.broadcast_states(), &key)?;
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        context: &mut KeyedReadOnlyContext<'_, u64>,
        out: &mut Collector<Row>,
    ) -> Result<()> {
        let (Some(waiting), Some(rules)) = (self.waiting, self.rules) else {
            return Ok(());
        };
        let (key, time) = (context.current_key()?, timer.timestamp);
        let kind = key % KINDS;
        let known = rules.entries(context.broadcast_states())?;
        let rule = known.range((kind, i64::MIN)..=(kind, time)).next_back();
        let rule = rule.map(|(_, rule)| *rule);
        for row in waiting.get(context, &time)?.unwrap_or_default() {
            out.collect((key, time, format!("{row} {rule:?}")));
        }
        waiting.remove(context, &time)?;
        Ok(())
    }
}

/// Holds rows back in a list of the subtask, and hands on so many at once.
#[derive(Clone, Default)]
pub(super) struct HoldBack {
    rows: Option<OperatorListState<Row>>,
}

impl ProcessFunction<Row, Row> for HoldBack {
    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        self.rows = Some(context.get_list_state(&ListStateDescriptor::new("rows"))?);
        Ok(())
    }

    fn process_element(
        &mut self,
        row: Row,
        context: &mut FunctionContext<'_>,
        out: &mut Collector<Row>,
    ) -> Result<()> {
        let Some(rows) = self.rows else { return Ok(()) };
        rows.add(context.list_states(), row)?;
        if rows.get(context.list_states())?.len() >= BATCH {
            self.end_input(context, out)?;
        }
        Ok(())
    }

    fn end_input(&mut self, context: &mut FunctionContext<'_>, out: &mut Collector<Row>) -> Result<()> {
        let Some(rows) = self.rows else { return Ok(()) };
        for row in rows.take(context.list_states())? {
            out.collect(row);
        }
        Ok(())
    }
}

/// Holds rows back in a field, which is copied into a union list for each checkpoint; at a restore each subtask takes those of its keys.
#[derive(Clone, Default)]
pub(super) struct HoldBackInAField {
    rows: Vec<Row>,
    stored: Option<OperatorListState<Row>>,
}

impl ProcessFunction<Row, Row> for HoldBackInAField {
    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        let stored = context.get_union_list_state(&ListStateDescriptor::<Row>::new("rows"))?;
        let (subtask, parallelism) = (u64::from(context.subtask()), u64::from(context.parallelism()));
        let all = stored.take(context.list_states())?;
        self.rows = all
            .into_iter()
            .filter(|(key, ..)| key % parallelism == subtask)
            .collect();
        self.stored = Some(stored);
        Ok(())
    }

    fn process_element(
        &mut self,
        row: Row,
        context: &mut FunctionContext<'_>,
        out: &mut Collector<Row>,
    ) -> Result<()> {
        self.rows.push(row);
        if self.rows.len() >= BATCH {
            self.end_input(context, out)?;
        }
        Ok(())
    }

    fn snapshot_state(&mut self, context: &mut FunctionSnapshotContext<'_>) -> Result<()> {
        let Some(stored) = self.stored else { return Ok(()) };
        stored.update(context.list_states(), self.rows.clone())
    }

    fn end_input(&mut self, _: &mut FunctionContext<'_>, out: &mut Collector<Row>) -> Result<()> {
        for row in self.rows.drain(..) {
            out.collect(row);
        }
        Ok(())
    }
}
