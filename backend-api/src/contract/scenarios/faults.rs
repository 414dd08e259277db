//! Snapshots and restores that fail or are cancelled in the middle.

use super::prelude::*;
use crate::BackendResult;
use abi_stable::std_types::RString;

/// A filled keyed state in a storage of its own.
pub(super) struct Running {
    pub(super) storage: Storage,
    pub(super) opened: Opened,
    pub(super) model: Model,
    ids: Vec<StateId>,
    random: Random,
}

impl Running {
    pub(super) fn new(suite: &Suite) -> Self {
        let storage = suite.storage();
        let mut running = Self {
            opened: suite.restored(&storage, Shape::ALONE, &[]),
            storage,
            model: one_state_of_each_kind(),
            ids: Vec::new(),
            random: suite.random(),
        };
        running.ids = running.model.register(&mut running.opened);
        running.change();
        running
    }

    pub(super) fn change(&mut self) {
        fill(
            &mut self.opened,
            &mut self.model,
            &self.ids,
            &mut self.random,
            40,
            60,
        );
    }

    /// Tells that the last checkpoint was aborted, and requires that nothing is left of it.
    #[track_caller]
    pub(super) fn abort(&mut self) {
        assert_eq!(self.storage.open_streams(), 0, "a stream was leaked");
        let id = self.opened.next_checkpoint() - 1;
        self.opened.notify(&self.storage, id, CheckpointEvent::Aborted);
    }

    /// Requires that the state is whole, and so is its next snapshot.
    #[track_caller]
    pub(super) fn check_next(&mut self, suite: &Suite) {
        self.model.check(&mut self.opened, &self.ids);
        let handles = self.opened.snapshot(&self.storage);
        let id = self.opened.next_checkpoint() - 1;
        self.opened.notify(&self.storage, id, CheckpointEvent::Completed);
        let mut restored = suite.restored(&self.storage, Shape::ALONE, &handles);
        self.model.check_restored(&mut restored);
        restored.close();
    }
}

/// The next operation to try: each of the first eight, then ever fewer.
pub(super) fn later(operation: u64) -> u64 {
    operation + 1 + operation / 8
}

pub(crate) fn an_error_at_any_operation_leaves_the_state_usable_and_the_next_snapshot_whole(suite: &Suite) {
    let mut running = Running::new(suite);
    let mut operation = 0;
    loop {
        running.change();
        let snapshot = running.opened.begin_snapshot();
        let faults = Faults {
            fail_at: Some(operation),
            ..Faults::default()
        };
        let written = snapshot.write_with(&running.storage, faults);
        if !written.fault_was_reached {
            written.result.unwrap();
            break;
        }
        let error = written
            .result
            .expect_err("the snapshot went well although one of its operations failed");
        assert_eq!(error.kind(), BackendErrorKind::Io, "{error}");
        running.abort();
        running.check_next(suite);
        operation = later(operation);
    }
    assert!(operation >= 2, "a snapshot has at least an open and a finish");
    running.opened.close();
}

pub(crate) fn a_cancelled_snapshot_leaves_nothing_and_the_state_goes_on(suite: &Suite) {
    let mut running = Running::new(suite);
    let mut operation = 0;
    loop {
        running.change();
        let faults = Faults {
            cancel_at: Some(operation),
            ..Faults::default()
        };
        let written = running
            .opened
            .begin_snapshot()
            .write_with(&running.storage, faults);
        match written.result {
            Err(error) => {
                assert_eq!(error.kind(), BackendErrorKind::Cancelled, "{error}");
                running.abort();
                running.check_next(suite);
            }
            // It came too late to be seen.
            Ok(_) => break,
        }
        operation = later(operation);
    }
    let before = running.storage.file_count();
    let faults = Faults {
        cancelled: true,
        ..Faults::default()
    };
    let written = running
        .opened
        .begin_snapshot()
        .write_with(&running.storage, faults);
    let error = written
        .result
        .expect_err("a snapshot that was cancelled before it began was written");
    assert_eq!(error.kind(), BackendErrorKind::Cancelled, "{error}");
    assert_eq!(
        running.storage.file_count(),
        before,
        "a cancelled snapshot left a file"
    );
    running.abort();
    running.check_next(suite);
    running.opened.close();
}

pub(crate) fn a_cancelled_snapshot_stops_soon(suite: &Suite) {
    const SOON_BYTES: u64 = 4 << 20;
    let mut opened = suite.fresh();
    let state = opened.register("value", StateKind::Value, 0);
    let value = suite.random().bytes(64 << 10);
    for key in 0..256_u32 {
        opened.put(state, &Address::new(key.to_le_bytes()), &value);
    }
    let storage = suite.storage();
    let faults = Faults {
        cancel_at: Some(1),
        ..Faults::default()
    };
    let written = opened.begin_snapshot().write_with(&storage, faults);
    let error = written
        .result
        .expect_err("16 MiB were written although the snapshot was cancelled");
    assert_eq!(error.kind(), BackendErrorKind::Cancelled, "{error}");
    assert!(
        written.bytes_after_cancel <= SOON_BYTES,
        "{} bytes were written after the cancellation, at most {SOON_BYTES} are soon",
        written.bytes_after_cancel
    );
    opened.close();
}

pub(crate) fn a_snapshot_that_is_too_large_names_its_state_and_the_state_goes_on(suite: &Suite) {
    let storage = suite.storage();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let small = opened.register("small state", StateKind::Value, 0);
    let large = opened.register("large state", StateKind::Value, 0);
    let value = suite.random().bytes(10 << 10);
    for key in 0..20_u8 {
        opened.put(small, &Address::new([key]), b"few");
        opened.put(large, &Address::new([key]), &value);
    }
    let faults = Faults {
        file_bytes_max: Some(100 << 10),
        ..Faults::default()
    };
    let written = opened.begin_snapshot().write_with(&storage, faults);
    let error = written
        .result
        .expect_err("200 KiB were written where 100 KiB are taken");
    assert_eq!(error.kind(), BackendErrorKind::TooLarge, "{error}");
    assert!(
        error.message().contains("large state"),
        "the stream was not opened with the name of its largest state: {error}"
    );
    for key in 0..20_u8 {
        opened.delete(large, &Address::new([key]));
    }
    let handles = opened.snapshot(&storage);
    opened.close();
    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    let small = restored.register("small state", StateKind::Value, 0);
    assert_eq!(restored.count(small), 20);
    restored.close();
}

/// Restores all of `handles` and reads it, which must give the model's cells or an error.
pub(super) fn read_all(
    suite: &Suite,
    files: crate::RestoreFiles,
    handles: &[SnapshotHandle],
    model: &Model,
) -> BackendResult<()> {
    let folder = suite.new_folder("restored");
    let result = try_read_all(suite, files, handles, model, &folder);
    assert!(
        !folder.exists(),
        "the local folder is still there after a failed restore or close"
    );
    result
}

fn try_read_all(
    suite: &Suite,
    files: crate::RestoreFiles,
    handles: &[SnapshotHandle],
    model: &Model,
    folder: &std::path::Path,
) -> BackendResult<()> {
    let mut opened = suite.try_restored(files, Shape::ALONE, handles, folder)?;
    let groups: Vec<KeyGroup> = opened.range().iter().collect();
    for state in &model.states {
        let id = opened.object().register(&state.descriptor).into_result()?;
        let mut found = BTreeMap::new();
        for group in &groups {
            found.extend(opened.try_visit(id, *group)?);
        }
        assert!(
            found == state.cells,
            "the cells of the state {} are others than were written, without an error",
            state.descriptor.name
        );
        for (address, value) in &state.cells {
            let got = opened.object().get(id, &address.cell()).into_result()?;
            assert_eq!(
                got.into_option().as_deref(),
                Some(&value[..]),
                "get of {address:?}"
            );
        }
    }
    Ok(())
}

pub(crate) fn a_read_that_fails_during_a_restore_is_an_error_and_a_retry_works(suite: &Suite) {
    let mut running = Running::new(suite);
    let handles = running.opened.snapshot(&running.storage);
    running.opened.close();
    // Not every backend reads through streams: a mapped file has no reads to fail.
    for read in [0, 1, 2, 5] {
        let files = running.storage.files_that_fail_at(Some(read));
        if let Err(error) = read_all(suite, files, &handles, &running.model) {
            assert_eq!(error.kind(), BackendErrorKind::Io, "{error}");
        }
    }
    read_all(suite, running.storage.files(), &handles, &running.model).unwrap();
}

pub(crate) fn a_missing_file_is_an_error(suite: &Suite) {
    let mut running = Running::new(suite);
    let handles = running.opened.snapshot(&running.storage);
    running.opened.close();
    let file = handles[0].files[0].clone();
    running.storage.remove(&file);
    let error = read_all(suite, running.storage.files(), &handles, &running.model)
        .expect_err("a snapshot was restored although one of its files is missing");
    assert_ne!(error.kind(), BackendErrorKind::Panicked, "{error}");
}

pub(crate) fn a_handle_of_an_unknown_format_is_refused_by_name(suite: &Suite) {
    let mut running = Running::new(suite);
    let handles = running.opened.snapshot(&running.storage);
    running.opened.close();
    for format in ["unheard-of/7", ""] {
        let mut foreign = handles.clone();
        foreign[0].format = RString::from(format);
        let error = read_all(suite, running.storage.files(), &foreign, &running.model)
            .expect_err("a handle of an unknown format was restored");
        assert_eq!(error.kind(), BackendErrorKind::Incompatible, "{error}");
        assert!(
            error.message().contains(format),
            "the error does not name the format {format}: {error}"
        );
    }
}
