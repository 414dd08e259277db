//! How far the table knows a sorted map of which something lies only below.
//!
//! Of the maps that were looked at from their beginning, timers mostly, the first entries are in the table: all of them up to some map key. Before it
//! nothing has to be asked for below. What lies behind may be in the table too, as far as it was changed or asked for by itself.

use super::chunk::Address;
use std::collections::BTreeMap;

/// Up to where maps are known.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// By the name of the map. A map that is not there is not known at all.
    ends: BTreeMap<Vec<u8>, End>,
}

/// Where the known part of a map ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Before this map key.
    Before(Vec<u8>),
    /// Nowhere: all of the map is known.
    Never,
}

impl End {
    /// Whether a map key lies in the known part.
    pub(super) fn is_behind(&self, map_key: &[u8]) -> bool {
        match self {
            Self::Before(end) => map_key < end.as_slice(),
            Self::Never => true,
        }
    }
}

/// The end of what is known of a map of which nothing is.
const START: &End = &End::Before(Vec::new());

/// The name of the map at (key, namespace).
fn name(address: &Address<'_>) -> Vec<u8> {
    let mut name = Vec::with_capacity(8 + address.key.len() + address.namespace.len());
    name.extend_from_slice(&(address.key.len() as u64).to_le_bytes());
    name.extend_from_slice(address.key);
    name.extend_from_slice(address.namespace);
    name
}

impl Windows {
    /// Where the known part of the map ends that `address` lies in.
    pub(super) fn end(&self, address: &Address<'_>) -> &End {
        if self.ends.is_empty() {
            return START;
        }
        self.ends.get(&name(address)).unwrap_or(START)
    }

    pub(super) fn set(&mut self, address: &Address<'_>, end: End) {
        self.ends.insert(name(address), end);
    }

    pub(super) fn clear(&mut self) {
        self.ends.clear();
    }

    /// What is known of maps under the empty key.
    pub(super) fn of_timers(&self) -> Self {
        let under_empty_key = |name: &[u8]| name.starts_with(&[0; 8]);
        let ends = self.ends.iter().filter(|(name, _)| under_empty_key(name));
        Self {
            ends: ends.map(|(name, end)| (name.clone(), end.clone())).collect(),
        }
    }
}
