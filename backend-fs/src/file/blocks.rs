//! The writer's way out: a buffer, and the checksums of the blocks that pass through it.

use super::layout::{BLOCK_BYTES, index_of};
use super::output::Output;
use millpond_backend_api::BackendResult;

/// The bytes that are collected before they go on. It fits a core's cache, so the checksum is taken of bytes that are there.
pub(super) const BUFFER_BYTES: usize = 1 << 20;

/// Bytes on their way to an output, cut into blocks from where [`Sink::begin_blocks`] was called.
pub(super) struct Sink<O> {
    output: O,
    pub(super) buffer: Vec<u8>,
    /// What was given to the output.
    written: u64,
    /// How much of the buffer has been through the checksum.
    hashed: usize,
    hasher: crc32fast::Hasher,
    /// How much of the current block has been through the checksum.
    filled: usize,
    checks: Vec<u32>,
}

impl<O: Output> Sink<O> {
    pub(super) fn new(output: O) -> Self {
        Self {
            output,
            buffer: Vec::with_capacity(BUFFER_BYTES + BUFFER_BYTES / 2),
            written: 0,
            hashed: 0,
            hasher: crc32fast::Hasher::new(),
            filled: 0,
            checks: Vec::new(),
        }
    }

    /// Where the next byte will lie in the file.
    #[inline]
    pub(super) fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// The first block begins here.
    pub(super) fn begin_blocks(&mut self) {
        self.hashed = self.buffer.len();
        self.hasher.reset();
        self.filled = 0;
        self.checks.clear();
    }

    /// The last block ends here; the checksums of all.
    pub(super) fn end_blocks(&mut self) -> &[u32] {
        self.hash_buffer();
        if self.filled > 0 {
            self.checks.push(self.hasher.clone().finalize());
            self.hasher.reset();
            self.filled = 0;
        }
        &self.checks
    }

    /// Sends the buffer on if it is full; to be called after each addition to it.
    #[inline]
    pub(super) fn pass_on(&mut self) -> BackendResult<()> {
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Appends bytes of any number, without a copy if they are many.
    pub(super) fn append(&mut self, bytes: &[u8]) -> BackendResult<()> {
        if bytes.len() < BUFFER_BYTES / 2 {
            self.buffer.extend_from_slice(bytes);
            return self.pass_on();
        }
        self.flush()?;
        for piece in bytes.chunks(BUFFER_BYTES) {
            hash_blocks(&mut self.hasher, &mut self.filled, &mut self.checks, piece);
            self.output.write(piece)?;
            self.written += piece.len() as u64;
        }
        Ok(())
    }

    /// Appends words of an index.
    pub(super) fn append_words(&mut self, words: &[u64]) -> BackendResult<()> {
        for piece in words.chunks(BUFFER_BYTES / 16) {
            let from = self.buffer.len();
            self.buffer.resize(from + piece.len() * 8, 0);
            let places = self.buffer.get_mut(from..).unwrap_or_default();
            for (place, word) in places.chunks_exact_mut(8).zip(piece) {
                place.copy_from_slice(&word.to_le_bytes());
            }
            self.pass_on()?;
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> BackendResult<()> {
        self.hash_buffer();
        self.output.write(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        self.hashed = 0;
        Ok(())
    }

    /// The output, after all went there.
    pub(super) fn finish(mut self) -> BackendResult<(O, u64)> {
        self.flush()?;
        Ok((self.output, self.written))
    }

    fn hash_buffer(&mut self) {
        let fresh = self.buffer.get(self.hashed..).unwrap_or_default();
        hash_blocks(&mut self.hasher, &mut self.filled, &mut self.checks, fresh);
        self.hashed = self.buffer.len();
    }
}

fn hash_blocks(hasher: &mut crc32fast::Hasher, filled: &mut usize, checks: &mut Vec<u32>, bytes: &[u8]) {
    let block = index_of(BLOCK_BYTES);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(block - *filled));
        hasher.update(piece);
        *filled += piece.len();
        rest = after;
        if *filled == block {
            checks.push(hasher.clone().finalize());
            hasher.reset();
            *filled = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_begin_where_it_was_said_whatever_the_pieces_were() {
        let bytes: Vec<u8> = (0_u8..251).cycle().take(index_of(5 * BLOCK_BYTES + 17)).collect();
        let expected: Vec<u32> = bytes.chunks(index_of(BLOCK_BYTES)).map(crc32fast::hash).collect();
        for piece in [1, 1000, 70_000, 200_000, 400_000, BUFFER_BYTES * 3] {
            let mut sink = Sink::new(Vec::new());
            sink.append(b"before").unwrap();
            sink.begin_blocks();
            bytes.chunks(piece).for_each(|piece| sink.append(piece).unwrap());
            assert_eq!(sink.end_blocks(), expected, "pieces of {piece}");
            assert_eq!(sink.position(), 6 + bytes.len() as u64);
            let (written, len) = sink.finish().unwrap();
            assert_eq!((&written[6..], len), (&bytes[..], 6 + bytes.len() as u64));
        }
    }

    #[test]
    fn what_is_larger_than_the_buffer_goes_through_unchanged() {
        let bytes: Vec<u8> = (0_u8..253).cycle().take(BUFFER_BYTES * 3 + 5).collect();
        let expected: Vec<u32> = bytes.chunks(index_of(BLOCK_BYTES)).map(crc32fast::hash).collect();
        let mut sink = Sink::new(Vec::new());
        sink.begin_blocks();
        sink.append(&bytes).unwrap();
        assert_eq!(sink.end_blocks(), expected);
        assert_eq!(sink.finish().unwrap().0, bytes);
    }
}
