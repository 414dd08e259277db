//! The keys of a batch in columns, as the backend takes them.

use super::key_hashes::{group_hashes, hash_eight_byte_keys};
use crate::api::Data;
use crate::{Result, codec};
use millpond_backend_api::{Cell, KeyBatch, KeyGroup, key_group, key_hash};

/// The keys of the records of one batch: hash, key group and encoded key of each. The memory is kept from batch to batch.
#[derive(Debug, Default)]
pub(crate) struct KeyColumn {
    len: usize,
    /// Those that came with the records, else computed when they are asked for: hot keys need none.
    hashes: Vec<u64>,
    /// Computed when they are asked for.
    groups: Vec<KeyGroup>,
    max_parallelism: u32,
    bytes: Vec<u8>,
    /// Where each key ends; unused where all keys have one width.
    ends: Vec<u32>,
    /// The bytes of every key if they all have the same number.
    width: Option<usize>,
    /// Keys have a part in front that their groups do not depend on.
    is_scoped: bool,
}

impl KeyColumn {
    /// A column for keys that all have `width` bytes, or bytes of their own.
    pub(crate) fn new(width: Option<usize>, max_parallelism: u32) -> Self {
        // Keys without any byte have ends like those of any width.
        Self {
            max_parallelism,
            width: width.filter(|width| *width > 0),
            ..Self::default()
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.is_scoped = false;
        self.hashes.clear();
        self.groups.clear();
        self.ends.clear();
        // Keys of a fixed width are written over, so their memory stays as it is.
        if self.width.is_none() {
            self.bytes.clear();
        }
    }

    /// Takes the keys of all records of a batch, and the hashes if they came with hashes. The column must be empty.
    pub(crate) fn set<T, K: Data>(
        &mut self,
        records: &[T],
        select: impl FnMut(&T) -> K,
        hashes: &mut Vec<u64>,
    ) -> Result<()> {
        match self.width {
            Some(width) => {
                self.bytes.resize(records.len() * width, 0);
                encode_all(records, select, &mut self.bytes, width)?;
            }
            None => encode_varying(records, select, &mut self.bytes, &mut self.ends)?,
        }
        self.len = records.len();
        std::mem::swap(&mut self.hashes, hashes);
        hashes.clear();
        if self.width != Some(8) {
            self.compute_hashes();
        }
        Ok(())
    }

    /// Takes the keys of all records of a batch with a part of fixed width in front of each, which `select` puts there: such a key stays in the key group
    /// of what is behind the first `front` bytes. `hashes` are those of that, if they came with the records. The column must be empty.
    pub(crate) fn set_scoped<T, K: Data>(
        &mut self,
        records: &[T],
        select: impl FnMut(&T) -> K,
        front: usize,
        hashes: &mut Vec<u64>,
    ) -> Result<()> {
        let mut own = std::mem::take(hashes);
        let have_hashes = own.len() == records.len();
        self.set(records, select, hashes)?;
        let max_parallelism = self.max_parallelism;
        let mut groups = std::mem::take(&mut self.groups);
        groups.clear();
        if have_hashes {
            group_hashes(&own, max_parallelism, &mut groups);
        } else {
            groups.extend((0..self.len).map(|index| {
                let key = self.key(index).get(front..).unwrap_or_default();
                key_group(key_hash(key), max_parallelism)
            }));
        }
        self.groups = groups;
        self.is_scoped = true;
        own.clear();
        *hashes = own;
        Ok(())
    }

    fn end_key(&mut self) {
        self.ends.push(end_of(&self.bytes));
    }

    /// Appends an encoded key.
    pub(crate) fn push_encoded(&mut self, key: &[u8]) {
        if let Some(width) = self.width {
            self.bytes.truncate(self.len * width);
        }
        self.bytes.extend_from_slice(key);
        if self.width.is_none() {
            self.end_key();
        }
        self.len += 1;
        self.hashes.push(key_hash(key));
    }

    /// Appends an encoded key that has `front` before it and stays in `group`: see [`set_scoped`](Self::set_scoped).
    pub(crate) fn push_scoped(&mut self, front: &[u8], key: &[u8], group: KeyGroup) {
        if let Some(width) = self.width {
            self.bytes.truncate(self.len * width);
        }
        let from = self.bytes.len();
        self.bytes.extend_from_slice(front);
        self.bytes.extend_from_slice(key);
        let hash = key_hash(self.bytes.get(from..).unwrap_or_default());
        if self.width.is_none() {
            self.end_key();
        }
        self.len += 1;
        self.hashes.push(hash);
        self.groups.push(group);
        self.is_scoped = true;
    }

    /// The key group of record `index`'s key.
    #[inline]
    pub(crate) fn group(&self, index: usize) -> KeyGroup {
        self.groups
            .get(index)
            .copied()
            .unwrap_or_else(|| key_group(self.hash(index), self.max_parallelism))
    }

    /// The number of key groups.
    pub(crate) fn max_parallelism(&self) -> u32 {
        self.max_parallelism
    }

    /// Whether the hashes came with the records, or are computed already.
    pub(crate) fn has_hashes(&self) -> bool {
        self.hashes.len() == self.len
    }

    /// The hash of record `index`'s key.
    #[inline]
    pub(crate) fn hash(&self, index: usize) -> u64 {
        self.hashes
            .get(index)
            .copied()
            .unwrap_or_else(|| key_hash(self.key(index)))
    }

    /// The keys from record `from` on, where keys have 8 bytes and their groups follow from them.
    pub(crate) fn eight_byte_keys(&self, from: usize) -> Option<&[[u8; 8]]> {
        if self.width != Some(8) || self.is_scoped {
            return None;
        }
        let (keys, _) = self.bytes.as_chunks::<8>();
        keys.get(from..self.len)
    }

    fn compute_hashes(&mut self) {
        if !self.has_hashes() {
            let mut hashes = std::mem::take(&mut self.hashes);
            hashes.clear();
            match self.bytes.as_chunks::<8>().0.get(..self.len) {
                Some(keys) if self.width == Some(8) => hash_eight_byte_keys(keys, &mut hashes),
                _ if self.width.is_none() => hash_varying(&self.bytes, &self.ends, &mut hashes),
                _ => hashes.extend((0..self.len).map(|index| key_hash(self.key(index)))),
            }
            self.hashes = hashes;
        }
    }

    /// Computes the hashes and key groups that are missing, for [`batch`](Self::batch).
    pub(crate) fn complete(&mut self) {
        self.compute_hashes();
        if self.groups.len() != self.len {
            self.groups.clear();
            group_hashes(&self.hashes, self.max_parallelism, &mut self.groups);
        }
    }

    /// The encoded key of record `index`.
    #[inline]
    pub(crate) fn key(&self, index: usize) -> &[u8] {
        self.batch(0).key(index)
    }

    /// The cell of record `index` without namespace.
    #[inline]
    pub(crate) fn cell(&self, index: usize) -> Cell<'_> {
        let hash = self.hash(index);
        let group = self.groups.get(index).copied();
        let group = group.unwrap_or_else(|| key_group(hash, self.max_parallelism));
        Cell::of_key(hash, group, self.key(index))
    }

    /// The keys from record `from` on, with hashes and groups if the column is [complete](Self::complete). Only with a width, or from 0: ends count from the start of the bytes.
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

/// Writes the keys of `records`, `width` bytes each. The common widths are compiled for themselves, so that a key is a store or two.
fn encode_all<T, K: Data>(
    records: &[T],
    mut select: impl FnMut(&T) -> K,
    bytes: &mut [u8],
    width: usize,
) -> Result<()> {
    if width == 8 {
        let (places, _) = bytes.as_chunks_mut::<8>();
        for (record, place) in records.iter().zip(places) {
            codec::encode_fixed(&select(record), place)?;
        }
        return Ok(());
    }
    // A window and a key of 8 bytes.
    if width == 16 {
        let (places, _) = bytes.as_chunks_mut::<16>();
        for (record, place) in records.iter().zip(places) {
            codec::encode_fixed(&select(record), place)?;
        }
        return Ok(());
    }
    for (record, place) in records.iter().zip(bytes.chunks_exact_mut(width)) {
        codec::encode_fixed(&select(record), place)?;
    }
    Ok(())
}

/// Appends the keys of `records` to `bytes`, and where each ends to `ends`.
fn encode_varying<T, K: Data>(
    records: &[T],
    mut select: impl FnMut(&T) -> K,
    bytes: &mut Vec<u8>,
    ends: &mut Vec<u32>,
) -> Result<()> {
    ends.reserve(records.len());
    for record in records {
        codec::encode_into(&select(record), bytes)?;
        ends.push(end_of(bytes));
    }
    Ok(())
}

/// Appends the hashes of the keys in `bytes`, each of which ends where `ends` says.
fn hash_varying(bytes: &[u8], ends: &[u32], hashes: &mut Vec<u64>) {
    let before = hashes.len();
    hashes.resize(before + ends.len(), 0);
    let mut from = 0;
    for (place, end) in hashes.iter_mut().skip(before).zip(ends) {
        let end = *end as usize;
        *place = key_hash(bytes.get(from..end).unwrap_or_default());
        from = end;
    }
}

#[inline]
fn end_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// Computes the hashes of keys.
pub(crate) struct Hasher {
    width: Option<usize>,
    scratch: Vec<u8>,
    /// Where each key in `scratch` ends.
    ends: Vec<u32>,
}

impl Hasher {
    pub(crate) fn new(width: Option<usize>) -> Self {
        Self {
            width,
            scratch: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Appends the hash of each record's key to `hashes`.
    pub(crate) fn hash_all<T, K: Data>(
        &mut self,
        records: &[T],
        select: impl Fn(&T) -> K,
        hashes: &mut Vec<u64>,
    ) -> Result<()> {
        if self.width == Some(8) {
            self.scratch.resize(records.len() * 8, 0);
            encode_all(records, select, &mut self.scratch, 8)?;
            hash_eight_byte_keys(self.scratch.as_chunks::<8>().0, hashes);
            return Ok(());
        }
        // All keys first: one that was written just now would be read while its bytes are still on their way to the cache.
        self.scratch.clear();
        self.ends.clear();
        encode_varying(records, select, &mut self.scratch, &mut self.ends)?;
        hash_varying(&self.scratch, &self.ends, hashes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_gives_back_its_keys_from_any_record_on() {
        let mut fixed = KeyColumn::new(Some(8), 128);
        let mut hasher = Hasher::new(Some(8));
        let mut hashes = Vec::new();
        let records: Vec<u64> = (0..5).collect();
        hasher.hash_all(&records, |record| *record, &mut hashes).unwrap();
        fixed.set(&records, |record| *record, &mut hashes).unwrap();
        let from = fixed.batch_start(3);
        assert_eq!((from, fixed.batch(from).len()), (3, 2));
        assert_eq!(fixed.batch(from).key(1), 4_u64.to_le_bytes());
        assert_eq!(fixed.cell(2).hash, key_hash(&2_u64.to_le_bytes()));
        assert!(hashes.is_empty());

        let mut varying = KeyColumn::new(None, 128);
        let mut hasher = Hasher::new(None);
        let records = ["a", "", "long"];
        hasher
            .hash_all(&records, |record| (*record).to_owned(), &mut hashes)
            .unwrap();
        varying
            .set(&records, |record| (*record).to_owned(), &mut hashes)
            .unwrap();
        for column in [&mut fixed, &mut varying] {
            column.clear();
            column.push_encoded(b"12345678");
            column.complete();
            let group = key_group(key_hash(b"12345678"), 128);
            assert_eq!((column.key(0), column.cell(0).group), (&b"12345678"[..], group));
            assert_eq!(column.batch(0).cell(0).map(|cell| cell.group), Some(group));
            column.clear();
        }
        hashes.extend([1, 2, 3]);
        varying
            .set(&records, |record| (*record).to_owned(), &mut hashes)
            .unwrap();
        assert_eq!(varying.batch_start(2), 0);
        assert_eq!(varying.key(2), codec::to_vec("long").unwrap());
        assert_eq!(varying.cell(1).hash, 2);
    }

    #[test]
    fn a_key_with_a_part_in_front_stays_in_the_group_of_the_key() {
        let records: Vec<u64> = (0..50).collect();
        for has_hashes in [false, true] {
            let mut column = KeyColumn::new(Some(16), 128);
            let mut hasher = Hasher::new(Some(8));
            let mut hashes = Vec::new();
            if has_hashes {
                hasher.hash_all(&records, |key| *key, &mut hashes).unwrap();
            }
            column
                .set_scoped(&records, |key| (7_i64, *key), 8, &mut hashes)
                .unwrap();
            column.complete();
            for (index, key) in records.iter().enumerate() {
                let cell = column.cell(index);
                assert_eq!(cell.group, key_group(key_hash(&key.to_le_bytes()), 128), "{key}");
                assert_eq!(cell.hash, key_hash(&codec::to_vec(&(7_i64, *key)).unwrap()));
                assert_eq!(
                    column.batch(0).cell(index).map(|cell| cell.group),
                    Some(cell.group)
                );
            }
            let group = column.group(3);
            column.clear();
            column.push_scoped(&7_i64.to_le_bytes(), &3_u64.to_le_bytes(), group);
            assert_eq!(
                column.cell(0).key.as_slice(),
                codec::to_vec(&(7_i64, 3_u64)).unwrap()
            );
            assert_eq!(column.cell(0).group, group);
        }
    }
}
