//! Input text, and what `awk` makes of it.

use super::Random;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Writes about `bytes` of text into `files` files of `folder`: a few very frequent words, many rare ones, some that are not UTF-8, empty lines, runs of
/// spaces and tabs, and no line end behind the last line.
pub(crate) fn write_text(folder: &Path, files: usize, bytes: usize, random: &mut Random) {
    fs::create_dir_all(folder).unwrap();
    for file in 0..files {
        let mut text = Vec::with_capacity(bytes / files + 100);
        while text.len() < bytes / files {
            for _ in 0..random.below(12) {
                // Squaring makes low numbers frequent.
                let rank = (random.below(200) * random.below(200) * random.below(100)) / 1000;
                match rank % 97 {
                    13 => text.extend(format!("w\u{f6}rt{rank}").bytes()),
                    31 => text.extend([b'x', 0xff, rank.to_le_bytes()[0] | 0x80]),
                    _ => text.extend(format!("word{rank}").bytes()),
                }
                text.extend(random.pick(&[b" ".as_slice(), b"  ", b"\t", b" "]));
            }
            text.push(b'\n');
        }
        text.extend(b"the last words have no line end");
        fs::write(folder.join(format!("text-{file}")), text).unwrap();
    }
}

/// How many lines the files of `folder` have, the last ones without an end included.
pub(crate) fn lines_of(folder: &Path) -> u64 {
    let lines = |path| fs::read(path).unwrap().split(|byte| *byte == b'\n').count() as u64;
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| lines(entry.unwrap().path()))
        .sum()
}

/// The lines that a word count over the files of `folder` has to write, sorted.
pub(crate) fn awk_lines(folder: &Path) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let output = Command::new("awk")
        .arg(r#"{for(i=1;i<=NF;i++) print $i "\t" ++c[$i]}"#)
        .args(files)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    sorted_lines(&output.stdout)
}

/// The lines of all finished files of an output folder, sorted, but for those that a job has left behind by going back to an older checkpoint. Panics if unfinished
/// files are left, which a job that has ended must not do.
pub(crate) fn finished_lines(folder: &Path) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with(".part-") && name.ends_with(".left") {
            continue;
        }
        assert!(
            name.starts_with("part-"),
            "{name} was left in {}",
            folder.display()
        );
        let text = fs::read(entry.path()).unwrap();
        assert!(text.ends_with(b"\n"), "{name} does not end with a whole line");
        all.extend(text);
    }
    sorted_lines(&all)
}

fn sorted_lines(text: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<_> = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    lines.sort_unstable();
    lines
}

/// Each expected line once, and no other.
pub(crate) fn assert_exactly(found: &[Vec<u8>], expected: &[Vec<u8>], what: &str) {
    if found != expected {
        let (missing, extra) = difference(found, expected);
        panic!(
            "{what}: {} lines where {} were expected; missing {} {:?}; too many {} {:?}",
            found.len(),
            expected.len(),
            missing.len(),
            missing.iter().take(5).collect::<Vec<_>>(),
            extra.len(),
            extra.iter().take(5).collect::<Vec<_>>(),
        );
    }
}

/// Each expected line at least once, and no line that was not expected but for counts beyond the last.
pub(crate) fn assert_nothing_missing(found: &[Vec<u8>], expected: &[Vec<u8>], what: &str) {
    let (missing, _) = difference(found, expected);
    assert!(
        missing.is_empty(),
        "{what}: {} lines are missing: {:?}",
        missing.len(),
        missing.iter().take(5).collect::<Vec<_>>()
    );
}

/// Lines that are there too seldom, and too often.
fn difference(found: &[Vec<u8>], expected: &[Vec<u8>]) -> (Vec<String>, Vec<String>) {
    let mut counts: BTreeMap<&[u8], i64> = BTreeMap::new();
    for line in found {
        *counts.entry(line).or_default() += 1;
    }
    for line in expected {
        *counts.entry(line).or_default() -= 1;
    }
    let lines = |wanted: fn(i64) -> bool| {
        counts
            .iter()
            .filter(|(_, count)| wanted(**count))
            .map(|(line, _)| String::from_utf8_lossy(line).into_owned())
            .collect()
    };
    (lines(|count| count < 0), lines(|count| count > 0))
}

/// How many checkpoints a job says that it has completed, in its summary.
pub(crate) fn checkpoints_completed(log: &str) -> u64 {
    let words: Vec<_> = log.split_whitespace().collect();
    let at = words.iter().rposition(|word| word.starts_with("checkpoints"));
    at.and_then(|at| words[at - 1].parse().ok())
        .unwrap_or_else(|| panic!("no count of checkpoints in:\n{log}"))
}

/// The number of the latest checkpoint that a log reports as completed; 0 if there is none.
pub(crate) fn latest_completed(log: &str) -> u64 {
    let numbers = log
        .split("checkpoint completed checkpoint=")
        .skip(1)
        .filter_map(|rest| rest.split_whitespace().next()?.parse().ok());
    numbers.max().unwrap_or(0)
}
