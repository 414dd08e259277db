//! States as snapshots name them: the same bytes in every format of ours.
//!
//! ```text
//! varint  number of states, and for each
//!             framed name | kind (1 byte) | varint value width | framed codec
//! ```

use super::bytes::{Bytes, put_framed, put_varint};
use crate::state::{StateDescriptor, StateKind};
use std::collections::BTreeSet;

/// Appends `states`, whose names differ.
pub fn put_states(to: &mut Vec<u8>, states: &[StateDescriptor]) {
    put_varint(to, states.len() as u64);
    for state in states {
        put_framed(to, state.name.as_bytes());
        to.push(state.kind as u8);
        put_varint(to, u64::from(state.value_width));
        put_framed(to, state.codec.as_slice());
    }
}

/// Reads states; `None` where the bytes are none, two names are the same, or a state has a width that its kind cannot have.
#[must_use]
pub fn read_states(bytes: &mut Bytes<'_>) -> Option<Vec<StateDescriptor>> {
    // Nothing is reserved by the count: it is as untrusted as the rest.
    let mut states = Vec::new();
    let mut names = BTreeSet::new();
    for _ in 0..bytes.varint()? {
        let name = std::str::from_utf8(bytes.framed()?).ok()?;
        let kind = StateKind::from_number(bytes.byte()?)?;
        let width = u32::try_from(bytes.varint()?).ok()?;
        if !names.insert(name) || (width > 0 && kind != StateKind::Value) {
            return None;
        }
        let mut state = StateDescriptor::new(name, kind, width);
        state.codec = bytes.framed()?.to_vec().into();
        states.push(state);
    }
    Some(states)
}
