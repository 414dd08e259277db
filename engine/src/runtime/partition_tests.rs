use super::*;
use crate::runtime::batch::Mark;
use millpond_backend_api::{key_group, key_hash};
use std::collections::BTreeMap;

const MAX_PARALLELISM: u32 = 128;

/// What went to one subtask.
#[derive(Default)]
struct Sent(Vec<Batch<u64>>);

impl Push<Message<u64, Batch<u64>>> for Sent {
    fn push(&mut self, message: &mut Option<Message<u64, Batch<u64>>>) {
        self.0.extend(message.take().map(|message| message.data));
    }
}

struct Exchange {
    router: Router<u64>,
    pool: BatchPool<u64>,
    stamp: Stamp<u64>,
    sent: Vec<Sent>,
}

impl Exchange {
    fn new(rule: Partitioning, parallelism: u32) -> Self {
        let peers = parallelism as usize + 1;
        let pool = BatchPool::new();
        Self {
            router: Router::new(rule, 0, parallelism, peers, pool.clone()),
            pool,
            stamp: Stamp::from_elem(1),
            sent: std::iter::repeat_with(Sent::default).take(peers).collect(),
        }
    }

    fn partition(&mut self, batch: &mut Batch<u64>) {
        self.router.partition(batch, &self.stamp, &mut self.sent);
        assert!(batch.records.is_empty() && batch.hashes.is_empty() && batch.timestamps.is_empty());
    }

    /// The batches of each subtask.
    fn flush(mut self) -> Vec<Vec<Batch<u64>>> {
        self.router.flush(&self.stamp, &mut self.sent);
        self.router.relax();
        self.sent.into_iter().map(|sent| sent.0).collect()
    }
}

/// Records with their hashes, and an event time that follows from the record if they have one.
fn batch(records: std::ops::Range<u64>, is_stamped: bool) -> Batch<u64> {
    let mut batch = Batch::default();
    for record in records {
        batch.records.push(record);
        batch.hashes.push(key_hash(&record.to_le_bytes()));
        if is_stamped {
            batch.timestamps.push(i64::try_from(record).unwrap() - 7);
        }
    }
    batch
}

#[test]
fn records_go_to_the_owners_of_their_keys_in_order_with_hash_and_event_time() {
    let rule = Partitioning::KeyGroups {
        max_parallelism: MAX_PARALLELISM,
    };
    for (parallelism, is_stamped) in [(1, true), (2, false), (3, true)] {
        let mut exchange = Exchange::new(rule, parallelism);
        // The last one is larger than what is sent at a time, for every subtask.
        let ends = [0, 10, 4106, 4106, 40_000];
        for range in ends.windows(2) {
            exchange.partition(&mut batch(range[0]..range[1], is_stamped));
        }
        let mut all = 0;
        for (subtask, batches) in (0..).zip(exchange.flush()) {
            let mut last = None;
            for sent in batches {
                assert!((1..=BATCH_RECORDS).contains(&sent.records.len()));
                assert_eq!(sent.hashes.len(), sent.records.len());
                assert_eq!(
                    sent.timestamps.len(),
                    if is_stamped { sent.records.len() } else { 0 }
                );
                for (index, record) in sent.records.iter().enumerate() {
                    assert!(last < Some(*record));
                    last = Some(*record);
                    let hash = key_hash(&record.to_le_bytes());
                    assert_eq!(sent.hashes[index], hash);
                    let group = key_group(hash, MAX_PARALLELISM);
                    assert_eq!(owner(group, parallelism, MAX_PARALLELISM), subtask);
                    if is_stamped {
                        assert_eq!(sent.timestamps[index], i64::try_from(*record).unwrap() - 7);
                    }
                    all += 1;
                }
            }
        }
        assert_eq!(all, 40_000);
    }
}

#[test]
fn runs_go_to_one_subtask_after_the_other_and_short_batches_are_runs_too() {
    let mut exchange = Exchange::new(Partitioning::Rebalance, 3);
    let runs = [5, 5, 5, 3 * BATCH_RECORDS as u64];
    let mut from = 0;
    for len in runs {
        let mut records = batch(from..from + len, true);
        records.hashes.clear();
        exchange.partition(&mut records);
        from += len;
    }
    let sent = exchange.flush();
    let mut records = BTreeMap::new();
    for (subtask, batch) in (0..)
        .zip(&sent)
        .flat_map(|(subtask, batches)| batches.iter().map(move |batch| (subtask, batch)))
    {
        assert!(batch.records.len() <= BATCH_RECORDS);
        for (record, timestamp) in batch.records.iter().zip(&batch.timestamps) {
            assert_eq!(*timestamp, i64::try_from(*record).unwrap() - 7);
            assert_eq!(records.insert(*record, subtask), None);
        }
    }
    assert_eq!(records.len() as u64, from);
    assert!(sent[3].is_empty(), "a worker without a subtask");
    let of = |record: u64| records[&record];
    assert_eq!((of(0), of(5), of(10)), (0, 1, 2));
    for subtask in 0..3 {
        let count = records.values().filter(|of| **of == subtask).count();
        assert!(
            (BATCH_RECORDS..=BATCH_RECORDS + 15).contains(&count),
            "{count} for {subtask}"
        );
    }
}

#[test]
fn a_mark_goes_to_all_behind_the_records_and_memory_comes_from_the_pool() {
    let rule = Partitioning::KeyGroups {
        max_parallelism: MAX_PARALLELISM,
    };
    let mut exchange = Exchange::new(rule, 2);
    let mut given = Vec::new();
    for _ in 0..2 {
        let memory = Batch {
            records: Vec::with_capacity(BATCH_RECORDS),
            ..Batch::default()
        };
        given.push(memory.records.as_ptr());
        exchange.pool.give(memory);
    }
    let mark = Mark {
        from: 0,
        watermark: 99,
        idle: false,
        targets: 2,
    };
    let mut marked = batch(0..100, false);
    marked.mark = Some(mark);
    exchange.partition(&mut marked);
    let sent = exchange.flush();
    for batches in &sent[..2] {
        let [only] = &batches[..] else {
            panic!("records and mark in one: {}", batches.len());
        };
        assert_eq!(only.mark, Some(Mark { targets: 1, ..mark }));
        assert!(given.contains(&only.records.as_ptr()));
    }
}
