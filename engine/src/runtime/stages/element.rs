//! Operators without state: a function that is called record by record.

use super::outputs::Outputs;
use crate::Result;
use crate::api::{Collector, Data};
use crate::runtime::batch::Batch;
use crate::runtime::stage::{Stage, StageControl};
use crate::runtime::task::TaskContext;
use std::marker::PhantomData;
use std::rc::Rc;

/// Calls `function` for each record. Compiled for the function, so that there is no dynamic call a record.
pub(crate) struct ElementStage<T, U, F> {
    name: Rc<str>,
    function: F,
    outputs: Outputs<U>,
    input: PhantomData<fn(T)>,
}

impl<T: Data, U: Data, F: FnMut(T, &mut Collector<U>) -> Result<()> + 'static> ElementStage<T, U, F> {
    pub(crate) fn new(name: Rc<str>, function: F, outputs: Outputs<U>) -> Self {
        Self {
            name,
            function,
            outputs,
            input: PhantomData,
        }
    }
}

impl<T: Data, U: Data, F: FnMut(T, &mut Collector<U>) -> Result<()> + 'static> Stage<T>
    for ElementStage<T, U, F>
{
    fn batch(&mut self, batch: &mut Batch<T>, task: &TaskContext) -> Result<()> {
        let _entered = task.enter(&self.name);
        let Self {
            function, outputs, ..
        } = self;
        if batch.timestamps.is_empty() {
            outputs.collector.timestamp = None;
            for record in batch.records.drain(..) {
                function(record, &mut outputs.collector)?;
                if outputs.collector.is_full() {
                    outputs.flush(task)?;
                }
            }
        }
        for (record, timestamp) in batch.records.drain(..).zip(&batch.timestamps) {
            outputs.collector.timestamp = Some(*timestamp);
            function(record, &mut outputs.collector)?;
            if outputs.collector.is_full() {
                outputs.flush(task)?;
            }
        }
        batch.clear();
        outputs.flush(task)
    }
}

impl<T: Data, U: Data, F: FnMut(T, &mut Collector<U>) -> Result<()> + 'static> StageControl
    for ElementStage<T, U, F>
{
    fn behind(&mut self) -> Option<&mut dyn StageControl> {
        Some(&mut self.outputs)
    }
}
