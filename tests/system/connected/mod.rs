//! What connected and broadcast streams and operator state do, in this process.

mod broadcast;
mod operator_state;
mod streams;

use millpond_engine::api::StreamExecutionEnvironment;

fn environment(parallelism: usize) -> StreamExecutionEnvironment {
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(parallelism);
    env
}

fn sorted<T: Ord>(mut records: Vec<T>) -> Vec<T> {
    records.sort();
    records
}
