//! How fast files are written and read; to be run by hand:
//! `cargo test --release -p millpond-backend-fs --test format speed -- --ignored --nocapture --test-threads 1`.

use millpond_backend_api::{BackendResult, Entry, KeyGroup, StateDescriptor, StateKind, key_hash};
use millpond_backend_fs::file::{
    Compressor, FileWriter, Found, GroupTotals, Hashes, Output, SnapshotFile, Source, expand_into,
};
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

/// Cells, and the bytes of each one's value.
const CELLS: u64 = 4_000_000;
const VALUE_BYTES: usize = 100;
const GROUPS: u16 = 128;

/// Takes bytes and does nothing with them.
struct Nowhere;

impl Output for Nowhere {
    fn write(&mut self, _: &[u8]) -> BackendResult<()> {
        Ok(())
    }
}

struct ToFile(File);

impl Output for ToFile {
    fn write(&mut self, bytes: &[u8]) -> BackendResult<()> {
        Ok(self.0.write_all(bytes)?)
    }
}

fn write<O: Output>(output: O, kind: StateKind) -> (O, u64) {
    let width = if kind == StateKind::Value { VALUE_BYTES } else { 0 };
    let state = StateDescriptor::new("state", kind, u32::try_from(width).unwrap());
    let mut writer = FileWriter::new(output, &[state]).unwrap();
    let each = CELLS / u64::from(GROUPS);
    let value = [7; VALUE_BYTES];
    for group in 0..GROUPS {
        writer.begin_section(0, KeyGroup(group), each).unwrap();
        for number in 0..each {
            let key = (u64::from(group) * each + number).to_le_bytes();
            let hash = key_hash(&key);
            let mut entry = Entry {
                key: &key,
                namespace: b"",
                map_key: b"",
                value: &value,
            };
            let hashes = if kind == StateKind::Map {
                entry.map_key = b"map key";
                Hashes::of_map_entry(hash, hash.rotate_left(20))
            } else {
                Hashes::of_cell(hash)
            };
            writer.entry(hashes, &entry).unwrap();
        }
        let totals = GroupTotals {
            cells: each,
            encoded_bytes: each * 112,
        };
        writer.end_section(totals).unwrap();
    }
    let (output, figures) = writer.finish().unwrap();
    (output, figures.bytes)
}

#[test]
#[ignore = "prints figures, to be run alone in release"]
fn writing() {
    for kind in [StateKind::Value, StateKind::List, StateKind::Map] {
        for _ in 0..3 {
            let start = Instant::now();
            let (_, bytes) = write(Nowhere, kind);
            let seconds = start.elapsed().as_secs_f64();
            let gigabytes = bytes as f64 / 1e9;
            println!(
                "{}: {gigabytes:.3} GB in {seconds:.3} s, {:.2} GB/s, {:.1} ns an entry",
                kind.name(),
                gigabytes / seconds,
                seconds * 1e9 / CELLS as f64
            );
        }
    }
}

fn look_up(file: &Arc<SnapshotFile>, numbers: &[u64], batch: usize) -> u64 {
    let each = CELLS / u64::from(GROUPS);
    let section = |number: u64| {
        let number = usize::try_from(number / each).unwrap();
        file.section_at(number).unwrap()
    };
    let mut found = 0;
    for batch_of in numbers.chunks(batch) {
        if batch > 1 {
            for number in batch_of {
                section(*number).prefetch(key_hash(&number.to_le_bytes()));
            }
            for number in batch_of {
                section(*number).prefetch_entry(key_hash(&number.to_le_bytes()));
            }
        }
        for number in batch_of {
            let key = number.to_le_bytes();
            let answer = section(*number).find(key_hash(&key), &key, b"", b"").unwrap();
            found += u64::from(matches!(answer, Found::Value(_)));
        }
    }
    found
}

#[test]
#[ignore = "prints figures, to be run alone in release"]
fn reading() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let start = Instant::now();
    let (output, bytes) = write(ToFile(File::create(&path).unwrap()), StateKind::Value);
    println!(
        "written to the file system in {:.3} s",
        start.elapsed().as_secs_f64()
    );
    output.0.sync_all().unwrap();
    let mut mixed = 1_u64;
    let numbers: Vec<u64> = (0..CELLS)
        .map(|_| {
            mixed = mixed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (mixed >> 20) % CELLS
        })
        .collect();
    let start = Instant::now();
    let file = SnapshotFile::open(Source::File(path.clone()), "state", bytes).unwrap();
    println!("open: {:.3} ms", start.elapsed().as_secs_f64() * 1e3);
    for (what, batch) in [
        ("first touch, one at a time", 1),
        ("one at a time", 1),
        ("in batches of 64", 64),
        ("in batches of 1024", 1024),
    ] {
        let start = Instant::now();
        assert_eq!(look_up(&file, &numbers, batch), CELLS);
        let nanos = start.elapsed().as_secs_f64() * 1e9 / CELLS as f64;
        println!("find, {what}: {nanos:.1} ns");
    }
    let file = SnapshotFile::open(Source::File(path), "state", bytes).unwrap();
    let start = Instant::now();
    file.verify_all().unwrap();
    println!(
        "verify_all: {:.2} GB/s",
        bytes as f64 / 1e9 / start.elapsed().as_secs_f64()
    );
    let start = Instant::now();
    let mut entries = 0;
    for section in file.sections() {
        section
            .for_each(|_| {
                entries += 1;
                Ok(())
            })
            .unwrap();
    }
    assert_eq!(entries, CELLS);
    let nanos = start.elapsed().as_secs_f64() * 1e9 / CELLS as f64;
    println!("for_each: {nanos:.1} ns an entry");
}

#[test]
#[ignore = "prints figures, to be run alone in release"]
fn compressing() {
    // Half of each value can be compressed.
    let mut word = 1_u64;
    let mut plain = Vec::new();
    while plain.len() < 500 << 20 {
        for _ in 0..7 {
            word = word
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            plain.extend_from_slice(&(word ^ word >> 33).to_le_bytes());
        }
        plain.extend_from_slice(&[7; 50]);
    }
    let gigabytes = plain.len() as f64 / 1e9;
    let start = Instant::now();
    let mut compressor = Compressor::new(Vec::new()).unwrap();
    for piece in plain.chunks(1 << 20) {
        compressor.write(piece).unwrap();
    }
    let (bytes, figures) = compressor.finish().unwrap();
    println!(
        "compress: {:.2} GB/s to {:.2} of the size",
        gigabytes / start.elapsed().as_secs_f64(),
        figures.bytes as f64 / figures.plain_bytes as f64
    );
    let start = Instant::now();
    let mut rest = &bytes[..];
    let read = |buffer: &mut [u8]| std::io::Read::read(&mut rest, buffer).map_err(Into::into);
    expand_into(read, "frames", figures.plain_bytes, &mut Nowhere).unwrap();
    println!("expand: {:.2} GB/s", gigabytes / start.elapsed().as_secs_f64());
}
