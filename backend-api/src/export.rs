//! Carries a backend written in plain Rust over the boundary, and keeps panics on its side of it.
//!
//! [`factory_object`] wraps a [`StateBackendFactory`] and everything that it makes. Each call is one dynamic call into code that is
//! compiled for the backend's own types. A panic in the backend is caught here and becomes a
//! [`BackendErrorKind::Panicked`] error; the object that panicked refuses all further calls, since nobody knows what state it is in.
#![expect(
    unsafe_code,
    reason = "a value that panics while it is dropped must be dropped by hand to be caught"
)]

use crate::abi::{
    AbiResult, BackendApi, BackendApi_TO, BackendObject, FactoryApi, FactoryApi_TO, FactoryObject, KeyedApi,
    KeyedApi_TO, KeyedObject, WriterApi, WriterApi_TO, WriterObject,
};
use crate::backend::{
    BackendConfig, Capabilities, CheckpointEvent, KeyedState, StateBackend, StateBackendFactory,
};
use crate::error::{BackendError, BackendErrorKind, BackendResult};
use crate::key_group::KeyGroup;
use crate::slot::Slot;
use crate::snapshot::{OpenKeyed, SnapshotHandle, SnapshotRequest, SnapshotWriter};
use crate::state::{Cell, EntryBuffer, KeyBatch, StateDescriptor, StateId};
use crate::streams::SnapshotStreams;
use abi_stable::sabi_trait;
use abi_stable::std_types::{ROption, RResult, RSlice, RSliceMut, RString, RVec, Tuple2};
use std::any::Any;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The factory as an object that can cross the boundary.
pub fn factory_object<F: StateBackendFactory>(factory: F) -> FactoryObject {
    FactoryApi_TO::from_value(Guarded::new(factory), sabi_trait::TD_Opaque)
}

/// Exports the factories of a backend library (a crate of type `cdylib`).
///
/// Takes one or more expressions that are factories. To be used once a library, in a private module. A panic in an expression makes the
/// engine refuse the library.
///
/// ```ignore
/// millpond_backend_api::export_backends!(AcmeStateBackendFactory);
/// ```
// What `abi_stable::export_root_module` expands to, except that its paths lead through this crate: a backend need not depend on abi_stable.
#[macro_export]
macro_rules! export_backends {
    ($($factory:expr),+ $(,)?) => {
        #[expect(unsafe_code, reason = "the engine finds the library's header by its symbol")]
        const _: () = {
            extern "C" fn factories() -> $crate::reexport::RVec<$crate::abi::FactoryObject> {
                $crate::export::library_factories(|| vec![$($crate::export::factory_object($factory)),+])
            }

            fn root_module() -> $crate::abi::BackendModule_Ref {
                use $crate::reexport::PrefixTypeTrait;
                $crate::abi::BackendModule { factories }.leak_into_prefix()
            }

            extern "C" fn constructor() -> $crate::reexport::RootModuleResult {
                $crate::reexport::__call_root_module_loader(root_module)
            }

            // SAFETY: no other item of a library has this name.
            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            static HEADER: $crate::reexport::LibHeader =
                // SAFETY: the constructor returns the very module that the header describes.
                unsafe {
                    $crate::reexport::LibHeader::from_constructor::<$crate::abi::BackendModule_Ref>(
                        constructor,
                        $crate::reexport::CheckTypeLayout::Yes,
                    )
                };
        };
    };
}

/// Makes a library's factories; none if that panics, since a panic may not cross the boundary.
#[doc(hidden)]
pub fn library_factories(make: impl FnOnce() -> Vec<FactoryObject>) -> RVec<FactoryObject> {
    catch_unwind(AssertUnwindSafe(make)).unwrap_or_default().into()
}

/// What a panic payload says.
#[must_use]
pub fn panic_text(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}

/// A value whose panics are caught, and which is out of use after the first one.
struct Guarded<T> {
    inner: ManuallyDrop<T>,
    panicked: std::sync::atomic::AtomicBool,
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        let inner = &mut self.inner;
        // SAFETY: dropped here once, and nobody can use the value after its own drop.
        let dropped = catch_unwind(AssertUnwindSafe(|| unsafe { ManuallyDrop::drop(inner) }));
        // There is nobody to tell. A payload whose own drop panics must not take the process with it.
        std::mem::forget(dropped);
    }
}

impl<T> Guarded<T> {
    fn new(inner: T) -> Self {
        Self {
            inner: ManuallyDrop::new(inner),
            panicked: std::sync::atomic::AtomicBool::new(false),
        }
    }

    #[inline]
    fn run<'a, R>(
        &'a mut self,
        call: &'static str,
        body: impl FnOnce(&'a mut T) -> BackendResult<R>,
    ) -> AbiResult<R> {
        if *self.panicked.get_mut() {
            return RResult::RErr(out_of_use(call));
        }
        let (inner, panicked) = (&mut self.inner, &self.panicked);
        match catch_unwind(AssertUnwindSafe(|| body(inner))) {
            Ok(result) => result.into(),
            Err(payload) => RResult::RErr(note_panic(panicked, call, payload)),
        }
    }

    fn run_shared<'a, R>(
        &'a self,
        call: &'static str,
        body: impl FnOnce(&'a T) -> BackendResult<R>,
    ) -> AbiResult<R> {
        if self.panicked.load(std::sync::atomic::Ordering::Acquire) {
            return RResult::RErr(out_of_use(call));
        }
        match catch_unwind(AssertUnwindSafe(|| body(&self.inner))) {
            Ok(result) => result.into(),
            Err(payload) => RResult::RErr(note_panic(&self.panicked, call, payload)),
        }
    }
}

#[cold]
fn out_of_use(call: &str) -> BackendError {
    BackendError::new(
        BackendErrorKind::Panicked,
        format!("{call} was refused: the state backend panicked before, so its state cannot be trusted"),
    )
}

#[cold]
fn note_panic(
    panicked: &std::sync::atomic::AtomicBool,
    call: &str,
    payload: Box<dyn Any + Send>,
) -> BackendError {
    panicked.store(true, std::sync::atomic::Ordering::Release);
    let text = panic_text(payload.as_ref());
    // A payload whose own drop panics must not take the process with it.
    std::mem::forget(payload);
    BackendError::new(
        BackendErrorKind::Panicked,
        format!("the state backend panicked in {call}: {text}"),
    )
}

impl<F: StateBackendFactory> FactoryApi for Guarded<F> {
    fn name(&self) -> RString {
        self.run_shared("name", |factory| Ok(factory.name()))
            .unwrap_or_default()
            .into()
    }

    fn short_names(&self) -> RVec<RString> {
        let names = self
            .run_shared("short_names", |factory| Ok(factory.short_names()))
            .unwrap_or_default();
        names.into_iter().map(RString::from).collect()
    }

    fn version(&self) -> RString {
        self.run_shared("version", |factory| Ok(factory.version()))
            .unwrap_or_default()
            .into()
    }

    fn create(&self, config: RVec<Tuple2<RString, RString>>) -> AbiResult<BackendObject> {
        let config: BackendConfig = config
            .into_iter()
            .map(|Tuple2(key, value)| (key.into_string(), value.into_string()))
            .collect();
        self.run_shared("create", |factory| {
            let backend = factory.create(&config)?;
            Ok(BackendApi_TO::from_value(
                Guarded::new(backend),
                sabi_trait::TD_Opaque,
            ))
        })
    }
}

impl<B: StateBackend> BackendApi for Guarded<B> {
    fn capabilities(&self) -> Capabilities {
        self.run_shared("capabilities", |backend| Ok(backend.capabilities()))
            .unwrap_or_default()
    }

    fn open_keyed(&self, open: OpenKeyed) -> AbiResult<KeyedObject> {
        self.run_shared("open_keyed", |backend| {
            let keyed = backend.open_keyed(open)?;
            Ok(KeyedApi_TO::from_value(
                Guarded::new(keyed),
                sabi_trait::TD_Opaque,
            ))
        })
    }
}

impl<K: KeyedState> KeyedApi for Guarded<K> {
    fn register(&mut self, descriptor: &StateDescriptor) -> AbiResult<StateId> {
        self.run("register", |keyed| keyed.register(descriptor))
    }

    fn states(&mut self) -> AbiResult<RVec<StateDescriptor>> {
        self.run("states", |keyed| Ok(keyed.states().into()))
    }

    fn prefetch(&mut self, state: StateId, keys: &KeyBatch<'_>) {
        // A hint that fails is no failure: the call that follows it tells.
        let _ = self.run("prefetch", |keyed| {
            keyed.prefetch(state, keys);
            Ok(())
        });
    }

    fn slots(
        &mut self,
        state: StateId,
        keys: &KeyBatch<'_>,
        mut slots: RSliceMut<'_, Slot>,
    ) -> AbiResult<u64> {
        self.run("slots", |keyed| keyed.slots(state, keys, slots.as_mut_slice()))
    }

    fn end_batch(
        &mut self,
        state: StateId,
        keys: &KeyBatch<'_>,
        slots: RSlice<'_, Slot>,
        any_absent: bool,
    ) -> AbiResult<()> {
        self.run("end_batch", |keyed| {
            keyed.end_batch(state, keys, slots.as_slice(), any_absent)
        })
    }

    fn get<'a>(&'a mut self, state: StateId, cell: &Cell<'_>) -> AbiResult<ROption<RSlice<'a, u8>>> {
        self.run("get", |keyed| {
            Ok(keyed.get(state, cell)?.map(RSlice::from).into())
        })
    }

    fn put(&mut self, state: StateId, cell: &Cell<'_>, value: RSlice<'_, u8>) -> AbiResult<()> {
        self.run("put", |keyed| keyed.put(state, cell, value.as_slice()))
    }

    fn delete(&mut self, state: StateId, cell: &Cell<'_>) -> AbiResult<bool> {
        self.run("delete", |keyed| keyed.delete(state, cell))
    }

    fn append(&mut self, state: StateId, cell: &Cell<'_>, element: RSlice<'_, u8>) -> AbiResult<()> {
        self.run("append", |keyed| keyed.append(state, cell, element.as_slice()))
    }

    fn scan(
        &mut self,
        state: StateId,
        cell: &Cell<'_>,
        to: RSlice<'_, u8>,
        limit: usize,
        entries: &mut EntryBuffer,
    ) -> AbiResult<()> {
        self.run("scan", |keyed| {
            keyed.scan(state, cell, to.as_slice(), limit, entries)
        })
    }

    fn clear_map(&mut self, state: StateId, cell: &Cell<'_>) -> AbiResult<u64> {
        self.run("clear_map", |keyed| keyed.clear_map(state, cell))
    }

    fn visit(&mut self, state: StateId, group: KeyGroup, entries: &mut EntryBuffer) -> AbiResult<()> {
        self.run("visit", |keyed| keyed.visit(state, group, entries))
    }

    fn count(&mut self, state: StateId) -> AbiResult<u64> {
        self.run("len", |keyed| keyed.len(state))
    }

    fn snapshot(&mut self, request: &SnapshotRequest) -> AbiResult<WriterObject> {
        self.run("snapshot", |keyed| {
            let writer = keyed.snapshot(request)?;
            Ok(WriterApi_TO::from_value(
                Guarded::new(writer),
                sabi_trait::TD_Opaque,
            ))
        })
    }

    fn notify(&mut self, checkpoint_id: u64, event: CheckpointEvent) -> AbiResult<()> {
        self.run("notify", |keyed| keyed.notify(checkpoint_id, event))
    }

    fn metrics(&mut self) -> AbiResult<RVec<Tuple2<RString, f64>>> {
        self.run("metrics", |keyed| {
            Ok(keyed
                .metrics()
                .into_iter()
                .map(|(name, figure)| Tuple2(RString::from(name), figure))
                .collect())
        })
    }

    fn slot_generation(&mut self, state: StateId) -> AbiResult<u64> {
        self.run("slot_generation", |keyed| keyed.slot_generation(state))
    }

    fn clean_up(&mut self, state: StateId, now_ms: u64, cells: u64) -> AbiResult<u64> {
        self.run("clean_up", |keyed| keyed.clean_up(state, now_ms, cells))
    }
}

impl<W: SnapshotWriter> WriterApi for Guarded<W> {
    fn write(&mut self, streams: &SnapshotStreams) -> AbiResult<RVec<SnapshotHandle>> {
        self.run("write", |writer| writer.write(streams).map(RVec::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exported_name_is_the_one_that_the_loader_looks_for() {
        let source = include_str!("export.rs");
        let name = abi_stable::library::ROOT_MODULE_LOADER_NAME;
        assert!(source.contains(&format!("export_name = \"{name}\"")), "{name}");
    }

    #[test]
    fn a_panic_while_factories_are_made_leaves_none() {
        assert!(library_factories(|| panic!("not today")).is_empty());
    }
}
