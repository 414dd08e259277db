//! Jobs within the test that fail once.

use millpond_engine::api::{JobExecutionResult, StreamExecutionEnvironment};
use millpond_engine::config::Configuration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A panic that a user's function has once in the life of a job; its clones have it together.
#[derive(Clone, Debug)]
pub(crate) struct Interrupted {
    at: u64,
    panics: Arc<AtomicU64>,
}

impl Interrupted {
    /// At the first number that is `at` or more.
    pub(crate) fn at(at: u64) -> Self {
        Self {
            at,
            panics: Arc::default(),
        }
    }

    pub(crate) fn never() -> Self {
        Self::at(u64::MAX)
    }

    /// To be called by the function.
    pub(crate) fn once_at(&self, number: u64) {
        if number >= self.at && self.panics.fetch_add(1, Ordering::Relaxed) == 0 {
            panic!("interrupted at {number}");
        }
    }

    /// Settings with a checkpoint every 20 ms and restarts that do not wait.
    pub(crate) fn environment(&self, parallelism: usize) -> StreamExecutionEnvironment {
        let mut config = Configuration::new();
        config
            .set_string("restart-strategy.type", "fixed-delay")
            .set_string("restart-strategy.fixed-delay.attempts", "1")
            .set_string("restart-strategy.fixed-delay.delay", "10 ms");
        let env = StreamExecutionEnvironment::with_configuration(config);
        env.enable_checkpointing(Duration::from_millis(20))
            .set_parallelism(parallelism);
        env
    }

    /// That the job over `records` records was interrupted, and did not begin again at the beginning.
    #[track_caller]
    pub(crate) fn assert_restored(&self, result: &JobExecutionResult, records: u64) {
        assert_eq!(result.attempts, 2);
        let repeated = result.source_records - records;
        assert!(
            repeated < self.at,
            "{repeated} of {records} records were repeated"
        );
    }
}
