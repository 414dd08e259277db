//! State that is too large for the coordinator's memory.

use crate::harness::{Program, checkpoints_below};
use std::fs;

#[test]
fn state_beyond_the_limit_of_the_jobmanager_storage_fails_the_job_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    // 8 MiB of distinct words.
    let words: String = (0..800).map(|i| format!("{i:0>10240}\n")).collect();
    fs::write(folder.path().join("text"), words).unwrap();
    let program = Program::word_count(&folder.path().join("logs"))
        .option("input", folder.path().join("text").display())
        .option("output", folder.path().join("output").display())
        .set("execution.checkpointing.interval", "50 ms");
    for storage in ["", "file"] {
        let mut program = program.clone().set("state.backend", "jobmanager");
        if storage == "file" {
            let checkpoints = folder.path().join("checkpoints");
            program = program.set(
                "execution.checkpointing.dir",
                format!("file://{}", checkpoints.display()),
            );
        }
        program.run().expect_code(1).expect_output(&[
            "'seen'",
            "5242880",
            "jobmanager",
            "execution.checkpointing.storage",
            "filesystem",
        ]);
        assert!(checkpoints_below(&folder.path().join("checkpoints")).is_empty());
        fs::remove_dir_all(folder.path().join("output")).unwrap();
    }
}
