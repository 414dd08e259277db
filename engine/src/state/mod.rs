//! State as functions use it: typed handles over the state backend, and [operator state](operator), which belongs to no key.
//!
//! A function registers its states by name when it is opened ([`StateRegistry`]) and keeps the handles; each access is scoped to the key of the
//! record or timer that is being processed, which the [`KeyedContext`] knows. The types are written down with the state, so that a program
//! that registers others is told so, or has the state migrate, instead of reading garbage.

mod context;
mod descriptor;
mod evolution;
mod folding;
mod handle;
mod key_hashes;
mod keys;
mod list;
mod map;
mod namespaces;
pub mod operator;
mod slot_cache;
mod slots;
mod timers;
pub mod ttl;
mod value;
mod window_keys;

pub use context::KeyedContext;
pub use descriptor::StateRegistry;
pub use evolution::{StateCodec, Verdict};
pub use folding::{AggregateFunction, AggregatingState, MergingAggregateFunction, ReducingState};
pub use handle::KeyedStateHandle;
pub use list::ListState;
pub use map::MapState;
pub use namespaces::{Namespaced, NamespacedRegistry};
pub use operator::{
    BroadcastState, BroadcastStates, FunctionInitializationContext, FunctionSnapshotContext,
    ListStateDescriptor, ListStates, MapStateDescriptor, OperatorListState,
};
pub(crate) use timers::DueTimer;
pub use timers::TimerDomain;
pub use ttl::{StateTtlConfig, StateVisibility, TtlTimeProvider, TtlUpdate};
pub use value::ValueState;

pub(crate) use descriptor::check_keys;
pub(crate) use evolution::{Opening, PlannedState};
pub(crate) use key_hashes::group_hashes;
pub(crate) use keys::Hasher;
pub(crate) use operator::{EncodedState, OperatorStates, PlannedOperatorState};
pub(crate) use window_keys::WindowKeys;
