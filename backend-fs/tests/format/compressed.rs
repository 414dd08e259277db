//! Compressed files: the plain file comes back, and damage is refused at its frame.

use crate::damage::small;
use crate::sample::{Model, states};
use millpond_backend_api::{BackendError, BackendErrorKind, BackendResult};
use millpond_backend_fs::file::{
    CompressedFigures, Compressor, Output, SnapshotFile, Source, expand, expand_into,
};

pub(crate) fn compressed(plain: &[u8]) -> (Vec<u8>, CompressedFigures) {
    let mut compressor = Compressor::new(Vec::new()).unwrap();
    // In pieces that fit no frame.
    for piece in plain.chunks(100_003) {
        compressor.write(piece).unwrap();
    }
    compressor.finish().unwrap()
}

/// Gives `bytes` in pieces of at most `step`.
fn stream(bytes: &[u8], step: usize) -> impl FnMut(&mut [u8]) -> BackendResult<usize> {
    let mut rest = bytes;
    move |buffer| {
        let len = rest.len().min(buffer.len()).min(step);
        buffer[..len].copy_from_slice(&rest[..len]);
        rest = &rest[len..];
        Ok(len)
    }
}

pub(crate) fn expanded(bytes: &[u8], plain_bytes: u64) -> BackendResult<Vec<u8>> {
    let mut plain = Vec::new();
    expand_into(stream(bytes, 777), "frames", plain_bytes, &mut plain)?;
    Ok(plain)
}

/// Some frames, of which some can be compressed and some cannot.
fn mixed(len: usize) -> Vec<u8> {
    let mut word = 1_u64;
    (0..len)
        .map(|at| {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if at / 300_000 % 2 == 0 {
                word.to_be_bytes()[0]
            } else {
                7
            }
        })
        .collect()
}

#[test]
fn what_was_compressed_expands_to_the_same_bytes() {
    for len in [
        0,
        1,
        1_000,
        (256 << 10) - 1,
        256 << 10,
        (256 << 10) + 1,
        2_000_000,
    ] {
        let plain = mixed(len);
        let (bytes, figures) = compressed(&plain);
        assert_eq!(figures.bytes, bytes.len() as u64);
        assert_eq!(figures.plain_bytes, len as u64);
        assert_eq!(expanded(&bytes, len as u64).unwrap(), plain);
    }
    let (bytes, _) = compressed(&vec![3; 5 << 20]);
    assert!(bytes.len() < 50_000, "{}", bytes.len());
    // A frame that does not become smaller is stored as it is.
    assert_eq!(compressed(&mixed(1_000)).0.len(), 16 + 12 + 1_000 + 20);
}

#[test]
fn a_compressed_file_of_state_expands_to_a_file_that_reads() {
    let mut model = Model::new(states());
    for number in 0..2_000_u16 {
        let key = number.to_be_bytes().to_vec();
        model.set(number % 5, 1, (key, vec![], vec![]), Some(vec![1; 300]));
    }
    let (compressor, plain) = model.write(Compressor::new(Vec::new()).unwrap()).unwrap();
    let (bytes, figures) = compressor.finish().unwrap();
    assert_eq!(figures.plain_bytes, plain.bytes);
    assert!(figures.bytes * 5 < figures.plain_bytes, "{figures:?}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plain");
    expand(stream(&bytes, 100_000), "frames", figures.plain_bytes, &path).unwrap();
    let file = SnapshotFile::open(Source::File(path.clone()), "plain", figures.plain_bytes).unwrap();
    assert_eq!(Model::read(&file).unwrap(), model);
    let error = expand(stream(&bytes, 100_000), "frames", figures.plain_bytes, &path).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Io, "{error}");
}

fn is_damage(result: BackendResult<Vec<u8>>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Corrupted, "{error}");
    let message = error.message();
    assert!(
        message.starts_with("snapshot file frames, ") && message.contains("offset"),
        "{message}"
    );
}

#[test]
fn every_flipped_bit_every_cut_and_every_addition_is_noticed() {
    let plain = small().bytes();
    let (bytes, figures) = compressed(&plain);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            is_damage(expanded(&damaged, figures.plain_bytes));
        }
        is_damage(expanded(&bytes[..at], figures.plain_bytes));
    }
    let mut longer = bytes.clone();
    longer.push(0);
    is_damage(expanded(&longer, figures.plain_bytes));
    is_damage(expanded(&bytes, figures.plain_bytes - 1));
    is_damage(expanded(&bytes, figures.plain_bytes + 1));
}

#[test]
fn no_more_is_written_than_the_plain_file_may_have() {
    let (bytes, _) = compressed(&vec![5; 10 << 20]);
    let mut plain = Vec::new();
    let error = expand_into(stream(&bytes, 777), "frames", 1 << 20, &mut plain).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Corrupted, "{error}");
    assert!(plain.len() <= 1 << 20, "{}", plain.len());
}

#[test]
fn damage_behind_a_right_checksum_is_an_error_and_leaves_no_file() {
    let plain = vec![5; 1_000];
    let (bytes, _) = compressed(&plain);
    let stored_len = u32::from_le_bytes(*bytes[20..].first_chunk().unwrap()) as usize;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plain");
    for at in (16..24).chain(28..28 + stored_len) {
        for change in [1, 0x80, 0xff] {
            let mut hostile = bytes.clone();
            hostile[at] ^= change;
            let checked = [&hostile[16..24], &hostile[28..28 + stored_len]].concat();
            hostile[24..28].copy_from_slice(&crc32fast::hash(&checked).to_le_bytes());
            match expanded(&hostile, 1_000) {
                Ok(plain) => assert_eq!(plain.len(), 1_000),
                Err(error) => {
                    assert_eq!(error.kind(), BackendErrorKind::Corrupted, "{error}");
                    expand(stream(&hostile, 9), "frames", 1_000, &path).unwrap_err();
                    assert!(!path.exists());
                }
            }
        }
    }
}

/// Fails after some bytes.
struct Full(usize);

impl Output for Full {
    fn write(&mut self, bytes: &[u8]) -> BackendResult<()> {
        self.0 = self
            .0
            .checked_sub(bytes.len())
            .ok_or_else(|| BackendError::new(BackendErrorKind::Io, "the disk is full"))?;
        Ok(())
    }
}

#[test]
fn an_output_that_fails_ends_the_compressor_with_its_error() {
    let plain = mixed(3_000_000);
    for room in [0, 10, 300_000, 1_000_000] {
        let mut compressor = Compressor::new(Full(room)).unwrap();
        let written = plain.chunks(50_000).try_for_each(|piece| compressor.write(piece));
        let error = written
            .and_then(|()| compressor.finish().map(|_| ()))
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (BackendErrorKind::Io, "the disk is full")
        );
    }
}

/// Tells when it is dropped.
struct Dropped(std::sync::Arc<std::sync::atomic::AtomicBool>);

impl Output for Dropped {
    fn write(&mut self, _: &[u8]) -> BackendResult<()> {
        Ok(())
    }
}

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

#[test]
fn an_abandoned_compressor_has_dropped_its_output_when_it_is_gone() {
    let dropped = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut compressor = Compressor::new(Dropped(std::sync::Arc::clone(&dropped))).unwrap();
    compressor.write(&mixed(1_000_000)).unwrap();
    drop(compressor);
    assert!(dropped.load(std::sync::atomic::Ordering::SeqCst));
}
