//! Every byte flipped, every length cut.
//!
//! `MILLPOND_SEED` chooses the bits. `MILLPOND_DAMAGE_STEP` says how far apart the places are that are tried in the middle of files (see [`STEP`]); 1 tries
//! every byte and every length, in five minutes.

use crate::checkpoint::Checkpoint;
use millpond_engine::{Error, ErrorKind};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

/// Every how many bytes there is a damage. Odd, so that all parts of words and entries get theirs.
const STEP: usize = 31;
/// The bytes at the start and the end of each file that are all tried.
const EDGE: usize = 16;
/// Jobs at a time: each is waiting for its own threads most of the time.
const JOBS: usize = 6;

/// Where errors find damage.
const KINDS: [&str; 10] = [
    ", section of state ",
    ", header, ",
    ", directory, ",
    ", trailer, ",
    ", frame, ",
    " is damaged: it has ",
    "section header",
    "section job",
    "section operators",
    "section end",
];

#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip { at: usize, bit: u8 },
    Cut { len: usize },
    Longer,
}

impl Damage {
    fn of(self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        match self {
            Self::Flip { at, bit } => bytes[at] ^= 1 << bit,
            Self::Cut { len } => bytes.truncate(len),
            Self::Longer => bytes.push(0),
        }
        bytes
    }
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// A number that looks random for each `n`.
fn mix(n: usize) -> usize {
    let n = (n as u64 ^ 0x5bd1_e995).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from((n ^ (n >> 29)) >> 3 & 0xffff_ffff).unwrap()
}

fn damages(bytes: &[u8], seed: usize, step: usize) -> Vec<Damage> {
    let len = bytes.len();
    let edges = |at: &usize| *at < EDGE || len - *at <= EDGE;
    let bit = |at: usize| u8::try_from(mix(seed + at) % 8).unwrap();
    // All bits at the edges if everything is to be tried.
    let bits = |at: usize| {
        let bits = if step == 1 { 0..8 } else { bit(at)..bit(at) + 1 };
        bits.map(move |bit| Damage::Flip { at, bit })
    };
    let middle = (0..len).step_by(step).map(|at| Damage::Flip { at, bit: bit(at) });
    let cuts = (0..len).step_by(step).map(|len| Damage::Cut { len });
    (0..len)
        .filter(edges)
        .flat_map(bits)
        .chain(middle)
        .chain(cuts)
        .chain([Damage::Cut { len: len - 1 }, Damage::Longer])
        .collect()
}

/// What is wrong with the error, if anything.
pub(crate) fn flaw(error: &Error, path: &Path) -> Option<&'static str> {
    let text = error.to_string();
    let has = |part: &str| text.contains(part);
    let name = path.file_name().unwrap().to_str().unwrap();
    if !matches!(error.kind(), ErrorKind::Restore | ErrorKind::Damaged) {
        Some("another kind")
    } else if has("panic") {
        Some("a panic")
    } else if !has(name) {
        Some("does not name the file")
    } else if !(has("expected") || has("is unknown") || has("versions")) {
        Some("does not say what was expected")
    } else if !has("--from-savepoint") {
        Some("does not say what to do")
    } else {
        None
    }
}

#[derive(Debug, Default)]
struct Found {
    detected: usize,
    harmless: Vec<String>,
    flaws: Vec<String>,
    /// The errors by what they say, and one of each.
    kinds: BTreeMap<&'static str, usize>,
    samples: BTreeMap<&'static str, String>,
}

/// Of a checkpoint with so many files at least.
fn try_everywhere(name: &str, settings: &[(&str, &str)], files_min: usize) {
    let seed = number("MILLPOND_SEED", 7);
    let step = number("MILLPOND_DAMAGE_STEP", STEP);
    let start = Instant::now();
    let checkpoint = Checkpoint::take_until(settings, |taken| taken.files.len() >= files_min);
    checkpoint.restore(&"whole").unwrap();
    let mut cases: Vec<(PathBuf, Damage)> = Vec::new();
    for (file, bytes) in &checkpoint.files {
        println!("{name}: {} bytes of {}", bytes.len(), file.display());
        let damages = damages(bytes, seed + cases.len(), step);
        cases.extend(damages.into_iter().map(|damage| (file.clone(), damage)));
    }
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Found::default());
    thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| {
                let copy = checkpoint.copy();
                while let Some((file, damage)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    copy.replace(file, &damage.of(&copy.files[file]));
                    let result = copy.restore(&(file, damage));
                    copy.repair(file);
                    note(&mut found.lock().unwrap(), file, *damage, result);
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    println!(
        "{name}: {} damages, {} detected, {} harmless, {} s, seed {seed}",
        cases.len(),
        found.detected,
        found.harmless.len(),
        start.elapsed().as_secs()
    );
    for (kind, count) in &found.kinds {
        println!(
            "{name}: {count} x {kind}: {}",
            found.samples.get(kind).map_or("", String::as_str)
        );
    }
    assert!(
        found.flaws.is_empty(),
        "{:#?}",
        &found.flaws[..found.flaws.len().min(20)]
    );
    assert!(found.harmless.is_empty(), "{:#?}", found.harmless);
}

fn note(found: &mut Found, file: &Path, damage: Damage, result: Result<(), Error>) {
    match result {
        Ok(()) => found.harmless.push(format!("{} {damage:?}", file.display())),
        Err(error) => {
            found.detected += 1;
            let text = error.to_string();
            if let Some(flaw) = flaw(&error, file) {
                found.flaws.push(format!(
                    "{flaw}: {} {damage:?}: {:?} {text}",
                    file.display(),
                    error.kind()
                ));
            }
            let kind = KINDS
                .iter()
                .find(|kind| text.contains(**kind))
                .unwrap_or(&"other");
            *found.kinds.entry(kind).or_default() += 1;
            if found.samples.len() < KINDS.len() && !found.samples.contains_key(kind) {
                found.samples.insert(kind, text);
            }
        }
    }
}

#[test]
fn damage_anywhere_in_a_chain_of_files_is_told() {
    try_everywhere(
        "files",
        &[("execution.checkpointing.data-inline-threshold", "0 b")],
        4,
    );
}

#[test]
fn damage_anywhere_in_compressed_files_is_told() {
    let settings = [
        ("execution.checkpointing.data-inline-threshold", "0 b"),
        ("execution.checkpointing.snapshot-compression", "true"),
    ];
    try_everywhere("compressed", &settings, 3);
}

#[test]
fn damage_anywhere_in_metadata_that_holds_the_state_is_told() {
    try_everywhere("inline", &[], 1);
}
