//! The keys of a batch in columns, as the backend takes them.

use crate::api::Data;
use crate::{Result, codec};
use millpond_backend_api::{Cell, KeyBatch, KeyGroup, key_group, key_hash};

/// The keys of the records of one batch: hash, key group and encoded key of each. The memory is kept from batch to batch.
#[derive(Debug, Default)]
pub(crate) struct KeyColumn {
    pub(crate) hashes: Vec<u64>,
    groups: Vec<KeyGroup>,
    bytes: Vec<u8>,
    /// Where each key ends; unused where all keys have one width.
    ends: Vec<u32>,
    /// The bytes of every key if they all have the same number.
    width: Option<usize>,
}

impl KeyColumn {
    /// A column for keys that all have `width` bytes, or bytes of their own.
    pub(crate) fn new(width: Option<usize>) -> Self {
        // Keys without any byte have ends like those of any width.
        Self {
            width: width.filter(|width| *width > 0),
            ..Self::default()
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.hashes.len()
    }

    pub(crate) fn clear(&mut self) {
        self.hashes.clear();
        self.groups.clear();
        self.bytes.clear();
        self.ends.clear();
    }

    /// Appends the bytes of a key; its hash comes by [`set_hashes`](Self::set_hashes).
    #[inline]
    pub(crate) fn push<K: Data>(&mut self, key: &K) -> Result<()> {
        match self.width {
            Some(width) => {
                let from = self.bytes.len();
                self.bytes.resize(from + width, 0);
                let place = self.bytes.get_mut(from..).unwrap_or_default();
                codec::encode_fixed(key, place)?;
            }
            None => {
                codec::encode_into(key, &mut self.bytes)?;
                self.end_key();
            }
        }
        Ok(())
    }

    fn end_key(&mut self) {
        self.ends
            .push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
    }

    /// Takes the hashes that came with the records, and computes the key groups.
    pub(crate) fn set_hashes(&mut self, hashes: &mut Vec<u64>, max_parallelism: u32) {
        std::mem::swap(&mut self.hashes, hashes);
        hashes.clear();
        self.groups
            .extend(self.hashes.iter().map(|hash| key_group(*hash, max_parallelism)));
    }

    /// Appends an encoded key with its group.
    pub(crate) fn push_encoded(&mut self, key: &[u8], group: KeyGroup) {
        self.bytes.extend_from_slice(key);
        if self.width.is_none() {
            self.end_key();
        }
        self.hashes.push(key_hash(key));
        self.groups.push(group);
    }

    /// The encoded key of record `index`.
    #[inline]
    pub(crate) fn key(&self, index: usize) -> &[u8] {
        self.batch(0).key(index)
    }

    /// The cell of record `index` without namespace; that of the empty key where there is no such record.
    #[inline]
    pub(crate) fn cell(&self, index: usize) -> Cell<'_> {
        self.batch(0)
            .cell(index)
            .unwrap_or_else(|| Cell::of_key(key_hash(&[]), KeyGroup(0), &[]))
    }

    /// The keys from record `from` on. Only with a width, or from 0: ends count from the start of the bytes.
    #[inline]
    pub(crate) fn batch(&self, from: usize) -> KeyBatch<'_> {
        let (bytes, ends, width) = match self.width {
            Some(width) => (self.bytes.get(from * width..), &[][..], width),
            None => (Some(&self.bytes[..]), &self.ends[..], 0),
        };
        KeyBatch {
            hashes: self.hashes.get(from..).unwrap_or_default().into(),
            groups: self.groups.get(from..).unwrap_or_default().into(),
            bytes: bytes.unwrap_or_default().into(),
            ends: ends.into(),
            width: u32::try_from(width).unwrap_or(0),
        }
    }

    /// The first record that a batch call may begin with to cover record `at`.
    pub(crate) fn batch_start(&self, at: usize) -> usize {
        if self.width.is_some() { at } else { 0 }
    }
}

/// Computes the hash of each record's key.
pub(crate) struct Hasher {
    width: Option<usize>,
    scratch: Vec<u8>,
}

impl Hasher {
    pub(crate) fn new(width: Option<usize>) -> Self {
        Self {
            width,
            scratch: Vec::new(),
        }
    }

    /// The hash of `key`.
    #[inline]
    pub(crate) fn hash<K: Data>(&mut self, key: &K) -> Result<u64> {
        if let Some(8) = self.width {
            let mut bytes = [0; 8];
            codec::encode_fixed(key, &mut bytes)?;
            return Ok(key_hash(&bytes));
        }
        self.scratch.clear();
        codec::encode_into(key, &mut self.scratch)?;
        Ok(key_hash(&self.scratch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_gives_back_its_keys_from_any_record_on() {
        let mut fixed = KeyColumn::new(Some(8));
        let mut hasher = Hasher::new(Some(8));
        let mut hashes = Vec::new();
        for key in 0..5_u64 {
            fixed.push(&key).unwrap();
            hashes.push(hasher.hash(&key).unwrap());
        }
        fixed.set_hashes(&mut hashes, 128);
        let from = fixed.batch_start(3);
        assert_eq!((from, fixed.batch(from).len()), (3, 2));
        assert_eq!(fixed.batch(from).key(1), 4_u64.to_le_bytes());
        assert_eq!(fixed.cell(2).hash, key_hash(&2_u64.to_le_bytes()));
        assert!(hashes.is_empty());

        let mut varying = KeyColumn::new(None);
        let mut hasher = Hasher::new(None);
        for key in ["a", "", "long"] {
            varying.push(&key.to_owned()).unwrap();
            hashes.push(hasher.hash(&key.to_owned()).unwrap());
        }
        varying.set_hashes(&mut hashes, 128);
        assert_eq!(varying.batch_start(2), 0);
        assert_eq!(varying.key(2), codec::to_vec("long").unwrap());
        assert_eq!(varying.cell(1).hash, key_hash(&codec::to_vec("").unwrap()));
    }
}
