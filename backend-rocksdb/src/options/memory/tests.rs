use super::*;
use crate::options::Options;

const MIB: u64 = 1 << 20;

fn options(pairs: &[(&str, &str)]) -> MemoryOptions {
    let pairs = pairs.iter().map(|(key, value)| {
        let is_whole = key.starts_with("taskmanager.");
        let key = if is_whole {
            (*key).to_owned()
        } else {
            format!("state.backend.rocksdb.{key}")
        };
        (key, (*value).to_owned())
    });
    Options::read(&pairs.collect()).unwrap().memory
}

#[test]
fn fixed_for_a_slot_wins_over_managed_and_that_over_fixed_for_the_process() {
    let all = [
        ("memory.fixed-per-slot", "1 mb"),
        ("memory.fixed-per-tm", "3 mb"),
        ("taskmanager.memory.managed.size", "2 mb"),
        ("taskmanager.numberOfTaskSlots", "8"),
    ];
    assert_eq!(options(&all).budget, Budget::PerSlot(MIB, Some(8)));
    assert_eq!(options(&all[..1]).budget, Budget::PerSlot(MIB, None));
    assert_eq!(options(&all[1..]).budget, Budget::Process(2 * MIB));
    let mut unmanaged = all[1..].to_vec();
    unmanaged.push(("memory.managed", "false"));
    assert_eq!(options(&unmanaged).budget, Budget::Process(3 * MIB));
    assert_eq!(options(&unmanaged[1..]).budget, Budget::Unmanaged);
}

#[test]
fn managed_memory_without_a_size_is_a_share_of_the_machine() {
    let machine = machine::memory_bytes();
    assert!(machine > MIB);
    let Budget::Process(default) = options(&[]).budget else {
        panic!("not managed")
    };
    assert!(default.abs_diff(machine * 4 / 10) <= 1);
    let Budget::Process(half) = options(&[("taskmanager.memory.managed.fraction", "0.5")]).budget else {
        panic!("not managed")
    };
    assert!(half.abs_diff(machine / 2) <= 1);
}

#[test]
fn the_cache_has_what_the_write_buffer_ratio_leaves_and_write_buffers_are_charged_to_it() {
    let half = options(&[("memory.fixed-per-slot", "600 mb")]);
    assert_eq!(half.cache_bytes(600 * MIB), 250 * MIB);
    // Flink's formula: 2/3 of the ratio.
    assert_eq!(half.write_buffer_manager_bytes(600 * MIB), 200 * MIB);
    let most = options(&[
        ("memory.fixed-per-slot", "600 mb"),
        ("memory.write-buffer-ratio", "0.9"),
    ]);
    assert_eq!(
        most.write_buffer_manager_bytes(600 * MIB),
        most.cache_bytes(600 * MIB)
    );
}

#[test]
fn shares_that_come_to_more_than_all_of_the_memory_are_refused() {
    let read = |ratios: &[(&str, &str)]| {
        let pairs = ratios.iter().map(|(name, value)| {
            let key = format!("state.backend.rocksdb.memory.{name}");
            (key, (*value).to_owned())
        });
        Options::read(&pairs.collect())
    };
    for (write_buffers, high_prio) in [
        (Some("0.6"), Some("0.5")),
        (Some("0.95"), None),
        (None, Some("0.6")),
    ] {
        let write_buffers = write_buffers.map(|value| ("write-buffer-ratio", value));
        let high_prio = high_prio.map(|value| ("high-prio-pool-ratio", value));
        let set: Vec<_> = write_buffers.into_iter().chain(high_prio).collect();
        let error = read(&set).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Configuration);
        let text = error.to_string();
        let names = ["write-buffer-ratio", "high-prio-pool-ratio"];
        assert!(names.iter().all(|name| text.contains(name)), "{text}");
        assert!(set.iter().all(|(_, value)| text.contains(value)), "{text}");
    }
    read(&[("write-buffer-ratio", "0.5"), ("high-prio-pool-ratio", "0.5")]).unwrap();
    read(&[("write-buffer-ratio", "1"), ("high-prio-pool-ratio", "0")]).unwrap();
}

#[test]
fn backends_with_the_same_budget_share_cache_and_write_buffers() {
    let same = [("memory.fixed-per-slot", "123 mb")];
    let one = Memory::of(&options(&same));
    let other = Memory::of(&options(&[same[0], ("writebuffer.count", "3")]));
    let (a, b) = (one.pool.as_ref().unwrap(), other.pool.as_ref().unwrap());
    assert!(Arc::ptr_eq(a, b));
    let ratio = Memory::of(&options(&[same[0], ("memory.write-buffer-ratio", "0.4")]));
    assert!(!Arc::ptr_eq(a, ratio.pool.as_ref().unwrap()));

    // It goes with the last who uses it.
    let gone = Arc::downgrade(a);
    drop((one, other));
    assert!(gone.upgrade().is_none());
    let again = Memory::of(&options(&same));
    assert_eq!(again.budget_bytes(), Some(123 * MIB));
}

#[test]
fn a_size_for_each_slot_grows_with_the_worker_threads_and_no_further_than_the_slots() {
    let memory = Memory::of(&options(&[("memory.fixed-per-slot", "10 mb")]));
    let _two = memory.open_tables(2);
    assert_eq!(memory.budget_bytes(), Some(20 * MIB));
    let _one = memory.open_tables(1);
    assert_eq!(memory.budget_bytes(), Some(20 * MIB));
    let pool = memory.pool.as_ref().unwrap();
    assert_eq!(
        pool.write_buffers.get_buffer_size() as u64,
        pool.options.write_buffer_manager_bytes(20 * MIB)
    );

    let slots = ("taskmanager.numberOfTaskSlots", "3");
    let memory = Memory::of(&options(&[("memory.fixed-per-slot", "10 mb"), slots]));
    let _eight = memory.open_tables(8);
    assert_eq!(memory.budget_bytes(), Some(30 * MIB));
}

#[test]
fn a_sixth_is_not_counted_and_of_small_budgets_what_a_process_needs_in_any_case() {
    for (budget, counted) in [(6000, 5000), (336, 280), (146, 90), (120, 72), (60, 36), (5, 3)] {
        assert_eq!(
            MemoryOptions::counted_bytes(budget * MIB),
            counted * MIB,
            "{budget}"
        );
    }
}

#[test]
fn tables_have_what_the_cache_leaves_and_divide_it_among_those_that_are_open() {
    let memory = Memory::of(&options(&[("memory.fixed-per-slot", "146 mb")]));
    let limit = |share: &TableShare, used_mib: u64| {
        share.limit_bytes(usize::try_from(used_mib * MIB).unwrap(), 1, 0) as u64
    };
    // What the cache holds itself is a few KiB.
    let near = |found: u64, mib: u64| assert!(found.abs_diff(mib * MIB) < MIB, "{found} is not {mib} MiB");

    let first = memory.open_tables(1);
    near(limit(&first, 80), 90);
    let second = memory.open_tables(1);
    near(limit(&second, 0), 45);
    near(limit(&first, 80), 90);
    // The second grows, at the first one's expense, to its part and no further.
    near(limit(&second, 30), 45);
    near(limit(&first, 80), 60);
    near(limit(&second, 45), 45);
    near(limit(&first, 60), 45);
    drop(first);
    near(limit(&second, 45), 90);
    // What was given back and is kept is the process's memory as well.
    let kept = usize::try_from(10 * MIB).unwrap();
    assert!((second.limit_bytes(0, 1, kept) as u64).abs_diff(80 * MIB) < MIB);
}

#[test]
fn what_the_cache_takes_is_not_there_for_tables() {
    let memory = Memory::of(&options(&[
        ("memory.fixed-per-slot", "64 mb"),
        ("memory.managed", "true"),
    ]));
    let folder = tempfile::tempdir().unwrap();
    let options = Options::read(&[].into_iter().collect()).unwrap();
    let mut native = options.database(&memory, folder.path());
    native.set_block_based_table_factory(&rocksdb::BlockBasedOptions::default());
    let before = memory.table_limit_bytes().unwrap();
    let db = rocksdb::DB::open(&native, folder.path()).unwrap();
    for number in 0..2048_u32 {
        let value = vec![7; 4096];
        db.put_opt(number.to_be_bytes(), value, &Options::write())
            .unwrap();
    }
    let after = memory.table_limit_bytes().unwrap();
    assert!(after + 7 * MIB < before, "{before} {after}");
}

#[test]
fn without_a_budget_tables_have_as_much_as_the_write_buffers_of_their_states() {
    let unmanaged = [
        ("memory.managed", "false"),
        ("writebuffer.size", "2 mb"),
        ("writebuffer.count", "3"),
    ];
    let memory = Memory::of(&options(&unmanaged));
    assert_eq!((memory.budget_bytes(), memory.table_limit_bytes()), (None, None));
    let share = memory.open_tables(4);
    assert_eq!(share.limit_bytes(0, 2, 0) as u64, 12 * MIB);
    assert!(memory.write_buffers().is_none());
    let no_cache = [unmanaged[0], ("block.cache-size", "0")];
    assert!(Memory::of(&options(&no_cache)).block_cache().is_none());
    assert!(memory.block_cache().is_some());
}
