//! How text files are cut and read.

use super::*;
use crate::ErrorKind;
use crate::api::{ReaderStatus, SourceOutput, SourceReader};
use crate::connectors::sources::testing::{context, read_all, read_some, read_until_end};
use std::fs;
use std::path::Path;

fn file(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

fn lines_of<L: Line>(source: &TextFileSource<L>) -> Vec<L> {
    read_all(source.reader(context(0), source.splits(1).unwrap()).unwrap())
}

#[test]
fn what_a_checkpoint_has_is_gone_on_with_only_if_it_is_still_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (folder.path().join("in/one"), folder.path().join("other"));
    fs::create_dir(folder.path().join("in")).unwrap();
    for path in [&one, &other] {
        fs::write(path, "line\n").unwrap();
    }
    let restored = TextFileSource::new(&one).splits(1).unwrap();
    for paths in [vec![one.clone()], vec![other.clone(), folder.path().join("in")]] {
        TextFileSource::paths(paths).check_restored(&restored).unwrap();
    }
    let source = TextFileSource::new(&other);
    source.check_restored(&[]).unwrap();
    let error = source.check_restored(&restored).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    for part in [one.to_str().unwrap(), other.to_str().unwrap(), "another uid"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
}

#[test]
fn every_line_is_in_exactly_one_split_wherever_files_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    let texts = [
        "",
        "\n",
        "a",
        "a\n",
        "\na",
        "\n\n\n",
        "one\ntwo\nthree",
        "one\r\ntwo\r\n\r\nthree\r\n",
        "a much longer line\nb\nc\n",
    ];
    for text in texts {
        let path = file(folder.path(), "text", text);
        for split_bytes in 1..=text.len() as u64 + 1 {
            let source = TextFileSource::new(&path).split_bytes(split_bytes);
            let mut all = Vec::new();
            for split in source.splits(3).unwrap() {
                all.extend(read_all(source.reader(context(0), vec![split]).unwrap()));
            }
            assert_eq!(all, text.lines().collect::<Vec<_>>(), "{text:?} by {split_bytes}");
        }
    }
}

#[test]
fn splits_cover_the_file_without_gaps() {
    for (len, split_bytes) in [
        (0, 10),
        (1, 10),
        (10, 10),
        (11, 10),
        (12, 10),
        (19, 10),
        (20, 10),
        (1000, 7),
    ] {
        let splits: Vec<_> = split::cut(Path::new("f"), len, split_bytes).collect();
        let mut next = 0;
        for split in &splits {
            assert_eq!(split.start, next);
            assert!(split.end > split.start);
            next = split.end;
        }
        assert_eq!(next, len);
    }
}

#[test]
fn a_reader_restored_at_any_line_goes_on_with_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (0..50).map(|i| "x".repeat(i % 7)).collect();
    let path = file(folder.path(), "text", lines.join("\n") + "\n");
    let source = TextFileSource::new(path).split_bytes(20);
    for count in 0..lines.len() {
        let mut reader = source.reader(context(0), source.splits(1).unwrap()).unwrap();
        let mut seen = read_some(&mut reader, count);
        let left = reader.snapshot().unwrap();
        let stored = serde_json::to_string(&left).unwrap();
        assert_eq!(serde_json::from_str::<Vec<TextFileSplit>>(&stored).unwrap(), left);
        seen.extend(read_all(source.reader(context(0), left).unwrap()));
        assert_eq!(seen, lines);
    }
}

#[test]
fn lines_longer_than_the_buffer_and_across_its_end_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<Vec<u8>> = [
        5, 3_000_000, 0, 1_048_575, 1_048_576, 1_048_577, 9, 700_000, 700_000,
    ]
    .into_iter()
    .enumerate()
    .map(|(index, len)| vec![b'a' + u8::try_from(index).unwrap(); len])
    .collect();
    let path = file(folder.path(), "text", lines.join(&b'\n'));
    for split_bytes in [1 << 40, 1_000_000, 70_000] {
        let source = TextFileSource::new(&path).split_bytes(split_bytes).bytes();
        assert!(lines_of(&source) == lines, "cut by {split_bytes}");
    }
}

#[test]
fn a_poll_never_emits_more_than_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "text", "a\n".repeat(100));
    let source = TextFileSource::new(path);
    let mut reader = source.reader(context(0), source.splits(1).unwrap()).unwrap();
    let mut output = SourceOutput::new();
    assert_eq!(reader.poll(7, &mut output).unwrap(), ReaderStatus::More);
    assert_eq!(output.records().len(), 7);
}

#[test]
fn folders_are_read_in_the_order_of_names_without_hidden_files() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b", "a/2", "a/10", ".hidden", "_SUCCESS", ".git/x", "_tmp/y", "c"] {
        file(folder.path(), name, name);
    }
    std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).unwrap();
    std::os::unix::fs::symlink(folder.path().join("b"), folder.path().join("link")).unwrap();
    assert_eq!(
        lines_of(&TextFileSource::new(folder.path())),
        ["a/10", "a/2", "b", "c", "b"]
    );
    assert_eq!(
        lines_of(&TextFileSource::new(folder.path().join("c")).path(folder.path().join("_SUCCESS"))),
        ["c", "_SUCCESS"]
    );
}

#[test]
fn what_cannot_be_read_is_refused_before_the_job_runs() {
    let folder = tempfile::tempdir().unwrap();
    for (path, message) in [
        (folder.path().join("nothing"), "does not exist"),
        (PathBuf::from("/dev/null"), "is neither a file nor a folder"),
    ] {
        let error = TextFileSource::new(&path).splits(1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.message().contains(message), "{error}");
        assert!(error.message().contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn bytes_are_taken_as_they_are_and_strings_must_be_utf8() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "text", b"fine\r\nnot \xff fine\r\n");
    let source = TextFileSource::new(&path);
    assert_eq!(
        lines_of(&source.clone().bytes()),
        [b"fine\r".to_vec(), b"not \xff fine\r".to_vec()]
    );
    let reader = source.reader(context(0), source.splits(1).unwrap()).unwrap();
    let (lines, end) = read_until_end(reader);
    let error = end.unwrap_err();
    assert_eq!(lines, ["fine"]);
    assert!(
        error
            .message()
            .contains("not UTF-8 at offset 10, in the line that begins at offset 6"),
        "{error}"
    );
}

#[test]
fn lines_before_one_that_is_not_utf8_are_emitted_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (0..60_000).map(|line| format!("line {line} \u{e9}")).collect();
    let text = lines.join("\n").into_bytes();
    for at in [0, 9, text.len() / 2, text.len() - 1] {
        let mut text = text.clone();
        let begin = memchr::memrchr(b'\n', &text[..at]).map_or(0, |end| end + 1);
        let before = text[..begin].iter().filter(|byte| **byte == b'\n').count();
        text[at] = 0xff;
        // An accented letter that lost its second byte is wrong from its first one on.
        let offset = if at == text.len() - 1 { at - 1 } else { at };
        let source = TextFileSource::new(file(folder.path(), "text", text));
        for split_bytes in [1 << 30, 100_000] {
            let source = source.clone().split_bytes(split_bytes);
            let reader = source.reader(context(0), source.splits(1).unwrap()).unwrap();
            let (found, end) = read_until_end(reader);
            assert!(found == lines[..before], "{} lines before {at}", found.len());
            let expected =
                format!("not UTF-8 at offset {offset}, in the line that begins at offset {begin};");
            let error = end.unwrap_err();
            assert!(error.message().contains(&expected), "{error}, not {expected}");
        }
    }
}

#[test]
fn positions_are_those_of_what_was_emitted_however_far_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (0..100_000).map(|line| format!("{line}")).collect();
    for part in 0..3 {
        file(folder.path(), &format!("{part}"), lines.join("\n") + "\n");
    }
    let expected: Vec<String> = lines.iter().cycle().take(3 * lines.len()).cloned().collect();
    for split_bytes in [1 << 30, 70_000, 5_000] {
        let source = TextFileSource::new(folder.path()).split_bytes(split_bytes);
        for count in [1, 49_999, 100_000, 212_345, 300_000] {
            let mut reader = source.reader(context(0), source.splits(1).unwrap()).unwrap();
            let mut seen = read_some(&mut reader, count);
            let left = reader.snapshot().unwrap();
            drop(reader);
            seen.extend(read_all(source.reader(context(0), left).unwrap()));
            assert!(
                seen == expected,
                "restored behind {count} lines, cut by {split_bytes}"
            );
        }
    }
}

#[test]
fn a_file_that_became_shorter_is_refused_and_what_was_appended_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "text", "one\ntwo\nthr");
    let source = TextFileSource::new(&path);
    let splits = source.splits(1).unwrap();
    fs::write(&path, "one\ntwo\nthree\nfour\n").unwrap();
    assert_eq!(
        read_all(source.reader(context(0), splits.clone()).unwrap()),
        ["one", "two", "thr"]
    );
    fs::write(&path, "one\n").unwrap();
    let error = source
        .reader(context(0), splits)
        .unwrap()
        .poll(1, &mut SourceOutput::new())
        .unwrap_err();
    assert!(
        error
            .message()
            .contains("had 11 bytes when the job began and has 4 now"),
        "{error}"
    );
}

#[test]
fn large_inputs_are_shared_by_all_subtasks() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "text", "0123456\n".repeat(1 << 17));
    let splits = TextFileSource::new(path).splits(3).unwrap();
    assert_eq!(splits.len(), 12);
}

/// Run with `cargo test --release -- --ignored --nocapture text_speed`.
#[test]
#[ignore = "a measurement"]
fn text_speed() {
    let folder = tempfile::tempdir().unwrap();
    let line = "the quick brown fox jumps over the lazy dog and then some more words come\n";
    let path = file(folder.path(), "text", line.repeat(5_000_000));
    let bytes = fs::metadata(&path).unwrap().len();
    let source = TextFileSource::new(path).bytes();
    let mut reader = source.reader(context(0), source.splits(1).unwrap()).unwrap();
    let mut output = SourceOutput::new();
    let start = std::time::Instant::now();
    while reader.poll(1024, &mut output).unwrap() != ReaderStatus::Finished {
        output.records.clear();
    }
    println!("{:.0} MB/s", bytes as f64 / 1e6 / start.elapsed().as_secs_f64());
}
