//! Makes every checksum of damaged bytes right, so that what lies behind the checksums is tested. Written from `FORMAT.md`, not from the code.

use millpond_backend_api::canonical::bytes::Bytes;

const HEADER: usize = 16;
const TRAILER: usize = 36;
const BLOCK: usize = 64 << 10;

/// Puts the right marks, versions and checksums into `bytes`, as far as they have the parts that these belong to.
pub(crate) fn repair(bytes: &mut [u8]) {
    if bytes.len() < HEADER + TRAILER {
        return;
    }
    let trailer = bytes.len() - TRAILER;
    put(bytes, 0, b"mpmapped\x01\0\0\0");
    seal(bytes, 0, 12);
    put(bytes, trailer, b"mpmapend\x01\0\0\0");
    let directory = number(bytes, trailer + 12);
    let len = number(bytes, trailer + 20);
    let directory = match directory.checked_add(len) {
        Some(end) if end == trailer && directory >= HEADER => directory,
        // What no trailer may say is said rarely enough by chance; most often the directory should be found.
        _ => trailer.saturating_sub(len % 256).max(HEADER),
    };
    put(bytes, trailer + 12, &(directory as u64).to_le_bytes());
    put(bytes, trailer + 20, &((trailer - directory) as u64).to_le_bytes());
    // Stops at the first thing that is wrong: then there is nothing more to repair.
    let _ = repair_sections(bytes, directory, trailer);
    let crc32 = crc32fast::hash(&bytes[directory..trailer]);
    put(bytes, trailer + 28, &crc32.to_le_bytes());
    seal(bytes, trailer, 32);
}

fn repair_sections(bytes: &mut [u8], directory: usize, end: usize) -> Option<()> {
    let copy = bytes[directory..end].to_vec();
    let mut rest = Bytes::new(&copy);
    let mut kinds = Vec::new();
    for _ in 0..rest.varint()? {
        rest.framed()?;
        kinds.push(rest.byte()?);
        rest.varint()?;
        rest.framed()?;
    }
    let mut offset = HEADER;
    for _ in 0..rest.varint()? {
        let kind = *kinds.get(rest.len()?)?;
        let _group = rest.varint()?;
        let (entries_len, entries, _deleted, maps) =
            (rest.len()?, rest.varint()?, rest.varint()?, rest.varint()?);
        let _totals = (rest.varint()?, rest.varint()?);
        let crc32 = directory + rest.position();
        rest.u32()?;
        let index = if kind == 3 { 0 } else { words(entries)? };
        let area = index
            .checked_add(words(maps)?)?
            .checked_mul(8)?
            .checked_add(entries_len)?;
        let table = offset.checked_add(area)?;
        let after = table.checked_add(area.div_ceil(BLOCK).checked_mul(4)?)?;
        if after > directory {
            return None;
        }
        for block in 0..area.div_ceil(BLOCK) {
            let from = offset + block * BLOCK;
            let check = crc32fast::hash(&bytes[from..table.min(from + BLOCK)]);
            put(bytes, table + block * 4, &check.to_le_bytes());
        }
        let check = crc32fast::hash(&bytes[table..after]);
        put(bytes, crc32, &check.to_le_bytes());
        offset = after;
    }
    Some(())
}

/// The smallest power of two of which `entries` fill at most three quarters.
fn words(entries: u64) -> Option<usize> {
    if entries == 0 {
        return Some(0);
    }
    let words = entries.checked_mul(4)?.div_ceil(3).checked_next_power_of_two()?;
    usize::try_from(words).ok()
}

fn number(bytes: &[u8], at: usize) -> usize {
    let number = bytes[at..]
        .first_chunk()
        .map_or(0, |number| u64::from_le_bytes(*number));
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    bytes[at..at + what.len()].copy_from_slice(what);
}

/// The CRC32 of `len` bytes at `at`, behind them.
fn seal(bytes: &mut [u8], at: usize, len: usize) {
    let crc32 = crc32fast::hash(&bytes[at..at + len]);
    put(bytes, at + len, &crc32.to_le_bytes());
}

/// Puts the right mark, version and checksums into a compressed file, frame by frame up to the first that does not fit.
pub(crate) fn repair_frames(bytes: &mut [u8]) {
    if bytes.len() < HEADER {
        return;
    }
    put(bytes, 0, b"mpframes\x01\0\0\0");
    seal(bytes, 0, 12);
    let mut at = HEADER;
    while let Some(stored) = bytes.get(at + 4..).and_then(|rest| rest.first_chunk::<4>()) {
        let stored = u32::from_le_bytes(*stored) as usize;
        let Some(frame) = bytes.get(at..).and_then(|rest| rest.get(..12 + stored)) else {
            return;
        };
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&frame[..8]);
        hasher.update(&frame[12..]);
        put(bytes, at + 8, &hasher.finalize().to_le_bytes());
        at += 12 + stored;
    }
}
