//! Running a command with its output passed on, and its test results counted.

use crate::{Failure, say};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a command did.
#[derive(Debug)]
pub(crate) struct Step {
    /// What it was for.
    pub(crate) title: &'static str,
    /// Whether it ended well.
    pub(crate) succeeded: bool,
    /// How long it took.
    pub(crate) duration: Duration,
    /// The tests that it ran.
    pub(crate) tests: Tests,
    /// Those that failed at first and passed when they were run again.
    pub(crate) unstable: Vec<String>,
}

/// Results of tests, as libtest prints them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tests {
    /// How many passed.
    pub(crate) passed: u64,
    /// How many were ignored.
    pub(crate) ignored: u64,
    /// The names of those that failed.
    pub(crate) failed: Vec<String>,
}

impl Tests {
    /// Takes note of a line of output.
    fn see(&mut self, line: &str) {
        if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|line| line.strip_suffix(" ... FAILED"))
        {
            self.failed.push(name.to_owned());
        } else if let Some(result) = line.strip_prefix("test result: ") {
            let words: Vec<&str> = result.split_whitespace().collect();
            for pair in words.windows(2) {
                if let [count, what] = pair {
                    let count = count.parse().unwrap_or(0);
                    match *what {
                        "passed;" => self.passed += count,
                        "ignored;" => self.ignored += count,
                        _ => {}
                    }
                }
            }
        }
    }
}

/// Runs `command`, whose errors go to this program's.
///
/// # Errors
/// When it cannot be run at all.
pub(crate) fn run(title: &'static str, command: &mut Command) -> Result<Step, Failure> {
    say(format_args!("\n=== {title}"));
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::Machine(format!("cannot run {:?}: {error}", command.get_program())))?;
    let mut tests = Tests::default();
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout);
        let mut line = Vec::new();
        // What a test writes need not be UTF-8.
        while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line);
            say(text.trim_end());
            tests.see(text.trim_end());
            line.clear();
        }
    }
    let status = child
        .wait()
        .map_err(|error| Failure::Failed(format!("{title}: {error}")))?;
    Ok(Step {
        title,
        succeeded: status.success(),
        duration: started.elapsed(),
        tests,
        unstable: Vec::new(),
    })
}

/// More failures than this are no accident.
const UNSTABLE_MAX: usize = 3;

/// Runs `cargo test` as [`run`] does, and if few tests fail, those a second time. Whoever only wants to know whether a change is good need not
/// lose it to a test that depends on the machine's speed; that there is one is said.
///
/// # Errors
/// When it cannot be run at all.
pub(crate) fn run_with_second_try(title: &'static str, command: &mut Command) -> Result<Step, Failure> {
    let mut step = run(title, command)?;
    if step.succeeded || !(1..=UNSTABLE_MAX).contains(&step.tests.failed.len()) {
        return Ok(step);
    }
    let mut again = Command::new(command.get_program());
    again
        .args(command.get_args())
        .arg("--")
        .arg("--exact")
        .args(&step.tests.failed);
    if let Some(folder) = command.get_current_dir() {
        again.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => again.env(name, value),
            None => again.env_remove(name),
        };
    }
    let second = run("what failed, once more", &mut again)?;
    step.duration += second.duration;
    if second.succeeded && second.tests.passed >= step.tests.failed.len() as u64 {
        step.succeeded = true;
        step.tests.passed += second.tests.passed;
        step.unstable = std::mem::take(&mut step.tests.failed);
    }
    Ok(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_all_test_binaries_are_added_up() {
        let mut tests = Tests::default();
        for line in [
            "running 3 tests",
            "test a::b ... ok",
            "test a::c ... FAILED",
            "test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test src/lib.rs - x (line 3) ... FAILED",
            "test result: ok. 40 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        ] {
            tests.see(line);
        }
        assert_eq!(
            tests,
            Tests {
                passed: 41,
                ignored: 3,
                failed: vec!["a::c".to_owned(), "src/lib.rs - x (line 3)".to_owned()],
            }
        );
    }

    #[test]
    fn what_passes_when_it_is_run_again_is_unstable_and_what_fails_again_has_failed() {
        let folder = std::env::temp_dir().join(format!("xtask-step-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let try_it = |script: &str| {
            let _ = std::fs::remove_file(folder.join("mark"));
            let mut command = Command::new("sh");
            command.args(["-c", script, "name"]).current_dir(&folder);
            run_with_second_try("a test of this", &mut command).unwrap()
        };
        let failure = "echo 'test a::b ... FAILED'; exit 101";
        let step = try_it(&format!(
            "if [ -e mark ]; then [ \"$*\" = '-- --exact a::b' ] && echo 'test result: ok. 1 passed; 0 failed;'; else touch mark; {failure}; fi"
        ));
        assert!(step.succeeded);
        assert_eq!(step.unstable, ["a::b"]);
        assert_eq!((step.tests.passed, step.tests.failed.len()), (1, 0));
        assert!(!try_it(failure).succeeded);
        assert!(
            !try_it(&format!(
                "if [ -e mark ]; then exit 0; else touch mark; {failure}; fi"
            ))
            .succeeded,
            "nothing was run"
        );
        assert!(!try_it("exit 101").succeeded);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
