//! What it takes to bring a record to the subtask of its key, by the type of the record and the parallelism: whole jobs without state.
//!
//! `cargo bench -p millpond-engine --bench exchange [-- RECORDS]` prints millions of records a second of wall time, of all subtasks together, the best of three.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "prints figures")]

use millpond_engine::Result;
use millpond_engine::api::{
    Collector, Data, KeyedProcessFunction, ProcessContext, StreamExecutionEnvironment,
};
use millpond_engine::connectors::sinks::DiscardSink;
use millpond_engine::connectors::sources::SequenceSource;
use std::time::Instant;

/// A keyed function without state.
#[derive(Clone, Copy, Debug)]
struct PassOn;

impl<T: Data> KeyedProcessFunction<u64, T, T> for PassOn {
    #[inline]
    fn process_element(
        &mut self,
        record: T,
        _: &mut ProcessContext<'_, u64>,
        out: &mut Collector<T>,
    ) -> Result<()> {
        out.collect(record);
        Ok(())
    }
}

fn main() {
    let records = std::env::args()
        .skip(1)
        .find_map(|word| word.parse().ok())
        .unwrap_or(10_000_000);
    for parallelism in [1, 2, 4] {
        measure("u64", records, parallelism, |n| n, |record| *record);
        measure(
            "(u64, u64, u64)",
            records,
            parallelism,
            |n| (n, n, n),
            |record| record.0,
        );
        let text = |n: u64| (n, format!("{n:010}"));
        measure("(u64, String)", records / 4, parallelism, text, |record| record.0);
    }
}

#[expect(clippy::cast_precision_loss, reason = "records are far below 2^53")]
fn measure<T: Data>(
    name: &str,
    records: u64,
    parallelism: usize,
    make: impl Fn(u64) -> T + Clone + Send + Sync + 'static,
    key: impl Fn(&T) -> u64 + Clone + Send + Sync + 'static,
) {
    let rates = (0..3).map(|_| {
        let env = StreamExecutionEnvironment::new();
        env.set_parallelism(parallelism);
        env.from_source(SequenceSource::generate(0..records, make.clone()), "numbers")
            .key_by(key.clone())
            .process(PassOn)
            .sink_to(DiscardSink::new());
        let start = Instant::now();
        env.execute("exchange").unwrap();
        records as f64 / start.elapsed().as_secs_f64() / 1e6
    });
    let best = rates.fold(0.0, f64::max);
    println!("{name:>20} at parallelism {parallelism}: {best:7.2} M records/s");
}
