//! What the process is told to hold in pages. A binary of its own: other tests have pages too.

use millpond_backend_memory::table::{
    GroupTable, Layout, PAGE_BYTES, Parts, SnapshotEra, pages_in_use_bytes,
};

fn parts(key: &[u8]) -> Parts<'_> {
    Parts {
        hash: millpond_backend_api::key_hash(key),
        key,
        namespace: &[],
        map_key: &[],
        head: false,
    }
}

#[test]
fn pages_are_counted_as_long_as_a_table_or_a_snapshot_has_them() {
    let layout = Layout::Varying;
    assert_eq!(pages_in_use_bytes(), 0);
    let mut table = GroupTable::new(0);
    for number in 0..10_000_u32 {
        table.insert_value(layout, &parts(&number.to_le_bytes()), &[1; 40], false);
    }
    table.insert_value(layout, &parts(b"large"), &vec![2; 3 * PAGE_BYTES], false);
    let pages = table.figures().page_bytes;
    assert_eq!(pages_in_use_bytes(), pages);
    let mut latest = millpond_backend_memory::table::EraOfOwner::default();
    let era = SnapshotEra::begin(&mut latest);
    let frozen = table.freeze(&era, false);
    drop(era);
    assert_eq!(pages_in_use_bytes(), pages);
    let placed = table.find(layout, &parts(b"large")).unwrap();
    table.remove(layout, placed);
    // The snapshot has what the table gave up.
    assert!(table.figures().page_bytes < pages - 3 * PAGE_BYTES);
    assert_eq!(pages_in_use_bytes(), pages);
    table.insert_value(layout, &parts(b"new"), b"", false);
    assert!(pages_in_use_bytes() > pages);
    drop(table);
    assert!(pages_in_use_bytes() >= pages);
    drop(frozen);
    assert_eq!(pages_in_use_bytes(), 0);
}
