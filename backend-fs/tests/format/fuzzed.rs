//! What the fuzzer runs on each input, and the same on its committed seeds.
//!
//! The first byte of an input chooses what is done with the rest: bit 0 repairs its checksums, bit 1 runs the sweep first, bit 2 takes it for
//! a compressed file.

use super::repair::{repair, repair_frames};
use super::touch::{is_damage, touch_everything};
use millpond_backend_fs::file::expand_into;

pub(crate) const REPAIR: u8 = 1;
pub(crate) const VERIFY_FIRST: u8 = 2;
pub(crate) const COMPRESSED: u8 = 4;

/// The most that a compressed input may expand to.
const PLAIN_BYTES: u64 = 1 << 20;

/// Any bytes give a file or an error that says what is damaged; everything else is a panic.
pub(crate) fn run(input: &[u8]) {
    let Some((mode, bytes)) = input.split_first() else {
        return;
    };
    let mut bytes = bytes.to_vec();
    if mode & COMPRESSED > 0 {
        if mode & REPAIR > 0 {
            repair_frames(&mut bytes);
        }
        let mut rest = &bytes[..];
        let read = |buffer: &mut [u8]| std::io::Read::read(&mut rest, buffer).map_err(Into::into);
        let mut plain = Vec::new();
        let expanded = expand_into(read, "fuzzed", PLAIN_BYTES, &mut plain);
        if let Err(error) = expanded {
            assert!(is_damage(&error), "{error:?}");
        }
        assert!(plain.len() as u64 <= PLAIN_BYTES);
        bytes = plain;
    }
    if mode & REPAIR > 0 {
        repair(&mut bytes);
    }
    if let Err(error) = touch_everything(&bytes, mode & VERIFY_FIRST > 0) {
        assert!(is_damage(&error), "{error:?}");
    }
}
