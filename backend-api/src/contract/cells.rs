//! Owned cells and batches of keys, for scenarios and models.

use crate::key_group::{KeyGroup, key_group, key_hash};
use crate::state::{Cell, KeyBatch};

/// The number of key groups that scenarios use unless they say otherwise: few, so that each has keys, and no divisor of them is 3.
pub const GROUPS: u32 = 16;

/// The address of a cell, owned, in the order (group, key, namespace, map key).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The key group.
    pub group: u16,
    /// The encoded key.
    pub key: Vec<u8>,
    /// The encoded namespace.
    pub namespace: Vec<u8>,
    /// The encoded map key.
    pub map_key: Vec<u8>,
}

impl Address {
    /// The cell of `key` where an operator has [`GROUPS`] key groups.
    #[must_use]
    pub fn new(key: impl Into<Vec<u8>>) -> Self {
        Self::among(GROUPS, key)
    }

    /// The cell of `key` where an operator has `groups` key groups.
    #[must_use]
    pub fn among(groups: u32, key: impl Into<Vec<u8>>) -> Self {
        let key = key.into();
        Self {
            group: key_group(key_hash(&key), groups).0,
            key,
            ..Self::default()
        }
    }

    /// The cell of the empty key in `group`, as timers use it.
    #[must_use]
    pub fn of_group(group: u16) -> Self {
        Self {
            group,
            ..Self::default()
        }
    }

    /// The same in `namespace`.
    #[must_use]
    pub fn within(self, namespace: impl Into<Vec<u8>>) -> Self {
        Self {
            namespace: namespace.into(),
            ..self
        }
    }

    /// The same at `map_key`.
    #[must_use]
    pub fn at(self, map_key: impl Into<Vec<u8>>) -> Self {
        Self {
            map_key: map_key.into(),
            ..self
        }
    }

    /// The cell as a backend gets it.
    #[must_use]
    pub fn cell(&self) -> Cell<'_> {
        Cell::of_key(key_hash(&self.key), KeyGroup(self.group), &self.key)
            .with_namespace(&self.namespace)
            .with_map_key(&self.map_key)
    }
}

/// The keys of a batch with their hashes and groups, owned.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    hashes: Vec<u64>,
    groups: Vec<KeyGroup>,
    bytes: Vec<u8>,
    ends: Vec<u32>,
    width: u32,
}

impl Keys {
    /// The batch of the keys of `addresses`, as a batch of keys of varying width.
    pub fn new<'a>(addresses: impl IntoIterator<Item = &'a Address>) -> Self {
        let mut keys = Self::default();
        for address in addresses {
            keys.hashes.push(key_hash(&address.key));
            keys.groups.push(KeyGroup(address.group));
            keys.bytes.extend_from_slice(&address.key);
            keys.ends.push(u32::try_from(keys.bytes.len()).unwrap());
        }
        keys
    }

    /// The same batch as one of keys of one width, if they have one that is not 0.
    #[must_use]
    pub fn with_one_width(mut self) -> Self {
        let width = self.ends.first().copied().unwrap_or(0);
        let mut expected = 0_u32;
        let same = self.ends.iter().all(|end| {
            expected += width;
            *end == expected
        });
        if same && width > 0 {
            self.ends.clear();
            self.width = width;
        }
        self
    }

    /// The batch as a backend gets it.
    #[must_use]
    pub fn batch(&self) -> KeyBatch<'_> {
        KeyBatch {
            hashes: (&self.hashes[..]).into(),
            groups: (&self.groups[..]).into(),
            bytes: (&self.bytes[..]).into(),
            ends: (&self.ends[..]).into(),
            width: self.width,
        }
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }
}
