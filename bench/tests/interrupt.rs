//! What is left of a run that is interrupted.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

#[test]
fn an_interrupted_run_leaves_no_folder_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_millpond-bench"))
        .args("drift --for 10m --report-every 50ms --keys 1k --interval-ms 20".split(' '))
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // There are checkpoints when an interval is over.
    let mut line = String::new();
    let read = BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line);
    assert!(read.unwrap() > 0);
    let folders = || std::fs::read_dir(temporary.path()).unwrap().count();
    assert!(folders() > 0, "nothing to be left behind");
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130), "{status}");
    assert_eq!(folders(), 0);
}
