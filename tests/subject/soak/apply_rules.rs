//! What the job does with state that all subtasks have.

use super::{Event, Row};
use crate::rulebook::Rulebook;
use crate::say;
use millpond_engine::Result;
use millpond_engine::api::{
    Collector, KeyedBroadcastContext, KeyedBroadcastProcessFunction, KeyedReadOnlyContext, Timer,
};
use millpond_engine::state::{FunctionInitializationContext, MapState, StateRegistry};

/// How many kinds of rules there are; that of a key is its remainder.
const KINDS: u64 = 5;

/// Waits until all rules up to a row's time are there, and writes behind it which one it falls under.
#[derive(Clone, Default)]
pub(super) struct ApplyRules {
    rules: Option<Rulebook>,
    waiting: Option<MapState<i64, Vec<String>>>,
}

impl KeyedBroadcastProcessFunction<u64, Row, Event, Row> for ApplyRules {
    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        self.rules = Some(Rulebook::open(context)?);
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
        rules.add(context.broadcast_states(), (kind, time), event)?;
        // Rows that are still to come or wait are later than the watermark: of the rules before it they need the last.
        let watermark = context.current_watermark();
        rules.forget_before(context.broadcast_states(), kind, watermark)
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
        let rule = rules.at(context.broadcast_states(), key % KINDS, time)?;
        for row in waiting.get(context, &time)?.unwrap_or_default() {
            out.collect((key, time, format!("{row} {rule:?}")));
        }
        waiting.remove(context, &time)?;
        Ok(())
    }
}
