//! Follows the message boundaries of timely's byte stream, to know whether a stream that ends was ended on purpose, and to close
//! one that broke in the middle of a message.
//!
//! Timely (0.32, `networking::MessageHeader`) sends headers of six big-endian `u64`, each followed by the number of bytes that its
//! fifth field says; a header with the length 0 is the last thing in a stream.

/// Bytes of a header.
const HEADER_BYTES: usize = 48;
/// Where in the header the length of what follows begins.
const LENGTH_OFFSET: usize = 32;

/// The place in the stream, moved on by the bytes that were read.
#[derive(Debug)]
pub(super) struct FrameTracker {
    header: [u8; HEADER_BYTES],
    header_filled: usize,
    /// Bytes that the current message still lacks.
    payload_left: u64,
    ended: bool,
}

impl FrameTracker {
    pub(super) fn new() -> Self {
        Self {
            header: [0; HEADER_BYTES],
            header_filled: 0,
            payload_left: 0,
            ended: false,
        }
    }

    /// Whether the end mark was read: what comes after it can only be the end of the file.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes note of bytes that were read.
    pub(super) fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.ended {
            if self.payload_left > 0 {
                let taken = usize::try_from(self.payload_left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                self.payload_left -= taken as u64;
                bytes = bytes.get(taken..).unwrap_or_default();
                continue;
            }
            let room = self.header.get_mut(self.header_filled..).unwrap_or_default();
            let taken = room.len().min(bytes.len());
            let (now, later) = bytes.split_at(taken);
            for (to, from) in room.iter_mut().zip(now) {
                *to = *from;
            }
            bytes = later;
            self.header_filled += taken;
            if self.header_filled == HEADER_BYTES {
                self.header_filled = 0;
                let length = self
                    .header
                    .get(LENGTH_OFFSET..)
                    .and_then(|rest| rest.first_chunk());
                self.payload_left = u64::from_be_bytes(*length.unwrap_or(&[0; 8]));
                self.ended = self.payload_left == 0;
            }
        }
    }

    /// Fills `buffer` with bytes that complete the message which was cut off, and then end the stream. Returns how many were
    /// written; 0 when the end mark is complete.
    ///
    /// Whatever was cut off becomes a message of zeros, so this is only for a stream whose readers are gone. Zeros are safe at
    /// every cut: before the length is complete they can only make it smaller, and a length of 0 is the end mark itself.
    pub(super) fn complete(&mut self, buffer: &mut [u8]) -> usize {
        if self.ended {
            return 0;
        }
        let lacking = match self.payload_left {
            0 => HEADER_BYTES - self.header_filled,
            left => usize::try_from(left).unwrap_or(usize::MAX),
        };
        let length = lacking.min(buffer.len());
        let zeros = buffer.get_mut(..length).unwrap_or_default();
        zeros.fill(0);
        self.advance(zeros);
        length
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use timely::communication::networking::MessageHeader;

    /// Two messages of timely's own making and the end mark.
    fn stream() -> Vec<u8> {
        let mut bytes = Vec::new();
        for length in [3, 300, 0] {
            let header = MessageHeader {
                channel: 7,
                source: 1,
                target_lower: 2,
                target_upper: 3,
                length,
                seqno: 9,
            };
            header.write_to(&mut bytes).unwrap();
            bytes.extend(std::iter::repeat_n(0xAB, length));
        }
        bytes
    }

    #[test]
    fn the_end_mark_is_found_however_the_stream_is_cut_into_reads() {
        let bytes = stream();
        for step in 1..bytes.len() {
            let mut tracker = FrameTracker::new();
            for part in bytes[..bytes.len() - 1].chunks(step) {
                tracker.advance(part);
            }
            assert!(!tracker.has_ended());
            tracker.advance(&bytes[bytes.len() - 1..]);
            assert!(tracker.has_ended());
        }
    }

    /// Reads `bytes` as timely's receive loop does: true if they end with an end mark and nothing after it.
    fn timely_accepts(mut bytes: &[u8]) -> bool {
        while let Some(header) = MessageHeader::try_read(bytes) {
            bytes = &bytes[header.required_bytes()..];
            if header.length == 0 {
                return bytes.is_empty();
            }
            assert!(header.target_lower <= header.target_upper);
        }
        false
    }

    #[test]
    fn a_stream_that_broke_anywhere_is_completed_to_one_that_timely_accepts() {
        let bytes = stream();
        for cut in 0..=bytes.len() {
            let mut read = bytes[..cut].to_vec();
            let mut tracker = FrameTracker::new();
            tracker.advance(&read);
            let mut buffer = [1; 100];
            loop {
                let filled = tracker.complete(&mut buffer);
                if filled == 0 {
                    break;
                }
                read.extend_from_slice(&buffer[..filled]);
            }
            assert!(timely_accepts(&read), "cut at {cut}");
        }
    }
}
