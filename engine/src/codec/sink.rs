//! Where encoded bytes go.

use super::CodecError;

/// Where encoded bytes go. Implemented for a growing vector, a place of fixed width and a counter.
pub trait Sink {
    /// Appends `bytes`.
    ///
    /// # Errors
    /// [`CodecError::WrongWidth`] if there is no room for them.
    fn put(&mut self, bytes: &[u8]) -> Result<(), CodecError>;

    /// Appends `front`, the length of `bytes`, and `bytes`.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    #[inline]
    fn put_behind(&mut self, front: [u8; 4], bytes: &[u8]) -> Result<(), CodecError> {
        self.put(&front)?;
        self.put(bytes)
    }

    /// Number of bytes put so far.
    fn position(&self) -> usize;

    /// Replaces the four bytes that begin at `position`; they have been put before.
    fn patch(&mut self, position: usize, bytes: [u8; 4]);
}

/// The end of a vector; what was in it before is not touched.
pub(super) struct Tail<'a> {
    pub(super) out: &'a mut Vec<u8>,
    pub(super) start: usize,
}

impl Sink for Tail<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn put_behind(&mut self, front: [u8; 4], bytes: &[u8]) -> Result<(), CodecError> {
        append(self.out, front, bytes);
        Ok(())
    }

    #[inline]
    fn position(&self) -> usize {
        self.out.len() - self.start
    }

    #[inline]
    fn patch(&mut self, position: usize, bytes: [u8; 4]) {
        patch(self.out, self.start + position, bytes);
    }
}

/// Appends `front` and `bytes`. Most strings are short, and a few bytes too much that are taken off again cost less than the call of a function that copies any number of them.
#[inline]
fn append(out: &mut Vec<u8>, front: [u8; 4], bytes: &[u8]) {
    let ends = match bytes.len() {
        4..=8 => bytes.first_chunk::<4>().zip(bytes.last_chunk::<4>()),
        _ => None,
    };
    let Some((first, last)) = ends else {
        out.extend_from_slice(&front);
        out.extend_from_slice(bytes);
        return;
    };
    // The bytes that both have fall on themselves.
    let few = u64::from(u32::from_le_bytes(*first))
        | u64::from(u32::from_le_bytes(*last)) << (8 * (bytes.len() - 4));
    let all = u128::from(u32::from_le_bytes(front)) | u128::from(few) << 32;
    let end = out.len() + front.len() + bytes.len();
    out.extend_from_slice(&all.to_le_bytes());
    out.truncate(end);
}

/// A place of fixed width.
pub(super) struct Place<'a> {
    pub(super) place: &'a mut [u8],
    pub(super) position: usize,
}

impl Sink for Place<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        let end = self.position + bytes.len();
        match self.place.get_mut(self.position..end) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.position = end;
                Ok(())
            }
            None => Err(CodecError::WrongWidth {
                expected: self.place.len(),
                found: end,
            }),
        }
    }

    #[inline]
    fn position(&self) -> usize {
        self.position
    }

    #[inline]
    fn patch(&mut self, position: usize, bytes: [u8; 4]) {
        patch(self.place, position, bytes);
    }
}

/// Counts, and keeps nothing.
pub(super) struct Counter(pub(super) usize);

impl Sink for Counter {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        self.0 += bytes.len();
        Ok(())
    }

    #[inline]
    fn position(&self) -> usize {
        self.0
    }

    #[inline]
    fn patch(&mut self, _position: usize, _bytes: [u8; 4]) {}
}

#[inline]
fn patch(out: &mut [u8], position: usize, bytes: [u8; 4]) {
    let place = out.get_mut(position..).and_then(<[u8]>::first_chunk_mut);
    debug_assert!(place.is_some(), "a patched length was put before");
    if let Some(place) = place {
        *place = bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appended_bytes_are_the_same_at_any_length() {
        let bytes: Vec<u8> = (1..=40).collect();
        for from in 0..3 {
            for to in from..=bytes.len() {
                let mut out = vec![9; from];
                append(&mut out, [7, 8, 0, 255], &bytes[from..to]);
                append(&mut out, [1, 2, 3, 4], &[200]);
                let all = [
                    &vec![9; from][..],
                    &[7, 8, 0, 255],
                    &bytes[from..to],
                    &[1, 2, 3, 4, 200],
                ];
                assert_eq!(out, all.concat());
            }
        }
    }
}
