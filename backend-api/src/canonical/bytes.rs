//! Bytes as formats of snapshots have them: varints, parts with their length in front, and what reads them.

/// The most bytes of a varint.
pub const VARINT_BYTES_MAX: usize = 10;

/// How many bytes [`put_varint`] writes for `number`.
#[inline]
#[must_use]
pub fn varint_len(number: u64) -> usize {
    // Seven bits a byte, one byte for 0.
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends `number`, seven bits a byte, the lowest first, bit 7 set in all bytes but the last (LEB128).
#[inline]
pub fn put_varint(to: &mut Vec<u8>, number: u64) {
    let mut rest = number;
    while rest >= 0x80 {
        to.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    to.push(rest.to_le_bytes()[0]);
}

/// Appends the length of `bytes` and `bytes`.
pub fn put_framed(to: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// Bytes that are read from the front; whatever is asked beyond their end is `None`.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a> {
    rest: &'a [u8],
    taken: usize,
}

impl<'a> Bytes<'a> {
    /// Reads `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            taken: 0,
        }
    }

    /// How many bytes were read.
    #[must_use]
    pub fn position(&self) -> usize {
        self.taken
    }

    /// Whether all is read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `len` bytes.
    #[inline]
    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        self.taken += len;
        Some(taken)
    }

    /// The next byte.
    #[inline]
    pub fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// A number of 4 bytes, little-endian.
    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.take(4)?.first_chunk()?))
    }

    /// A varint.
    #[inline]
    pub fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for step in 0..VARINT_BYTES_MAX {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            let shifted = bits << (step * 7);
            if shifted >> (step * 7) != bits {
                return None;
            }
            number |= shifted;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// A varint that is a length or an index.
    #[inline]
    pub fn len(&mut self) -> Option<usize> {
        usize::try_from(self.varint()?).ok()
    }

    /// Bytes with their length in front.
    pub fn framed(&mut self) -> Option<&'a [u8]> {
        let len = self.len()?;
        self.take(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_varint_is_as_long_as_was_said_and_reads_back() {
        for shift in 0..64 {
            for number in [1_u64 << shift, (1_u64 << shift) - 1, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                put_varint(&mut bytes, number);
                assert_eq!(bytes.len(), varint_len(number), "{number}");
                let mut read = Bytes::new(&bytes);
                assert_eq!(read.varint(), Some(number));
                assert!(read.is_empty());
            }
        }
    }

    #[test]
    fn a_varint_that_is_too_long_or_too_large_is_refused() {
        assert_eq!(Bytes::new(&[0x80; 11]).varint(), None);
        let mut too_large = [0xff; 10];
        too_large[9] = 0x02;
        assert_eq!(Bytes::new(&too_large).varint(), None);
        assert_eq!(Bytes::new(&[0x80]).varint(), None);
    }
}
