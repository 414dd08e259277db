//! Many incremental checkpoints of state that is changed, deleted and written anew at random: what is on disk meanwhile, after a kill, and at the end.

use crate::harness::{
    COMPRESSED, FILES, HASTY_FILES, JobFolder, Program, ROCKSDB, Random, Running, Settings, assert_exactly,
    base_bytes, bytes_below, checkpoints_below, finished_lines, has_rocksdb, job_folders, latest_completed,
    longest_chain, number,
};
use millpond_engine::checkpoint::CheckpointMetadata;
use millpond_engine::checkpoint::metadata::read_file;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const KEYS: u64 = 8000;
const VALUE_BYTES: u64 = 200;
const RETAINED: u64 = 3;
/// Updates between two checkpoints, in each of the two subtasks of the source, however long a checkpoint takes: fewer than a tenth of the keys are changed.
const BETWEEN_CHECKPOINTS: u64 = 200;
pub(crate) const INTERVAL_MS: u64 = 50;
const CHECKPOINTS: u64 = 50;

/// The job, with `records` random updates. It fails when there is `stop` in `folder`, and its checkpoints stay then.
pub(crate) fn churn(folder: &Path, logs: &Path, settings: Settings, records: u64, rate: u64) -> Program {
    Program::subject(logs, "churn")
        .option("output", folder.join("output").display())
        .option("keys", KEYS)
        .option("value-bytes", VALUE_BYTES)
        .option("records", records)
        .option("rate", rate)
        .option("panic-when-there-is", folder.join("stop").display())
        .set("execution.checkpointing.num-retained", RETAINED)
        .set(
            "execution.checkpointing.externalized-checkpoint-retention",
            "RETAIN_ON_CANCELLATION",
        )
        .set("restart-strategy.type", "none")
        .set_all(settings)
        .durable(folder, INTERVAL_MS)
}

/// What may be on disk while a job runs whose whole state takes `base_bytes` in files.
///
/// A chain is a base and deltas. When the deltas are more than half of the base, the next file is a new base; so a chain has at most 3/2 of a base and the
/// latest increment. On disk are the retained checkpoints, the one that is being written and the one that is being deleted: 5 that follow each other.
/// That is the chain of the first, and one file for each of the others. Increments of at most a quarter of the base make at most two of these four files
/// bases and the others deltas, which are at most half of a base however much they fold: 3/2 + 1/4 + 2 + 2/2 of a base.
///
/// What makes increments so small is [`BETWEEN_CHECKPOINTS`]. Deletion does not hold checkpoints up, so there may be more for a while.
fn allowed_in_chains(latest: &CheckpointMetadata) -> u64 {
    base_bytes(latest) * 19 / 4
}

/// What may be on disk while a job on RocksDB runs: five checkpoints, as above, that share nothing since compactions have written everything anew in
/// between, each about as large as the latest.
fn allowed_in_databases(latest: &CheckpointMetadata) -> u64 {
    let files = latest.subtasks().flat_map(|subtask| subtask.files());
    files.map(|file| file.size).sum::<u64>() * 5
}

/// How many bytes may be on disk, by the latest checkpoint.
type Allowed = fn(&CheckpointMetadata) -> u64;

/// What was seen while a job ran.
#[derive(Debug, Default)]
struct Seen {
    looks: u64,
    /// The most bytes that were on disk, in thousandths of what is allowed.
    fullest: u64,
    longest_chain: usize,
}

impl Seen {
    /// Lets `running` complete checkpoints up to `until` and looks at the folder of checkpoints after every few.
    fn watch(&mut self, running: &mut Running, checkpoints: &Path, until: u64, allowed: Allowed) {
        let mut seen = latest_completed(&running.log());
        while seen < until {
            go_on(running);
            let now = latest_completed(&running.log());
            if now >= seen + 3 {
                seen = now;
                self.look(running, checkpoints, allowed);
            }
        }
    }

    /// What is to be deleted is deleted beside the checkpoints: so not at each moment, but soon after, no more is there than is allowed.
    fn look(&mut self, running: &mut Running, checkpoints: &Path, allowed: Allowed) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            // A checkpoint that is deleted just now is not the latest any more.
            let latest = checkpoints_below(checkpoints).pop();
            let latest = latest.and_then(|(_, folder)| read_file(&folder.join("_metadata")).ok());
            if let Some(latest) = latest {
                self.longest_chain = self.longest_chain.max(longest_chain(&latest));
                let (bytes, allowed) = (bytes_below(checkpoints), allowed(&latest));
                if bytes <= allowed {
                    self.looks += 1;
                    self.fullest = self.fullest.max(bytes * 1000 / allowed);
                    return;
                }
                assert!(
                    Instant::now() < deadline,
                    "{bytes} bytes are more than {allowed}, again and again"
                );
            }
            go_on(running);
        }
    }
}

/// Waits a moment in which `running` must not end.
fn go_on(running: &mut Running) {
    assert!(
        !running.ends_within(Duration::from_millis(INTERVAL_MS)),
        "{}",
        running.log()
    );
}

fn the_job_folder(checkpoints: &Path) -> PathBuf {
    let mut folders = job_folders(checkpoints);
    assert_eq!(folders.len(), 1, "{folders:?}");
    folders.pop().unwrap()
}

fn stays_bounded(name: &str, settings: Settings, allowed: Allowed) {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = folder.path().join("checkpoints");
    let logs = folder.path().join("logs");
    // More than there is time for.
    let program = churn(folder.path(), &logs, settings, 100_000_000, 1_000_000)
        .option("between-checkpoints", BETWEEN_CHECKPOINTS)
        .option("parallelism", 2);
    let mut seen = Seen::default();

    // One life that ends by a kill, with whatever is under way.
    let mut running = program.start();
    seen.watch(&mut running, &checkpoints, CHECKPOINTS / 2, allowed);
    running.kill();
    let killed = JobFolder::read(&the_job_folder(&checkpoints));
    killed.assert_whole(name);
    seen.longest_chain = seen.longest_chain.max(killed.longest_chain());
    // What a killed attempt can leave, if chance did not. The kill may have come before a checkpoint was subsumed whose successors are all there: so what
    // is before the first that is there belongs to nobody, and not what is so and so far before the last.
    let subsumed = killed.checkpoints.first().unwrap().id.0 - 1;
    let shared = the_job_folder(&checkpoints).join("shared");
    let left = [
        shared.join(".0123456789abcdef0123456789abcdef.tmp"),
        shared.join("0123456789abcdef0123456789abcdef"),
        shared.with_file_name(format!("chk-{subsumed}")).join("half"),
    ];
    for file in &left {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "left by a killed attempt").unwrap();
    }
    let orphans = JobFolder::read(&the_job_folder(&checkpoints)).orphans;
    assert!(left.iter().all(|file| orphans.contains(file)), "{orphans:?}");

    // One that ends by a failure, after which the job has tidied up.
    let mut running = program.start();
    running.wait_for("starts from checkpoint");
    running.wait_for("checkpoint completed");
    for file in &left {
        assert!(!file.exists(), "{name}: {} was not swept", file.display());
    }
    seen.watch(&mut running, &checkpoints, CHECKPOINTS, allowed);
    fs::write(folder.path().join("stop"), "").unwrap();
    let ended = running.wait().expect_code(1);
    assert!(!ended.log.contains("FAULT"), "{}", ended.log);
    let left = JobFolder::read(&the_job_folder(&checkpoints));
    left.assert_exact(name);
    assert_eq!(left.checkpoints.len() as u64, RETAINED, "{name}");
    assert!(left.checkpoints.last().unwrap().id.0 >= CHECKPOINTS);
    seen.longest_chain = seen.longest_chain.max(left.longest_chain());
    eprintln!(
        "{name}: {seen:?}, bases of {} for {} of state",
        left.checkpoints.last().map_or(0, base_bytes),
        left.state_bytes(),
    );
    // The chain grows at every checkpoint until it is folded, and three of them that follow each other are retained.
    assert!(
        seen.longest_chain >= 3,
        "{name}: there were no increments: {seen:?}"
    );
}

#[test]
fn fifty_checkpoints_leave_the_bytes_of_three_and_nothing_else() {
    stays_bounded("fifty checkpoints", FILES, allowed_in_chains);
}

#[test]
fn fifty_compressed_checkpoints_leave_the_bytes_of_three_and_nothing_else() {
    stays_bounded("fifty compressed checkpoints", COMPRESSED, allowed_in_chains);
}

#[test]
fn fifty_checkpoints_of_databases_leave_the_bytes_of_three_and_nothing_else() {
    if has_rocksdb() {
        stays_bounded("fifty checkpoints on RocksDB", ROCKSDB, allowed_in_databases);
    }
}

/// The lines that `records` updates write.
pub(crate) fn expected(records: u64) -> Vec<Vec<u8>> {
    let mut occurrences = vec![0u64; usize::try_from(KEYS).unwrap()];
    let mut lines = Vec::new();
    for i in 0..records {
        let key = (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % KEYS;
        let occurrence = &mut occurrences[usize::try_from(key).unwrap()];
        // The third event of a key clears its state.
        let count = *occurrence % 3 + 1;
        *occurrence += 1;
        let digits: u64 = (count.saturating_sub(1).max(1)..=count).sum();
        let history = count * (count + 1) / 2;
        lines.push(format!("{key} {count} {digits} {history}").into_bytes());
    }
    lines.sort_unstable();
    lines
}

#[test]
fn what_was_deleted_stays_deleted_over_kills_and_rescaling() {
    kill_loop("churn", FILES, INTERVAL_MS, 4);
}

#[test]
fn what_was_deleted_stays_deleted_when_many_checkpoints_overlap_or_are_given_up() {
    let given_up = kill_loop("churn in haste", HASTY_FILES, 10, 3);
    eprintln!("{given_up} checkpoints were given up");
    assert!(given_up > 0);
}

/// Returns how many checkpoints ran into the timeout.
pub(crate) fn kill_loop(name: &str, settings: Settings, interval_ms: u64, kills: u64) -> usize {
    let kills = number("MILLPOND_KILLS", kills);
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::of_test(name);
    // So few between two checkpoints that deletions are in deltas, and so many in all that what was deleted is looked at again.
    let records = kills * 8000;
    let program = churn(
        folder.path(),
        &folder.path().join("logs"),
        settings,
        records,
        records * 1000 / (kills * 1200),
    )
    .set("execution.checkpointing.interval", format!("{interval_ms} ms"));
    let mut given_up = 0;
    let mut finished = false;
    for _ in 0..kills {
        let parallelism = 1 + random.below(4);
        let mut running = program.clone().option("parallelism", parallelism).start();
        finished = running.ends_within(random.milliseconds(300..1600));
        if finished {
            running.wait().expect_code(0);
            break;
        }
        let ended = running.kill();
        assert!(!ended.log.contains("FAULT"), "{}", ended.log);
        given_up += ended.log.matches("checkpoint failed").count();
        for job in job_folders(&folder.path().join("checkpoints")) {
            let left = JobFolder::read(&job);
            left.assert_whole(name);
            eprintln!("{name}: chains of up to {} files", left.longest_chain());
        }
    }
    if !finished {
        // A job that is to end must complete a checkpoint, also on a machine that is too busy for one in haste.
        let ended = program
            .set("execution.checkpointing.timeout", "10 min")
            .option("parallelism", 2)
            .run()
            .expect_code(0);
        assert!(!ended.log.contains("FAULT"), "{}", ended.log);
    }
    let found = finished_lines(&folder.path().join("output"));
    assert_exactly(&found, &expected(records), name);
    given_up
}
