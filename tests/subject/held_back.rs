//! Rows that are held back in operator state, and handed on so many at once: what comes out is what goes in, as long as no state loses or doubles any.

use millpond_engine::Result;
use millpond_engine::api::{Collector, Data, FunctionContext, ProcessFunction};
use millpond_engine::state::{
    FunctionInitializationContext, FunctionSnapshotContext, ListStateDescriptor, OperatorListState,
};

/// What is held back.
pub(crate) trait Row: Data + Sync {
    /// By which a subtask knows its own.
    fn key(&self) -> u64;
}

impl Row for (u64, i64, u64, u64) {
    fn key(&self) -> u64 {
        self.0
    }
}

impl Row for (u64, i64, String) {
    fn key(&self) -> u64 {
        self.0
    }
}

/// Holds rows back in a list of the subtask, and hands on so many at once.
#[derive(Clone)]
pub(crate) struct HoldBack<R, const BATCH: usize> {
    rows: Option<OperatorListState<R>>,
}

impl<R, const BATCH: usize> Default for HoldBack<R, BATCH> {
    fn default() -> Self {
        Self { rows: None }
    }
}

impl<R: Row, const BATCH: usize> ProcessFunction<R, R> for HoldBack<R, BATCH> {
    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        self.rows = Some(context.get_list_state(&ListStateDescriptor::new("rows"))?);
        Ok(())
    }

    fn process_element(
        &mut self,
        row: R,
        context: &mut FunctionContext<'_>,
        out: &mut Collector<R>,
    ) -> Result<()> {
        let Some(rows) = self.rows else { return Ok(()) };
        rows.add(context.list_states(), row)?;
        if rows.get(context.list_states())?.len() >= BATCH {
            self.end_input(context, out)?;
        }
        Ok(())
    }

    fn end_input(&mut self, context: &mut FunctionContext<'_>, out: &mut Collector<R>) -> Result<()> {
        let Some(rows) = self.rows else { return Ok(()) };
        for row in rows.take(context.list_states())? {
            out.collect(row);
        }
        Ok(())
    }
}

/// Holds rows back in a field, which is copied into a union list for each checkpoint; at a restore each subtask takes those of its keys.
#[derive(Clone)]
pub(crate) struct HoldBackInAField<R, const BATCH: usize> {
    rows: Vec<R>,
    stored: Option<OperatorListState<R>>,
}

impl<R, const BATCH: usize> Default for HoldBackInAField<R, BATCH> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            stored: None,
        }
    }
}

impl<R: Row, const BATCH: usize> ProcessFunction<R, R> for HoldBackInAField<R, BATCH> {
    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        let stored = context.get_union_list_state(&ListStateDescriptor::<R>::new("rows"))?;
        let (subtask, parallelism) = (u64::from(context.subtask()), u64::from(context.parallelism()));
        let all = stored.take(context.list_states())?;
        self.rows = all
            .into_iter()
            .filter(|row| row.key() % parallelism == subtask)
            .collect();
        self.stored = Some(stored);
        Ok(())
    }

    fn process_element(
        &mut self,
        row: R,
        context: &mut FunctionContext<'_>,
        out: &mut Collector<R>,
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

    fn end_input(&mut self, _: &mut FunctionContext<'_>, out: &mut Collector<R>) -> Result<()> {
        for row in self.rows.drain(..) {
            out.collect(row);
        }
        Ok(())
    }
}
