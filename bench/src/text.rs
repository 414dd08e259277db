//! Text for `word-count`: how it is generated, and what its words come to.

use crate::args::GenTextArgs;
use crate::disk::files_below;
use crate::generate::{GOLDEN_GAMMA, Tally, fnv1a, splitmix64, words};
use crate::report::print_line;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use millpond_engine::{Error, ErrorKind, Result};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Words in a line.
const WORDS_A_LINE: usize = 10;
/// The seed of the random numbers.
const SEED: u64 = 42;

/// How much text is wanted, and where.
#[derive(Clone, Debug)]
pub(crate) struct TextSize {
    pub(crate) folder: PathBuf,
    /// In 10^6 bytes.
    pub(crate) megabytes: u64,
    /// Different words at most.
    pub(crate) vocabulary: u64,
    /// Files.
    pub(crate) parts: u64,
}

/// Writes the text that the arguments ask for and prints how many words it has.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn run(args: &GenTextArgs) -> Result<bool> {
    let words = generate(&TextSize {
        folder: args.text.clone(),
        megabytes: args.text_mb,
        vocabulary: args.vocab,
        parts: args.parts,
    })?;
    let line = serde_json::json!({ "workload": "gen-text", "words": words, "parts": args.parts });
    print_line(&line).map_err(|error| no_access(Path::new("standard output"), error))?;
    Ok(true)
}

/// Writes text and returns how many words it has.
///
/// The rank of a word is `floor(vocab^u)` with `u` even in `0 .. 1`, so its frequency falls about as one over its rank; the word itself is the rank times 2654435761 modulo 2^32
/// in base 36. Java's `SplittableRandom` with seed 42 makes the same text.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn generate(size: &TextSize) -> Result<u64> {
    write_all(size).map_err(|error| no_access(&size.folder, error))
}

fn write_all(size: &TextSize) -> std::io::Result<u64> {
    fs::create_dir_all(&size.folder)?;
    remove_parts(&size.folder)?;
    let bytes_a_part = size.megabytes * 1_000_000 / size.parts;
    let mut random = Words::new(size.vocabulary);
    let mut count = 0;
    for part in 0..size.parts {
        let mut file = BufWriter::new(File::create(size.folder.join(format!("part-{part:03}.txt")))?);
        let mut bytes = 0;
        while bytes < bytes_a_part {
            for n in 0..WORDS_A_LINE {
                if n > 0 {
                    file.write_all(b" ")?;
                }
                let word = random.next_word();
                file.write_all(word)?;
                bytes += word.len() as u64 + 1;
                count += 1;
            }
            file.write_all(b"\n")?;
        }
        file.into_inner()?.sync_all()?;
    }
    Ok(count)
}

/// Removes what an earlier call has written, which may have been more files.
fn remove_parts(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let number = name
            .strip_prefix("part-")
            .and_then(|name| name.strip_suffix(".txt"));
        if number.is_some_and(|number| number.parse::<u64>().is_ok()) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// The sequence of words.
struct Words {
    state: u64,
    log_vocab: f64,
    word: Vec<u8>,
}

impl Words {
    #[expect(clippy::cast_precision_loss, reason = "a vocabulary is below 2^32")]
    fn new(vocab: u64) -> Self {
        Self {
            state: SEED,
            log_vocab: (vocab as f64).ln(),
            word: Vec::new(),
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "53 bits fit a float; a rank is positive and below 2^32"
    )]
    fn next_word(&mut self) -> &[u8] {
        let random = splitmix64(self.state);
        self.state = self.state.wrapping_add(GOLDEN_GAMMA);
        let even = (random >> 11) as f64 / (1_u64 << 53) as f64;
        let rank = (even * self.log_vocab).exp() as u64;
        let mut number = rank.wrapping_mul(2_654_435_761) & 0xffff_ffff;
        self.word.clear();
        loop {
            let digit = (number % 36) as u8;
            self.word.push(if digit < 10 {
                b'0' + digit
            } else {
                b'a' + digit - 10
            });
            number /= 36;
            if number == 0 {
                break;
            }
        }
        self.word.reverse();
        &self.word
    }
}

/// What counting the words of a file or folder must come to, by a plain loop.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn expected_words(text: &Path) -> Result<Tally> {
    let mut counts: HashMap<Vec<u8>, u64, FixedState> = HashMap::default();
    let mut tally = Tally::default();
    for path in files(text)? {
        let read = |error| no_access(&path, error);
        let mut file = BufReader::new(File::open(&path).map_err(read)?);
        let mut line = Vec::new();
        while file.read_until(b'\n', &mut line).map_err(read)? > 0 {
            for word in words(&line).filter_map(|range| line.get(range)) {
                let count = match counts.get_mut(word) {
                    Some(count) => count,
                    None => counts.entry(word.to_owned()).or_default(),
                };
                *count += 1;
                tally.add(fnv1a(word), *count);
            }
            line.clear();
        }
    }
    Ok(tally)
}

/// The files that the engine's source of text reads: those in hidden folders and hidden ones are left out.
fn files(text: &Path) -> Result<Vec<PathBuf>> {
    if !text.is_dir() {
        return Ok(vec![text.to_owned()]);
    }
    let is_hidden = |part: &std::ffi::OsStr| {
        part.as_encoded_bytes().starts_with(b".") || part.as_encoded_bytes().starts_with(b"_")
    };
    let mut paths: Vec<PathBuf> = files_below(text)?.into_iter().map(|(path, _)| path).collect();
    paths.retain(|path| {
        let below = path.strip_prefix(text).unwrap_or(path);
        !below.iter().any(is_hidden)
    });
    Ok(paths)
}

fn no_access(path: &Path, error: std::io::Error) -> Error {
    Error::new(
        ErrorKind::Configuration,
        format!("{} cannot be read or written", path.display()),
    )
    .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_javas_generator() {
        let mut words = Words::new(100_000);
        let first: Vec<String> = (0..5)
            .map(|_| String::from_utf8(words.next_word().to_vec()).unwrap())
            .collect();
        assert_eq!(first, ["evgl1q", "1eaygiu", "1n5lq54", "9sabck", "17wdrqp"]);
    }

    #[test]
    fn the_plain_loop_leaves_hidden_files_out() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "to be\nor not to be").unwrap();
        fs::create_dir(folder.path().join("_unfinished")).unwrap();
        fs::write(folder.path().join("_unfinished/b"), "that").unwrap();
        fs::write(folder.path().join(".hidden"), "is").unwrap();
        let tally = expected_words(folder.path()).unwrap();
        assert_eq!((tally.outputs, tally.sum_counts), (6, 1 + 1 + 1 + 1 + 2 + 2));
        assert_eq!(expected_words(&folder.path().join("a")).unwrap(), tally);
    }
}
