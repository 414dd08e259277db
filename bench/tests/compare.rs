//! `compare` as a program: what it writes, and what it keeps of what it wrote before.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::path::Path;
use std::process::{Command, Output};

fn compare(results: &Path, more: &[&str]) -> Output {
    let fast = [
        "--records",
        "20k",
        "--drift-for",
        "60ms",
        "--touch-mb",
        "0",
        "--write-mb",
        "0",
    ];
    Command::new(env!("CARGO_BIN_EXE_millpond-bench"))
        .arg("compare")
        .args(fast)
        .arg("--results")
        .arg(results)
        .args(more)
        .output()
        .unwrap()
}

fn rows_of(results: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(results).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("| "));
    let names = lines.map(|line| line.split(' ').next().unwrap().to_owned());
    names.filter(|name| name != "row").collect()
}

#[test]
fn rows_that_are_measured_apart_come_together_in_one_table() {
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join("RESULTS.md");
    let output = compare(&results, &["--rows", "limit-1k,scale-1k", "--runs", "2"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(rows_of(&results), ["limit-1k", "scale-1k"]);
    let mut text = std::fs::read_to_string(&results).unwrap();
    text.push_str("\n## Remarks\n\nBy hand.\n");
    std::fs::write(&results, &text).unwrap();

    let output = compare(
        &results,
        &["--merge", "--rows", "drift-heap,scale-1k", "--runs", "1"],
    );
    assert!(output.status.success(), "{output:?}");
    assert_eq!(rows_of(&results), ["limit-1k", "scale-1k", "drift-heap"]);
    let merged = std::fs::read_to_string(&results).unwrap();
    let row = |text: &str, name: &str| {
        let start = format!("| {name} ");
        text.lines()
            .find(|line| line.starts_with(&start))
            .unwrap()
            .to_owned()
    };
    assert_eq!(row(&merged, "limit-1k"), row(&text, "limit-1k"));
    assert!(row(&text, "scale-1k").contains("| - | 2 | "), "{text}");
    assert!(row(&merged, "scale-1k").contains("| - | 1 | "), "{merged}");
    assert!(merged.ends_with("\n## Remarks\n\nBy hand.\n"), "{merged}");
    assert!(merged.contains("- not measured: heap-1k-p1, "), "{merged}");

    let output = compare(&results, &["--merge", "--only-write"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(std::fs::read_to_string(&results).unwrap(), merged);

    // Without --merge it begins anew.
    let output = compare(&results, &["--rows", "scale-1m", "--runs", "1"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(rows_of(&results), ["scale-1m"]);
}

#[test]
fn a_row_that_cannot_be_measured_says_why_and_does_not_end_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join("RESULTS.md");
    let nowhere = folder.path().display().to_string();
    let rows = ["--rows", "so-files-1k,scale-1k", "--runs", "1"];
    let output = compare(&results, &[&rows[..], &["--plugins", &nowhere]].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(rows_of(&results), ["so-files-1k", "scale-1k"]);
    let text = std::fs::read_to_string(&results).unwrap();
    assert!(text.contains("failed: there is no "), "{text}");
    assert!(text.contains("`cargo xtask plugins fs rocksdb`"), "{text}");
    assert!(
        text.contains("- **not reached**: so-files-1k, which could not be measured"),
        "{text}"
    );

    // What was measured stays when it cannot be measured again, and when nothing can be.
    let wrong = ["-D", "execution.checkpointing.mode=NOPE"];
    for more in [&["--rows", "scale-1k", "--merge"][..], &["--rows", "scale-1k"]] {
        let output = compare(&results, &[more, &wrong].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(std::fs::read_to_string(&results).unwrap(), text, "{more:?}");
    }
}
