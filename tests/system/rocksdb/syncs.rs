//! What is synced: everything that a checkpoint consists of, and no working file, which nobody reads after a crash.

use crate::faults_of_storage::{assert_output, paced_program};
use crate::harness::{ROCKSDB, Random, Strace, has_rocksdb};
use std::fs;
use std::process::Command;

#[test]
fn working_files_are_not_synced_and_files_of_checkpoints_are() {
    if !has_rocksdb() {
        return;
    }
    if !Strace::is_usable() {
        println!("skipped: strace cannot be used here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let databases = folder.path().join("databases");
    let calls = folder.path().join("calls");
    let program = paced_program(folder.path(), ROCKSDB, &mut Random::of_test("syncs"), 4000)
        .set("state.backend.rocksdb.localdir", databases.display());
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-e", "trace=fsync,fdatasync,msync,syncfs"]);
    strace.arg("-o").arg(&calls);
    let ended = program.start_by(strace).wait().expect_code(0);
    ended.expect_output(&["checkpoint completed"]);
    assert_output(folder.path(), "syncs");
    let calls = fs::read_to_string(&calls).unwrap();
    let of = |part: &str| calls.lines().filter(|line| line.contains(part)).count();
    assert_eq!(of(databases.to_str().unwrap()), 0, "{calls}");
    let checkpoints = folder.path().join("checkpoints");
    // Files of sorted entries are shared, and linked here.
    assert!(
        of(checkpoints.to_str().unwrap()) > 10 && of("/shared/") > 2,
        "{calls}"
    );
}
