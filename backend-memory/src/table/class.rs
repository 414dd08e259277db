//! Size classes: the sizes that entries may have, so that a freed one can be used again.

/// The largest entry, so that sizes and positions fit 32 bits with room to spare.
pub(crate) const ENTRY_BYTES_MAX: usize = 1 << 31;

/// The smallest class that holds `bytes`: multiples of 8 up to 256, then eight classes a doubling, so at most an eighth is lost.
#[inline]
pub(crate) fn class_of(bytes: usize) -> usize {
    if bytes <= 256 {
        return bytes.next_multiple_of(8);
    }
    // The classes between 2^n and 2^(n + 1) are 2^(n - 3) apart.
    let step = 1_usize << ((bytes - 1).ilog2() - 3);
    bytes.next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_its_bytes_loses_little_and_is_its_own_class() {
        for bytes in (1..5000).chain([65_535, 65_536, 65_537, 1 << 20, (1 << 20) + 1]) {
            let class = class_of(bytes);
            assert!(class >= bytes && class.is_multiple_of(8), "{bytes}");
            assert!(class - bytes < 8.max(bytes / 8 + 1), "{bytes} {class}");
            assert_eq!(class_of(class), class, "{bytes}");
        }
    }
}
