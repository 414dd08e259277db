//! A sink that is a closure.

use crate::Result;
use crate::api::{Data, Sink, SinkContext, SinkWriter};
use std::marker::PhantomData;
use std::sync::Arc;

/// Gives each record to a closure, which all subtasks share.
///
/// After a failure the closure sees the records since the last checkpoint again. An error or a panic in it ends the attempt.
///
/// ```
/// use millpond_engine::connectors::sinks::ForEachSink;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// static SUM: AtomicU64 = AtomicU64::new(0);
/// let sink = ForEachSink::new(|number: u64| {
///     SUM.fetch_add(number, Ordering::Relaxed);
///     Ok(())
/// });
/// ```
pub struct ForEachSink<T, F> {
    function: Arc<F>,
    input: PhantomData<fn(T)>,
}

impl<T: Data, F: Fn(T) -> Result<()> + Send + Sync + 'static> ForEachSink<T, F> {
    /// A sink that calls `function` for each record, in order within a subtask.
    pub fn new(function: F) -> Self {
        Self {
            function: Arc::new(function),
            input: PhantomData,
        }
    }
}

impl<T, F> std::fmt::Debug for ForEachSink<T, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ForEachSink")
    }
}

impl<T: Data, F: Fn(T) -> Result<()> + Send + Sync + 'static> Sink for ForEachSink<T, F> {
    type Input = T;
    type Writer = ForEachWriter<T, F>;

    fn writer(&self, _: &SinkContext) -> Result<ForEachWriter<T, F>> {
        Ok(ForEachWriter {
            function: Arc::clone(&self.function),
            input: PhantomData,
        })
    }
}

/// Calls the closure of a [`ForEachSink`] for the records of one subtask.
pub struct ForEachWriter<T, F> {
    function: Arc<F>,
    input: PhantomData<fn(T)>,
}

impl<T, F> std::fmt::Debug for ForEachWriter<T, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ForEachWriter")
    }
}

impl<T: Data, F: Fn(T) -> Result<()> + 'static> SinkWriter for ForEachWriter<T, F> {
    type Input = T;

    fn write(&mut self, records: &mut Vec<T>) -> Result<()> {
        records.drain(..).try_for_each(&*self.function)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::sinks::testing::context;
    use crate::{Error, ErrorKind};
    use std::sync::Mutex;

    #[test]
    fn records_come_in_order_until_the_closure_fails() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&seen);
        let sink = ForEachSink::new(move |number: u32| {
            shared.lock().unwrap().push(number);
            if number == 3 {
                return Err(Error::new(ErrorKind::UserCode, "three"));
            }
            Ok(())
        });
        let mut writer = sink.writer(&context(0, 1, 1)).unwrap();
        let mut records = vec![1, 2];
        writer.write(&mut records).unwrap();
        assert!(records.is_empty());
        assert_eq!(writer.write(&mut vec![3, 4]).unwrap_err().message(), "three");
        assert_eq!(*seen.lock().unwrap(), [1, 2, 3]);
    }
}
