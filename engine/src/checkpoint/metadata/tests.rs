use super::*;
use crate::checkpoint::{
    ElementOffsets, FileLocation, FileRef, KeyedHandle, OperatorStateSnapshot, Redistribution,
    SubtaskSnapshot,
};
use crate::codec::CodecId;
use proptest::prelude::*;
use std::path::PathBuf;

fn sample() -> CheckpointMetadata {
    let mut subtask = SubtaskSnapshot::empty(OperatorId::new("count"), "Count", 1);
    subtask.keyed.push(KeyedHandle {
        backend: "memory".into(),
        key_groups: (64, 127),
        kind: "full".into(),
        files: vec![
            FileRef::inline(b"small".to_vec()),
            FileRef {
                location: FileLocation::File("shared/00112233445566778899aabbccddeeff".into()),
                size: 123_456,
                crc32: 0xdead_beef,
                shared: true,
            },
        ],
        payload: vec![1, 2, 3],
        state_bytes: 200_000,
        new_bytes: 123_461,
    });
    subtask.operator_state.push(OperatorStateSnapshot::inline(
        "positions",
        Redistribution::Split,
        CodecId::of::<String>(),
        [b"a".to_vec(), Vec::new()],
    ));
    subtask.operator_state.push(OperatorStateSnapshot {
        name: "rules".into(),
        redistribution: Redistribution::Broadcast,
        codec: CodecId::of::<(u64, u64)>(),
        elements: FileRef {
            location: FileLocation::File("chk-17/0011223344556677".into()),
            size: 32_000,
            crc32: 0xfeed_beef,
            shared: false,
        },
        offsets: ElementOffsets::Even {
            count: 2000,
            width: 16,
        },
    });
    subtask.finished = true;
    subtask.sync_ms = 0.5;
    CheckpointMetadata {
        job_name: "word count".into(),
        job_id: JobId::parse("0123456789abcdef0123456789abcdef").unwrap(),
        id: CheckpointId(17),
        lineage: serde_json::from_str(
            r#"{"id": 1234605616436508552, "before": [{"lineage": 1234605616436508553, "id": 9}]}"#,
        )
        .unwrap(),
        attempt: 3,
        mode: CheckpointingMode::ExactlyOnce,
        epoch: 17,
        timestamp_ms: 1_700_000_000_000,
        is_savepoint: false,
        operators: vec![
            OperatorMetadata {
                id: OperatorId::new("count"),
                name: "Count".into(),
                parallelism: 2,
                max_parallelism: 128,
                states: vec![StateDescription {
                    name: "sum".into(),
                    kind: "value".into(),
                    codec: Some(StateCodec {
                        key: CodecId::of::<String>(),
                        map_key: None,
                        namespace: None,
                        value: CodecId::of::<u64>(),
                        ttl: false,
                    }),
                    width: Some(8),
                }],
                subtasks: vec![
                    SubtaskSnapshot::empty(OperatorId::new("count"), "Count", 0),
                    subtask,
                ],
            },
            OperatorMetadata {
                id: OperatorId::new("print"),
                name: "Print".into(),
                parallelism: 1,
                max_parallelism: 128,
                states: Vec::new(),
                subtasks: Vec::new(),
            },
        ],
    }
}

fn source() -> PathBuf {
    PathBuf::from("/checkpoints/job/chk-17/_metadata")
}

/// An error that a person can act on.
fn assert_names_the_place(error: &Error, context: &str) {
    assert_eq!(error.kind(), ErrorKind::Restore, "{context}");
    let text = error.to_string();
    for part in [
        "/checkpoints/job/chk-17/_metadata",
        "section ",
        "offset ",
        "expected",
    ] {
        assert!(text.contains(part), "{context}: no '{part}' in: {text}");
    }
    assert!(
        text.contains("found") || text.contains("have checksum") || text.contains("is unknown"),
        "{text}"
    );
}

#[test]
fn metadata_reads_back_as_written() {
    let metadata = sample();
    let bytes = encode(&metadata).unwrap();
    assert_eq!(decode(&bytes, &source()).unwrap(), metadata);
}

#[test]
fn every_truncation_is_an_error_that_names_the_place() {
    let bytes = encode(&sample()).unwrap();
    for len in 0..bytes.len() {
        let error = decode(&bytes[..len], &source()).unwrap_err();
        assert_names_the_place(&error, &format!("cut to {len} bytes"));
    }
}

#[test]
fn every_flipped_bit_is_an_error_that_names_the_place() {
    let bytes = encode(&sample()).unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let error = decode(&flipped, &source()).unwrap_err();
            assert_names_the_place(&error, &format!("bit {bit} of byte {at} flipped"));
        }
    }
}

#[test]
fn added_bytes_are_an_error() {
    let mut bytes = encode(&sample()).unwrap();
    bytes.push(0);
    let error = decode(&bytes, &source()).unwrap_err();
    assert_names_the_place(&error, "one byte more");
    assert!(error.to_string().contains("found 1 more bytes"), "{error}");
}

#[test]
fn damage_names_the_section_that_it_is_in() {
    let bytes = encode(&sample()).unwrap();
    for (at, section) in [
        (Format::<2>::HEADER_LEN - 1, "section header"),
        (Format::<2>::HEADER_LEN, "section job, offset 40"),
        (bytes.len() - 1, "section operators"),
    ] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x80;
        let error = decode(&flipped, &source()).unwrap_err();
        assert!(error.to_string().contains(section), "{error}");
    }
}

#[test]
fn unknown_version_is_refused_by_its_number() {
    let bytes = FORMAT.seal(3, [b"", b""]);
    let error = decode(&bytes, &source()).unwrap_err();
    assert_names_the_place(&error, "version 3");
    assert!(
        error.to_string().contains("format version 3 is unknown"),
        "{error}"
    );
}

#[test]
fn length_beyond_any_memory_is_refused_without_allocating() {
    // A well formed header that promises 2^63 bytes.
    let mut bytes = FORMAT.seal(2, [b"", b""]);
    bytes[12..20].copy_from_slice(&(1u64 << 63).to_le_bytes());
    let crc = crc32fast::hash(&bytes[..36]);
    bytes[36..40].copy_from_slice(&crc.to_le_bytes());
    assert_names_the_place(&decode(&bytes, &source()).unwrap_err(), "2^63 bytes");
}

#[test]
fn job_id_that_is_a_path_is_refused() {
    let good = encode(&sample()).unwrap();
    let [(_, job), (_, operators)] = FORMAT.open(&good, &source()).unwrap();
    let id = b"0123456789abcdef0123456789abcdef";
    let at = job.windows(id.len()).position(|window| window == id).unwrap();
    let mut forged = job.to_vec();
    forged[at..at + 12].copy_from_slice(b"../../../etc");
    let error = decode(&FORMAT.seal(2, [&forged, operators]), &source()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Restore);
    assert!(error.to_string().contains("is not a job id"), "{error}");
}

#[test]
fn missing_file_is_named() {
    let error = read_file(&source()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Restore);
    assert!(error.to_string().contains(source().to_str().unwrap()), "{error}");
}

/// Bytes written by every released version are read for ever. A change that breaks this asks for a new version.
#[test]
fn golden_file_of_version_2_reads_and_is_still_what_is_written() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/checkpoint/metadata/testdata/v2.metadata");
    if std::env::var_os("MILLPOND_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, encode(&sample()).unwrap()).unwrap();
    }
    assert_eq!(read_file(&path).unwrap(), sample());
    assert_eq!(std::fs::read(&path).unwrap(), encode(&sample()).unwrap());
}

proptest! {
    /// Forged content with right checksums: a value or an error, never a panic or a huge allocation.
    #[test]
    fn forged_sections_never_panic(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let good = encode(&sample()).unwrap();
        let [(_, job), (_, operators)] = FORMAT.open(&good, &source()).unwrap();
        let (mut job, mut operators) = (job.to_vec(), operators.to_vec());
        for (at, byte) in edits {
            let at = at.index(job.len() + operators.len());
            match at.checked_sub(job.len()) {
                None => job[at] = byte,
                Some(at) => operators[at] = byte,
            }
        }
        operators.truncate(cut.index(operators.len()) + 1);
        if let Err(error) = decode(&FORMAT.seal(2, [&job, &operators]), &source()) {
            prop_assert_eq!(error.kind(), ErrorKind::Restore);
        }
    }
}
