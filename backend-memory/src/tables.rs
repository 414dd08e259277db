//! The states of one subtask by name, and the numbers that they are registered under.

use crate::kinds::KindState;
use crate::snapshot::FrozenState;
use crate::table::{EraOfOwner, SnapshotEra};
use millpond_backend_api::{
    BackendError, BackendErrorKind, BackendResult, KeyGroup, KeyGroupRange, StateDescriptor, StateId,
    StateKind,
};

/// The states of one subtask, each with a table for every key group.
#[derive(Debug)]
pub struct Tables {
    range: KeyGroupRange,
    states: Vec<NamedState>,
    /// The place in `states` of each registered state, by its id.
    registered: Vec<usize>,
    /// How many snapshots were taken.
    epoch: u32,
    era: EraOfOwner,
    keep_deletions: bool,
}

#[derive(Debug)]
pub(crate) struct NamedState {
    pub(crate) descriptor: StateDescriptor,
    pub(crate) kind: KindState,
    /// What time it is for a state with a TTL, as far as was told.
    pub(crate) now_ms: u64,
}

/// The most bytes of the keys of a batch, and of a fixed-width value: together they stay below what an entry may have.
pub(crate) const BATCH_BYTES_MAX: usize = 1 << 29;

#[cold]
pub(crate) fn misuse(text: String) -> BackendError {
    BackendError::new(BackendErrorKind::Misuse, text)
}

/// A descriptor as errors show it.
fn shown(descriptor: &StateDescriptor) -> String {
    match descriptor.value_width {
        0 => descriptor.kind.name().to_owned(),
        width => format!("{} of {width} bytes", descriptor.kind.name()),
    }
}

impl NamedState {
    #[cold]
    pub(crate) fn wrong_kind(&self, operation: &str) -> BackendError {
        misuse(format!(
            "{operation} is not for state {:?}, which is a {}",
            self.descriptor.name,
            shown(&self.descriptor)
        ))
    }
}

impl Tables {
    /// Empty tables for the groups of `range`, for snapshots that have everything.
    #[must_use]
    pub fn new(range: KeyGroupRange) -> Self {
        Self {
            range,
            states: Vec::new(),
            registered: Vec::new(),
            epoch: 0,
            era: EraOfOwner::default(),
            keep_deletions: false,
        }
    }

    /// Empty tables for snapshots that are increments: deletions are noted, and changes begin with epoch 1; what lies below is of epoch 0.
    #[must_use]
    pub fn for_increments(range: KeyGroupRange) -> Self {
        Self {
            epoch: 1,
            keep_deletions: true,
            ..Self::new(range)
        }
    }

    /// The key groups.
    #[must_use]
    pub fn range(&self) -> KeyGroupRange {
        self.range
    }

    /// How many snapshots were taken: the epoch of what is changed from now on.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The state that `descriptor` describes, which is made if it is not there.
    ///
    /// # Errors
    /// [`Incompatible`](BackendErrorKind::Incompatible) when it is there with another kind or width.
    pub fn kind_of(&mut self, descriptor: &StateDescriptor) -> BackendResult<&mut KindState> {
        let place = self.state_of(descriptor)?;
        match self.states.get_mut(place) {
            Some(state) => Ok(&mut state.kind),
            None => Err(misuse(format!("there is no state {:?}", descriptor.name))),
        }
    }

    /// The states with their descriptors.
    pub fn iter(&self) -> impl Iterator<Item = (&StateDescriptor, &KindState)> {
        self.states.iter().map(|state| (&state.descriptor, &state.kind))
    }

    /// The states, to be changed, with their descriptors.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&StateDescriptor, &mut KindState)> {
        self.states
            .iter_mut()
            .map(|state| (&state.descriptor, &mut state.kind))
    }

    /// Whether slots of any state are out.
    #[must_use]
    pub fn in_batch(&self) -> bool {
        self.states.iter().any(|named| named.kind.in_batch())
    }

    /// Everything as it is now; what is changed from now on belongs to the next epoch.
    ///
    /// # Errors
    /// [`Misuse`](BackendErrorKind::Misuse) while slots are out.
    pub fn freeze(&mut self) -> BackendResult<Vec<FrozenState>> {
        if let Some(named) = self.states.iter().find(|named| named.kind.in_batch()) {
            return Err(in_batch(&named.descriptor));
        }
        let era = SnapshotEra::begin(&mut self.era);
        self.epoch = self.epoch.wrapping_add(1);
        let states = self.states.iter_mut();
        Ok(states
            .map(|named| FrozenState {
                descriptor: named.descriptor.clone(),
                counters: named.kind.counters().to_vec(),
                lower: named.kind.lower().clone(),
                groups: named.kind.freeze(&era),
                now_ms: named.now_ms,
            })
            .collect())
    }

    /// Registers a state.
    pub(crate) fn register(&mut self, descriptor: &StateDescriptor) -> BackendResult<StateId> {
        let place = self.state_of(descriptor)?;
        if let Some(state) = self.states.get_mut(place) {
            state.descriptor.codec = descriptor.codec.clone();
            state.descriptor.ttl = descriptor.ttl;
        }
        let id = self.registered.iter().position(|known| *known == place);
        let id = id.unwrap_or_else(|| {
            self.registered.push(place);
            self.registered.len() - 1
        });
        u32::try_from(id)
            .map(StateId)
            .map_err(|_| misuse("too many states".to_owned()))
    }

    /// The place in `states` of the state that `descriptor` describes, which is made if it is not there.
    pub(crate) fn state_of(&mut self, descriptor: &StateDescriptor) -> BackendResult<usize> {
        let known = self
            .states
            .iter()
            .position(|state| state.descriptor.name == descriptor.name);
        if let Some(place) = known
            && let Some(state) = self.states.get(place)
        {
            let there = &state.descriptor;
            if there.kind != descriptor.kind || there.value_width != descriptor.value_width {
                return Err(BackendError::new(
                    BackendErrorKind::Incompatible,
                    format!(
                        "state {:?} is there as a {} and cannot be used as a {}",
                        there.name,
                        shown(there),
                        shown(descriptor)
                    ),
                ));
            }
            return Ok(place);
        }
        if descriptor.value_width > 0 && descriptor.kind != StateKind::Value {
            return Err(misuse(format!(
                "state {:?}: only a value has a fixed width, not a {}",
                descriptor.name,
                shown(descriptor)
            )));
        }
        if descriptor.value_width as usize > BATCH_BYTES_MAX {
            return Err(misuse(format!(
                "state {:?} has values of {} bytes, at most {BATCH_BYTES_MAX} are possible",
                descriptor.name, descriptor.value_width
            )));
        }
        let mut kind = KindState::new(descriptor, self.range, self.epoch);
        kind.deletions_mut().keep = self.keep_deletions;
        self.states.push(NamedState {
            descriptor: descriptor.clone(),
            kind,
            now_ms: 0,
        });
        Ok(self.states.len() - 1)
    }

    #[inline]
    pub(crate) fn state(&mut self, state: StateId) -> BackendResult<&mut NamedState> {
        let place = self.registered.get(state.index()).copied();
        match place.and_then(|place| self.states.get_mut(place)) {
            Some(named) => Ok(named),
            None => Err(misuse(format!("there is no state with the id {}", state.0))),
        }
    }

    /// The state, which has no slots out, and the index of `group` in the range.
    #[inline]
    pub(crate) fn at(&mut self, state: StateId, group: KeyGroup) -> BackendResult<(&mut NamedState, usize)> {
        let range = self.range;
        let named = self.state(state)?;
        if named.kind.in_batch() {
            return Err(in_batch(&named.descriptor));
        }
        if !range.contains(group) {
            return Err(not_owned(group, range));
        }
        Ok((named, group.index() - range.first.index()))
    }
}

#[cold]
pub(crate) fn in_batch(descriptor: &StateDescriptor) -> BackendError {
    misuse(format!(
        "state {:?} can be accessed by its slots only, until the batch is ended",
        descriptor.name
    ))
}

#[cold]
pub(crate) fn not_owned(group: KeyGroup, range: KeyGroupRange) -> BackendError {
    misuse(format!("key group {group} is not among the owned ones, {range}"))
}
