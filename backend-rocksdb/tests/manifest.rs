//! What each snapshot brings anew does not grow with the number of snapshots before it.

use millpond_backend_api::contract::{Address, Shape, Suite};
use millpond_backend_api::{CheckpointEvent, StateKind};

#[test]
fn the_small_files_of_a_snapshot_stay_small_however_many_there_were_before() {
    const SNAPSHOTS: u32 = 700;
    const BYTES_MAX: u64 = 96 << 10;
    let suite = Suite::new(millpond_backend_rocksdb::factory, &[]);
    let storage = suite.storage();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let id = opened.register("values", StateKind::Value, 0);
    let address = Address::new("key");
    let mut largest = 0;
    for number in 0..SNAPSHOTS {
        opened.put(id, &address, &number.to_le_bytes());
        let checkpoint = opened.next_checkpoint();
        let handles = opened.snapshot(&storage);
        opened.notify(&storage, checkpoint, CheckpointEvent::Completed);
        let files = handles.iter().flat_map(|handle| handle.files.iter());
        let small: u64 = files.filter(|file| !file.shared).map(|file| file.size).sum();
        largest = largest.max(small);
    }
    println!("at most {largest} bytes in files that are brought anew");
    assert!(largest <= BYTES_MAX, "{largest} bytes");
    opened.close();
}
