//! Hashes and key groups of a whole batch: loops without a branch, compiled also for processors with wide registers.
//!
//! One at a time they cost as much as a look-up that hits the cache. In a loop of their own eight groups are computed at once, where the processor can; which is
//! found out when the program runs.
#![expect(
    unsafe_code,
    reason = "calls functions that are compiled for a processor that has AVX2, where it has it"
)]

use millpond_backend_api::{KeyGroup, key_group};

/// Appends the hash of each key, as [`key_hash`](millpond_backend_api::key_hash) has it.
pub(crate) fn hash_eight_byte_keys(keys: &[[u8; 8]], hashes: &mut Vec<u64>) {
    let from = hashes.len();
    hashes.resize(from + keys.len(), 0);
    let places = hashes.get_mut(from..).unwrap_or_default();
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        unsafe { hash_with_avx2(keys, places) };
        return;
    }
    hash_all(keys, places);
}

/// Appends the key group of each hash.
pub(crate) fn group_hashes(hashes: &[u64], max_parallelism: u32, groups: &mut Vec<KeyGroup>) {
    let from = groups.len();
    groups.resize(from + hashes.len(), KeyGroup(0));
    let places = groups.get_mut(from..).unwrap_or_default();
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        unsafe { group_with_avx2(hashes, max_parallelism, places) };
        return;
    }
    group_all(hashes, max_parallelism, places);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn hash_with_avx2(keys: &[[u8; 8]], places: &mut [u64]) {
    hash_all(keys, places);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn group_with_avx2(hashes: &[u64], max_parallelism: u32, places: &mut [KeyGroup]) {
    group_all(hashes, max_parallelism, places);
}

#[inline(always)]
fn hash_all(keys: &[[u8; 8]], places: &mut [u64]) {
    for (key, place) in keys.iter().zip(places) {
        *place = xxh3_of_eight(*key);
    }
}

#[inline(always)]
fn group_all(hashes: &[u64], max_parallelism: u32, places: &mut [KeyGroup]) {
    for (hash, place) in hashes.iter().zip(places) {
        *place = key_group(*hash, max_parallelism);
    }
}

/// XXH3 with 64 bits and seed 0 of 8 bytes, as its authors specify it for 4 to 8 bytes
/// (<https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>).
#[inline(always)]
fn xxh3_of_eight(key: [u8; 8]) -> u64 {
    /// Bytes 8 to 15 of the default secret, xor bytes 16 to 23.
    const SECRET: u64 = 0x1cad_21f7_2c81_017c ^ 0xdb97_9083_e96d_d4de;
    const PRIME: u64 = 0x9fb2_1c65_1e98_df25;
    let mut hash = u64::from_le_bytes(key).rotate_left(32) ^ SECRET;
    hash ^= hash.rotate_left(49) ^ hash.rotate_left(24);
    hash = hash.wrapping_mul(PRIME);
    hash ^= (hash >> 35) + 8;
    hash = hash.wrapping_mul(PRIME);
    hash ^ (hash >> 28)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_backend_api::key_hash;

    #[test]
    fn a_batch_has_the_hashes_and_groups_that_its_keys_have_one_by_one() {
        let numbers = (0..1000_u64).chain([u64::MAX, u64::MAX - 1, 1 << 63, 0x0123_4567_89ab_cdef]);
        let keys: Vec<[u8; 8]> = numbers
            .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n).to_le_bytes())
            .collect();
        for len in [0, 1, 3, 4, 7, 8, 9, keys.len()] {
            let keys = &keys[keys.len() - len..];
            let one_by_one: Vec<u64> = keys.iter().map(|key| key_hash(key)).collect();
            let mut hashes = vec![7];
            hash_eight_byte_keys(keys, &mut hashes);
            assert_eq!(hashes[1..], one_by_one);
            for max_parallelism in [1, 2, 100, 128, 32_768] {
                let mut groups = vec![KeyGroup(3)];
                group_hashes(&one_by_one, max_parallelism, &mut groups);
                let expected: Vec<KeyGroup> = one_by_one
                    .iter()
                    .map(|hash| key_group(*hash, max_parallelism))
                    .collect();
                assert_eq!(groups[1..], expected);
            }
        }
    }
}
