//! The keyed function: one value a key.

use super::control::{Control, KeeperGauges, Opened};
use super::source::Task;
use super::value::Value;
use millpond_engine::api::{Collector, KeyedProcessFunction, ProcessContext};
use millpond_engine::state::{StateRegistry, ValueState};
use millpond_engine::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::time::Instant;

/// Keeps a value for each key and checks it at every access.
#[derive(Debug)]
pub(crate) struct Keeper<const W: usize, const T: usize> {
    control: Arc<Control>,
    gauges: Arc<KeeperGauges>,
    state: Option<ValueState<Value<W, T>>>,
    made: Instant,
    opened: Option<Instant>,
    processed: u64,
    writes_read: u64,
}

impl<const W: usize, const T: usize> Keeper<W, T> {
    pub(crate) fn new(control: Arc<Control>) -> Self {
        Self {
            control,
            gauges: Arc::default(),
            state: None,
            made: Instant::now(),
            opened: None,
            processed: 0,
            writes_read: 0,
        }
    }
}

/// The engine clones the function for each subtask when it builds the subtask, before it opens the subtask's state handles.
impl<const W: usize, const T: usize> Clone for Keeper<W, T> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.control))
    }
}

impl<const W: usize, const T: usize> Keeper<W, T> {
    #[inline]
    fn take(&mut self, record: u64, context: &mut ProcessContext<'_, u64>) -> Result<()> {
        let key = Task::key(record);
        let Some(state) = self.state else { return Ok(()) };
        match Task::of(record) {
            Task::Read => {
                let value = state.value(context)?;
                let count = value.and_then(|value| value.checked_count(key));
                let count = count.ok_or_else(|| wrong(key, value.is_some()))?;
                if self.writes_read == 0 {
                    self.note_first_read();
                }
                self.writes_read += count;
                self.gauges.writes_read.set(self.writes_read);
                self.control.add_read();
            }
            task => {
                let mut is_right = true;
                state.modify(context, |before| {
                    let count = match (&before, task) {
                        (None, Task::Make) => Some(0),
                        (Some(before), Task::Change) => before.checked_count(key),
                        _ => None,
                    };
                    is_right = count.is_some();
                    Value::of(key, count.unwrap_or(0) + 1)
                })?;
                if !is_right {
                    return Err(wrong(key, task == Task::Make));
                }
            }
        }
        self.processed += 1;
        self.gauges.processed.set(self.processed);
        Ok(())
    }

    #[cold]
    fn note_first_read(&self) {
        self.control.add_opened(Opened {
            made: self.made,
            opened: self.opened.unwrap_or(self.made),
            first_read: Instant::now(),
        });
    }
}

#[cold]
fn wrong(key: u64, is_there: bool) -> Error {
    let what = if is_there {
        "is not what was written"
    } else {
        "is missing"
    };
    Error::new(
        ErrorKind::UserCode,
        format!("wrong result: the value of key {key} {what}"),
    )
}

impl<const W: usize, const T: usize> KeyedProcessFunction<u64, u64, u64> for Keeper<W, T> {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.opened = Some(Instant::now());
        self.gauges = self.control.add_keeper();
        self.state = Some(states.value_state("value")?);
        Ok(())
    }

    #[inline]
    fn process_element(
        &mut self,
        record: u64,
        context: &mut ProcessContext<'_, u64>,
        _: &mut Collector<u64>,
    ) -> Result<()> {
        self.take(record, context)
            .inspect_err(|error| self.control.fail(&error.to_string()))
    }
}
