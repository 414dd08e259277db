//! The power of the disk is cut at random moments of a job: what was reported as completed is there when the power is back, whether it is in files, compressed, or rides in the
//! metadata.
//!
//! Needs root, loop devices and `xfs_io`; where it lacks one of them it says so and tests nothing. `cargo xtask powercuts` runs many rounds, and insists.

use crate::harness::{
    COMPRESSED, Disk, FILES, FILES_AND_INLINE, HEAP, JobFolder, Program, ROCKSDB, Random, Settings,
    assert_exactly, awk_lines, finished_lines, has_rocksdb, job_folders, latest_completed, lines_of, number,
    write_text,
};
use crate::increments;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Says how often the power is cut on each file system. Whoever sets it wants to hear when it cannot be.
const ROUNDS: &str = "MILLPOND_POWER_CUTS";
/// How long a job takes that is left alone.
const RUN_MS: u64 = 4000;
const TEXT_BYTES: usize = 400_000;
const CHURN_RECORDS: u64 = 32_000;

/// A job with everything that it writes in a folder of the disk, and what it has to write.
struct Job {
    name: &'static str,
    folder: PathBuf,
    /// Takes [`RUN_MS`].
    slow: Program,
    fast: Program,
    expected: Vec<Vec<u8>>,
}

impl Job {
    /// Once a word count, once random updates and deletions.
    fn of_round(round: u64, settings: Settings, disk: &Path, outside: &Path, random: &mut Random) -> Self {
        let folder = disk.join(format!("round-{round}"));
        if round.is_multiple_of(2) {
            let input = outside.join(format!("input-{round}"));
            write_text(&input, 3, TEXT_BYTES, random);
            let fast = Program::word_count(&outside.join("logs"))
                .option("input", input.display())
                .option("output", folder.join("output").display())
                .set_all(settings)
                .durable(&folder, 50);
            Self {
                name: "word count",
                slow: fast.clone().option("rate", lines_of(&input) * 1000 / RUN_MS),
                fast,
                expected: awk_lines(&input),
                folder,
            }
        } else {
            let churn =
                |rate| increments::churn(&folder, &outside.join("logs"), settings, CHURN_RECORDS, rate);
            Self {
                name: "churn",
                slow: churn(CHURN_RECORDS * 1000 / RUN_MS),
                fast: churn(1_000_000),
                expected: increments::expected(CHURN_RECORDS),
                folder,
            }
        }
    }

    fn checkpoints(&self) -> PathBuf {
        self.folder.join("checkpoints")
    }
}

/// Where state can be: the rounds take one after the other, and begin anywhere.
fn places_of_state() -> Vec<(&'static str, Settings)> {
    let mut places = vec![
        ("files", FILES),
        ("compressed files", COMPRESSED),
        ("files and metadata", FILES_AND_INLINE),
        ("metadata", HEAP),
    ];
    if has_rocksdb() {
        places.push(("files of RocksDB", ROCKSDB));
    }
    places
}

/// What happened in some rounds.
#[derive(Debug, Default)]
struct Tally {
    cuts: u64,
    /// Cuts behind a checkpoint.
    behind_a_checkpoint: u64,
    /// Cuts that left files of a checkpoint that was under way.
    left_something: u64,
    bytes_verified: u64,
}

/// Runs the job, cuts the power, and looks at what is there when it is back. Returns whether the job had ended before.
fn cut_and_look(disk: &Disk, job: &Job, parallelism: u64, random: &mut Random, tally: &mut Tally) -> bool {
    let mut running = job.slow.clone().option("parallelism", parallelism).start();
    if running.ends_within(random.milliseconds(300..2500)) {
        running.wait().expect_code(0);
        return true;
    }
    disk.cut();
    // The job may notice, or not.
    let noticed = running.ends_within(random.milliseconds(0..60));
    let log = if noticed {
        running.wait().log
    } else {
        running.kill().log
    };
    assert!(!log.contains("FAULT"), "{log}");
    disk.power_on();
    tally.cuts += 1;

    let reported = latest_completed(&log);
    if reported == 0 {
        return false;
    }
    tally.behind_a_checkpoint += 1;
    let folders = job_folders(&job.checkpoints());
    let [folder] = &folders[..] else {
        panic!(
            "{}: {folders:?} after checkpoint {reported} was reported:\n{log}",
            job.name
        )
    };
    let left = JobFolder::read(folder);
    left.assert_whole(&format!("{}, checkpoint {reported} was reported", job.name));
    let ids: Vec<u64> = left.checkpoints.iter().map(|metadata| metadata.id.0).collect();
    assert!(
        ids.iter().any(|id| *id >= reported),
        "{}: checkpoint {reported} was reported, found {ids:?}:\n{log}",
        job.name
    );
    tally.bytes_verified += left.state_bytes();
    tally.left_something += u64::from(!left.orphans.is_empty());

    // It is restored, and what was under way is swept.
    let mut running = job.slow.clone().option("parallelism", parallelism).start();
    running.wait_for("starts from checkpoint");
    let again = running.ends_within(random.milliseconds(0..300));
    running.wait_for("checkpoint completed");
    for orphan in &left.orphans {
        assert!(
            !orphan.exists(),
            "{}: {} was not swept",
            job.name,
            orphan.display()
        );
    }
    if again {
        running.wait().expect_code(0);
    } else {
        running.kill();
    }
    again
}

/// Else nothing here would be a test.
fn assert_loses_what_was_not_synced(disk: &Disk) {
    let (synced, not_synced) = (disk.path().join("synced"), disk.path().join("not-synced"));
    fs::write(&synced, "durable").unwrap();
    fs::File::open(&synced).unwrap().sync_all().unwrap();
    fs::File::open(disk.path()).unwrap().sync_all().unwrap();
    fs::write(&not_synced, "lost").unwrap();
    disk.cut();
    disk.power_on();
    assert_eq!(fs::read(&synced).unwrap(), b"durable");
    assert!(fs::read(&not_synced).unwrap_or_default().is_empty());
    fs::remove_file(&synced).unwrap();
}

fn cut_the_power(fs: &str) {
    let rounds = number(ROUNDS, 2);
    let disk = match Disk::make(fs) {
        Ok(disk) => disk,
        Err(reason) => {
            assert!(
                std::env::var_os(ROUNDS).is_none(),
                "no power cuts on {fs}: {reason}"
            );
            // Also where the output of tests is captured.
            let _ = writeln!(std::io::stderr(), "NOT TESTED: power cuts on {fs}: {reason}");
            return;
        }
    };
    assert_loses_what_was_not_synced(&disk);
    let outside = tempfile::tempdir().unwrap();
    let mut random = Random::of_test(fs);
    let mut tally = Tally::default();
    let start = Instant::now();
    let places = places_of_state();
    let first = random.index(places.len());
    for round in 0..rounds {
        let (place, settings) = places[(first + usize::try_from(round).unwrap()) % places.len()];
        let job = Job::of_round(round, settings, &disk.path(), outside.path(), &mut random);
        fs::create_dir(&job.folder).unwrap();
        // Else the folder itself would be lost, which is not the job's to prevent.
        fs::File::open(disk.path()).unwrap().sync_all().unwrap();
        let mut ended = false;
        for _ in 0..1 + random.below(2) {
            if !ended {
                let parallelism = 1 + random.below(3);
                ended = cut_and_look(&disk, &job, parallelism, &mut random, &mut tally);
            }
        }
        if !ended {
            job.fast.clone().option("parallelism", 2).run().expect_code(0);
        }
        let what = format!("{} in {place} on {fs}, round {round}", job.name);
        assert_exactly(&finished_lines(&job.folder.join("output")), &job.expected, &what);
        let left = job_folders(&job.checkpoints());
        assert!(left.is_empty(), "{what}: {left:?}");
        fs::remove_dir_all(&job.folder).unwrap();
    }
    eprintln!(
        "{fs}: {rounds} rounds in {:.0} s: {tally:?}",
        start.elapsed().as_secs_f64()
    );
}

#[test]
fn what_was_reported_as_completed_survives_power_cuts_on_ext4() {
    cut_the_power("ext4");
}

#[test]
fn what_was_reported_as_completed_survives_power_cuts_on_xfs() {
    cut_the_power("xfs");
}
