//! All ways for records at once, in a job that fails once in the middle.

use crate::harness::Interrupted;
use millpond_engine::api::OutputTag;
use millpond_engine::connectors::sinks::CollectSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::{Error, ErrorKind};

const RECORDS: u64 = 4000;
const RATE: f64 = 5000.0;

#[test]
fn side_outputs_unions_and_new_partitions_lose_and_double_nothing() {
    let interrupted = Interrupted::at(RECORDS / 2);
    let (sums, copies) = (CollectSink::<(u64, u64)>::new(), CollectSink::<u64>::new());
    let (sums_found, copies_found) = (sums.results(), copies.results());
    let env = interrupted.environment(2);
    let odd = OutputTag::<String>::new("odd");
    let to_side = odd.clone();
    let even = env
        .from_source(SequenceSource::new(0..RECORDS), "numbers")
        .uid("numbers")
        .rate_limit(RATE)
        .process(move |number: u64, out| {
            if number.is_multiple_of(2) {
                out.collect(number);
            } else {
                out.side_output(&to_side, number.to_string());
            }
            Ok(())
        });
    let odd = even.side_output(&odd).rebalance().try_map(|text: String| {
        text.parse()
            .map_err(|error| Error::new(ErrorKind::UserCode, format!("{error}")))
    });
    let all = even.union(&odd);
    let once = interrupted.clone();
    all.rebalance()
        .map(move |number: u64| {
            once.once_at(number);
            (number % 7, number)
        })
        .key_by(|pair| pair.0)
        .reduce(|sum, next| (sum.0, sum.1 + next.1))
        .uid("sums")
        .sink_to_2pc(sums)
        .uid("sums-sink");
    all.filter(|number| number % 10 == 3)
        .broadcast()
        .map(|number| number)
        .set_parallelism(2)
        .sink_to_2pc(copies)
        .uid("copies-sink");
    interrupted.assert_restored(&env.execute("dataflows").unwrap(), RECORDS);

    // After each record of a key its sum so far; in what order the records came is not known, but the last sum is that of all.
    let sums = sums_found.take();
    assert_eq!(sums.len() as u64, RECORDS);
    for key in 0..7 {
        let expected = (0..RECORDS).filter(|number| number % 7 == key).sum::<u64>();
        let last = sums.iter().filter(|sum| sum.0 == key).map(|sum| sum.1).max();
        assert_eq!(last, Some(expected), "key {key}");
    }
    let mut copies = copies_found.take();
    copies.sort_unstable();
    let expected: Vec<_> = (0..RECORDS)
        .filter(|number| number % 10 == 3)
        .flat_map(|number| [number, number])
        .collect();
    assert_eq!(copies, expected);
}
