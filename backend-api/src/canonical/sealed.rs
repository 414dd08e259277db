//! Descriptions that end with the CRC32 of all that comes before: the payloads of handles, in every format of ours.

use super::bytes::Bytes;

/// Appends the checksum of `bytes`.
#[must_use]
pub fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc32 = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc32.to_le_bytes());
    bytes
}

/// What `read` makes of the bytes before the checksum.
///
/// # Errors
/// What is wrong with `payload`, in words: it is too short, its checksum is another one, or `read` does not take it, to its end.
pub fn read_sealed<T>(payload: &[u8], read: impl FnOnce(&mut Bytes<'_>) -> Option<T>) -> Result<T, String> {
    let Some((body, crc32)) = payload.split_last_chunk::<4>() else {
        return Err(format!("expected at least 4 bytes, found {}", payload.len()));
    };
    let (expected, found) = (u32::from_le_bytes(*crc32), crc32fast::hash(body));
    if expected != found {
        return Err(format!("expected CRC32 {expected:08x}, found {found:08x}"));
    }
    let mut bytes = Bytes::new(body);
    match read(&mut bytes) {
        Some(description) if bytes.is_empty() => Ok(description),
        _ => Err(format!(
            "what stands at byte {} of {} does not belong there",
            bytes.position(),
            body.len()
        )),
    }
}
