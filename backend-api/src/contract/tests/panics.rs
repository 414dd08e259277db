//! A backend that panics in the middle: an error at the boundary, and no call after it.

use super::defect::Defect;
use super::reference::{Reference, ReferenceFactory, ReferenceKeyed, ReferenceWriter};
use crate::contract::{Address, Faults, Keys, Shape, Suite};
use crate::export::factory_object;
use crate::*;

/// The reference backend with a panic in the call of this name.
#[derive(Clone, Copy)]
struct PanicsIn(&'static str);

impl PanicsIn {
    fn enter(self, call: &str) {
        if self.0 == call {
            // With a text that is made on the heap, as most are.
            panic!("asked to panic in {call}");
        }
    }
}

struct Panicking<T> {
    inner: T,
    on: PanicsIn,
}

impl<T> Drop for Panicking<T> {
    fn drop(&mut self) {
        self.on.enter("drop");
    }
}

impl StateBackendFactory for Panicking<ReferenceFactory> {
    type Backend = Panicking<Reference>;

    fn name(&self) -> String {
        self.on.enter("name");
        self.inner.name()
    }

    fn short_names(&self) -> Vec<String> {
        self.on.enter("short_names");
        self.inner.short_names()
    }

    fn version(&self) -> String {
        self.on.enter("version");
        self.inner.version()
    }

    fn create(&self, config: &BackendConfig) -> BackendResult<Self::Backend> {
        self.on.enter("create");
        let (inner, on) = (self.inner.create(config)?, self.on);
        Ok(Panicking { inner, on })
    }
}

impl StateBackend for Panicking<Reference> {
    type Keyed = Panicking<ReferenceKeyed>;

    fn capabilities(&self) -> Capabilities {
        self.on.enter("capabilities");
        self.inner.capabilities()
    }

    fn open_keyed(&self, open: OpenKeyed) -> BackendResult<Self::Keyed> {
        self.on.enter("open_keyed");
        let (inner, on) = (self.inner.open_keyed(open)?, self.on);
        Ok(Panicking { inner, on })
    }
}

impl KeyedState for Panicking<ReferenceKeyed> {
    type Writer = Panicking<ReferenceWriter>;

    fn register(&mut self, descriptor: &StateDescriptor) -> BackendResult<StateId> {
        self.on.enter("register");
        self.inner.register(descriptor)
    }

    fn states(&self) -> Vec<StateDescriptor> {
        self.on.enter("states");
        self.inner.states()
    }

    fn prefetch(&mut self, state: StateId, keys: &KeyBatch<'_>) {
        self.on.enter("prefetch");
        self.inner.prefetch(state, keys);
    }

    fn slots(&mut self, state: StateId, keys: &KeyBatch<'_>, slots: &mut [Slot]) -> BackendResult<u64> {
        self.on.enter("slots");
        self.inner.slots(state, keys, slots)
    }

    fn end_batch(
        &mut self,
        state: StateId,
        keys: &KeyBatch<'_>,
        slots: &[Slot],
        any_absent: bool,
    ) -> BackendResult<()> {
        self.on.enter("end_batch");
        self.inner.end_batch(state, keys, slots, any_absent)
    }

    fn get(&mut self, state: StateId, cell: &Cell<'_>) -> BackendResult<Option<&[u8]>> {
        self.on.enter("get");
        self.inner.get(state, cell)
    }

    fn put(&mut self, state: StateId, cell: &Cell<'_>, value: &[u8]) -> BackendResult<()> {
        self.on.enter("put");
        self.inner.put(state, cell, value)
    }

    fn delete(&mut self, state: StateId, cell: &Cell<'_>) -> BackendResult<bool> {
        self.on.enter("delete");
        self.inner.delete(state, cell)
    }

    fn append(&mut self, state: StateId, cell: &Cell<'_>, element: &[u8]) -> BackendResult<()> {
        self.on.enter("append");
        self.inner.append(state, cell, element)
    }

    fn scan(
        &mut self,
        state: StateId,
        cell: &Cell<'_>,
        to: &[u8],
        limit: usize,
        entries: &mut EntryBuffer,
    ) -> BackendResult<()> {
        self.on.enter("scan");
        self.inner.scan(state, cell, to, limit, entries)
    }

    fn clear_map(&mut self, state: StateId, cell: &Cell<'_>) -> BackendResult<u64> {
        self.on.enter("clear_map");
        self.inner.clear_map(state, cell)
    }

    fn visit(&mut self, state: StateId, group: KeyGroup, entries: &mut EntryBuffer) -> BackendResult<()> {
        self.on.enter("visit");
        self.inner.visit(state, group, entries)
    }

    fn len(&mut self, state: StateId) -> BackendResult<u64> {
        self.on.enter("len");
        self.inner.len(state)
    }

    fn snapshot(&mut self, request: &SnapshotRequest) -> BackendResult<Self::Writer> {
        self.on.enter("snapshot");
        let (inner, on) = (self.inner.snapshot(request)?, self.on);
        Ok(Panicking { inner, on })
    }

    fn notify(&mut self, checkpoint_id: u64, event: CheckpointEvent) -> BackendResult<()> {
        self.on.enter("notify");
        self.inner.notify(checkpoint_id, event)
    }

    fn metrics(&self) -> Vec<(String, f64)> {
        self.on.enter("metrics");
        self.inner.metrics()
    }
}

impl SnapshotWriter for Panicking<ReferenceWriter> {
    fn write(&mut self, streams: &SnapshotStreams) -> BackendResult<Vec<SnapshotHandle>> {
        let handles = self.inner.write(streams)?;
        // In the middle: the files are there, the handles never come.
        self.on.enter("write");
        Ok(handles)
    }
}

fn suite(call: &'static str) -> Suite {
    let make = move || {
        factory_object(Panicking {
            inner: ReferenceFactory(Defect::None),
            on: PanicsIn(call),
        })
    };
    Suite::new(make, &[])
}

/// Requires the error of a panic, or of a refusal after one.
#[track_caller]
fn panicked<T>(result: impl Into<BackendResult<T>>, named: &str) {
    let Err(error) = result.into() else {
        panic!("the call went well");
    };
    assert_eq!(error.kind(), BackendErrorKind::Panicked, "{error}");
    assert!(error.message().contains(named), "{error}");
}

#[test]
fn a_panic_in_any_call_of_a_keyed_state_is_an_error_and_every_later_call_is_refused() {
    let calls = [
        "register",
        "states",
        "slots",
        "end_batch",
        "get",
        "put",
        "delete",
        "append",
        "scan",
        "clear_map",
        "visit",
        "len",
        "snapshot",
        "notify",
        "metrics",
    ];
    for call in calls {
        let mut opened = suite(call).fresh();
        let object = opened.object();
        let mut entries = EntryBuffer::new();
        let mut slots = [Slot::NULL];
        let address = Address::new("key");
        let (cell, keys) = (address.cell(), Keys::new([&address]));
        let state = StateId(0);
        let text = format!("asked to panic in {call}");
        let request = SnapshotRequest {
            checkpoint_id: 1,
            may_share: true,
            form: SnapshotForm::Native,
        };
        if call != "register" {
            let descriptor = StateDescriptor::new("value", StateKind::Value, 8);
            object.register(&descriptor).unwrap();
        }
        match call {
            "register" => {
                let descriptor = StateDescriptor::new("value", StateKind::Value, 8);
                panicked(object.register(&descriptor), &text);
            }
            "states" => panicked(object.states(), &text),
            "slots" => panicked(object.slots(state, &keys.batch(), (&mut slots[..]).into()), &text),
            "end_batch" => panicked(
                object.end_batch(state, &keys.batch(), (&slots[..]).into(), true),
                &text,
            ),
            "get" => panicked(object.get(state, &cell), &text),
            "put" => panicked(object.put(state, &cell, b"8 bytes."[..].into()), &text),
            "delete" => panicked(object.delete(state, &cell), &text),
            "append" => panicked(object.append(state, &cell, b"v"[..].into()), &text),
            "scan" => panicked(object.scan(state, &cell, b""[..].into(), 0, &mut entries), &text),
            "clear_map" => panicked(object.clear_map(state, &cell), &text),
            "visit" => panicked(object.visit(state, KeyGroup(0), &mut entries), &text),
            "len" => panicked(object.count(state), &text),
            "snapshot" => panicked(object.snapshot(&request), &text),
            "notify" => panicked(object.notify(1, CheckpointEvent::Completed), &text),
            _ => panicked(object.metrics(), &text),
        }
        panicked(object.get(state, &cell), "panicked before");
        panicked(
            object.put(state, &cell, b"8 bytes."[..].into()),
            "panicked before",
        );
        panicked(object.snapshot(&request), "panicked before");
        panicked(object.metrics(), "panicked before");
    }
}

#[test]
fn a_panic_in_a_hint_shows_at_the_next_call() {
    let mut opened = suite("prefetch").fresh();
    let state = opened.register("value", StateKind::Value, 0);
    let address = Address::new("key");
    opened.prefetch(state, &Keys::new([&address]));
    panicked(opened.object().get(state, &address.cell()), "panicked before");
}

#[test]
fn a_panic_of_a_writer_fails_its_snapshot_and_the_keyed_state_goes_on() {
    let suite = suite("write");
    let storage = suite.storage();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let state = opened.register("value", StateKind::Value, 0);
    opened.put(state, &Address::new("key"), b"v");
    let written = opened.begin_snapshot().write_with(&storage, Faults::default());
    panicked(written.result, "asked to panic in write");
    assert_eq!((storage.open_streams(), storage.file_count()), (0, 0));
    assert_eq!(opened.get(state, &Address::new("key")).unwrap(), b"v");
}

#[test]
fn a_panic_in_a_drop_does_not_end_the_process() {
    let suite = suite("drop");
    let storage = suite.storage();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let state = opened.register("value", StateKind::Value, 0);
    opened.put(state, &Address::new("key"), b"v");
    drop(opened.begin_snapshot());
    assert_eq!(opened.snapshot(&storage).len(), 1);
    opened.close();
}

#[test]
fn a_panic_of_a_factory_or_backend_is_an_error() {
    for call in ["name", "short_names", "version", "create"] {
        let factory = suite(call).factory();
        match call {
            "name" => assert_eq!(factory.name(), ""),
            "short_names" => assert!(factory.short_names().is_empty()),
            "version" => assert_eq!(factory.version(), ""),
            _ => {}
        }
        let result = factory.create(Vec::new().into()).into_result();
        panicked(result.map(|_| ()), "panicked");
    }
    let suite = suite("open_keyed");
    let folder = suite.storage_on_disk();
    let opened = suite.try_restored(folder.files(), Shape::ALONE, &[], "unused".as_ref());
    panicked(opened, "asked to panic in open_keyed");
}
