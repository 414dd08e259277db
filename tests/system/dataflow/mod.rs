//! What streams, functions, state and timers do, in this process, with a failure in the middle.

mod state;
mod streams;
mod timers;

use millpond_engine::api::StreamExecutionEnvironment;
use millpond_engine::config::Configuration;

fn environment(parallelism: usize) -> StreamExecutionEnvironment {
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(parallelism);
    env
}

/// With checkpoints every 10 ms and a restart after a failure.
fn failing_environment(parallelism: usize) -> StreamExecutionEnvironment {
    let mut config = Configuration::new();
    for (key, value) in [
        ("execution.checkpointing.interval", "10 ms"),
        ("restart-strategy.type", "fixed-delay"),
        ("restart-strategy.fixed-delay.attempts", "1"),
        ("restart-strategy.fixed-delay.delay", "1 ms"),
    ] {
        config.set_string(key, value);
    }
    let env = StreamExecutionEnvironment::with_configuration(config);
    env.set_parallelism(parallelism);
    env
}

fn sorted<T: Ord>(mut records: Vec<T>) -> Vec<T> {
    records.sort();
    records
}
