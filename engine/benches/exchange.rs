//! What it takes to bring a record to the subtask of its key, by the type of the record and the parallelism: whole jobs without state.
//!
//! `cargo bench -p millpond-engine --bench exchange [-- FILTER]` prints the time of a job of four million records, and records a second of all subtasks together.
#![expect(clippy::unwrap_used, reason = "prints figures")]

use divan::Bencher;
use divan::counter::ItemsCount;
use millpond_engine::Result;
use millpond_engine::api::{
    Collector, Data, KeyedProcessFunction, ProcessContext, StreamExecutionEnvironment,
};
use millpond_engine::connectors::sinks::DiscardSink;
use millpond_engine::connectors::sources::SequenceSource;
use serde::{Deserialize, Serialize};

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

const RECORDS: u64 = 4_000_000;

/// A record that has a key.
trait Keyed: Data {
    fn of(number: u64) -> Self;
    fn key(&self) -> u64;
}

impl Keyed for u64 {
    fn of(number: u64) -> Self {
        number
    }

    fn key(&self) -> u64 {
        *self
    }
}

impl Keyed for (u64, u64, u64) {
    fn of(number: u64) -> Self {
        (number, number, number)
    }

    fn key(&self) -> u64 {
        self.0
    }
}

/// A number and a text of ten bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Texts(u64, String);

impl Keyed for Texts {
    fn of(number: u64) -> Self {
        Self(number, format!("{number:010}"))
    }

    fn key(&self) -> u64 {
        self.0
    }
}

fn main() {
    divan::main();
}

#[divan::bench(types = [u64, (u64, u64, u64), Texts], args = [1, 2, 4], sample_count = 5, sample_size = 1)]
fn exchange<T: Keyed>(bencher: Bencher<'_, '_>, parallelism: usize) {
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        let env = StreamExecutionEnvironment::new();
        env.set_parallelism(parallelism);
        env.from_source(SequenceSource::generate(0..RECORDS, T::of), "numbers")
            .key_by(T::key)
            .process(PassOn)
            .sink_to(DiscardSink::new());
        env.execute("exchange").unwrap();
    });
}
