//! Starts from each checkpoint that a job has retained, not only from the last one.

use super::golden::{from_stored, rest_of};
use super::{KEYS, backends, evolving};
use crate::harness::{finished_lines, job_folders};
use std::fs;
use std::path::PathBuf;

const RECORDS: u64 = 4000;
const RETAINED: usize = 4;

#[test]
fn a_job_starts_from_any_checkpoint_that_was_retained_and_latest_is_the_last_of_them() {
    for backend in backends() {
        let folder = tempfile::tempdir().unwrap();
        let first = evolving(folder.path(), 1, RECORDS, KEYS)
            .option("rate", 1000)
            .option("parallelism", 2)
            .durable(folder.path(), 50)
            .set("execution.checkpointing.num-retained", RETAINED);
        let mut running = backend.of(first).start();
        running.wait_for("checkpoint completed checkpoint=7 ");
        assert!(running.kill().was_killed());
        let jobs = job_folders(&folder.path().join("checkpoints"));
        let [job] = jobs.as_slice() else {
            panic!("one job has left its checkpoints: {jobs:?}")
        };
        let mut retained: Vec<(u64, PathBuf)> = fs::read_dir(job)
            .unwrap()
            .filter_map(|entry| {
                let path = entry.unwrap().path();
                let id = path.file_name()?.to_str()?.strip_prefix("chk-")?.parse().ok()?;
                path.join("_metadata").is_file().then_some((id, path))
            })
            .collect();
        retained.sort();
        assert!(retained.len() >= RETAINED, "{}: {retained:?}", backend.name);
        retained.push((u64::MAX, job.join("latest")));
        let begins: Vec<u64> = retained
            .iter()
            .map(|(id, path)| {
                let again = tempfile::tempdir().unwrap();
                let program = from_stored(again.path(), 2, path, RECORDS, KEYS);
                backend.of(program).option("parallelism", 1).run().expect_code(0);
                let lines = finished_lines(&again.path().join("output"));
                rest_of(&lines, RECORDS, KEYS, &format!("{} from {id}", backend.name))
            })
            .collect();
        assert!(begins.is_sorted(), "{}: {begins:?}", backend.name);
        let [.., newest, latest] = begins.as_slice() else {
            panic!("{begins:?}")
        };
        assert_eq!(newest, latest, "{}", backend.name);
        assert!(begins.first() < begins.last(), "{}: {begins:?}", backend.name);
    }
}
