//! Programs under test: started, watched, killed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Longer than any program of these tests takes; one that is not done by then hangs.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a program is looked at that is waited for.
const LOOK: Duration = Duration::from_millis(2);

/// A command line that is started as often as one likes, each time the same.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    path: PathBuf,
    args: Vec<String>,
    /// Where the output of each start goes.
    logs: PathBuf,
}

impl Program {
    /// The example `word_count`, with its output in `logs`.
    pub(crate) fn word_count(logs: &Path) -> Self {
        Self::new(env!("CARGO_BIN_EXE_word_count"), logs)
    }

    /// The jobs that these tests bring along.
    pub(crate) fn subject(logs: &Path, job: &str) -> Self {
        Self::new(env!("CARGO_BIN_EXE_subject"), logs).arg(job)
    }

    fn new(path: &str, logs: &Path) -> Self {
        Self {
            path: path.into(),
            args: Vec::new(),
            logs: logs.to_owned(),
        }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_str().unwrap().to_owned());
        self
    }

    /// `--name value`.
    pub(crate) fn option(self, name: &str, value: impl ToString) -> Self {
        self.arg(format!("--{name}")).arg(value.to_string())
    }

    /// `-D key=value`.
    pub(crate) fn set(self, key: &str, value: impl ToString) -> Self {
        self.arg("-D").arg(format!("{key}={}", value.to_string()))
    }

    /// `-D key=value` for each pair.
    pub(crate) fn set_all(self, settings: &[(&str, &str)]) -> Self {
        settings
            .iter()
            .fold(self, |program, (key, value)| program.set(key, value))
    }

    /// Checkpoints every `interval_ms` into files below `folder`, and what a killed program needs to go on.
    pub(crate) fn durable(self, folder: &Path, interval_ms: u64) -> Self {
        self.set("execution.checkpointing.interval", format!("{interval_ms} ms"))
            .set(
                "execution.checkpointing.dir",
                format!("file://{}", folder.join("checkpoints").display()),
            )
            .set("high-availability.type", "filesystem")
            .set(
                "high-availability.storageDir",
                format!("file://{}", folder.join("ha").display()),
            )
    }

    pub(crate) fn start(&self) -> Running {
        self.start_by(Command::new(&self.path))
    }

    /// Starts it by another program, whose command line `by` is.
    pub(crate) fn start_by(&self, mut by: Command) -> Running {
        if by.get_program() != self.path.as_os_str() {
            by.arg(&self.path);
        }
        fs::create_dir_all(&self.logs).unwrap();
        let count = fs::read_dir(&self.logs).unwrap().count();
        let log = self.logs.join(format!("start-{count:03}"));
        let file = File::create(&log).unwrap();
        let child = by
            .args(&self.args)
            .env_remove("MILLPOND_CONF_DIR")
            .env("MILLPOND_LOG", "warn,millpond=info")
            .stdin(Stdio::piped())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{by:?}: {error}"));
        Running {
            child,
            log,
            ended: None,
        }
    }

    /// Runs it to its end.
    pub(crate) fn run(&self) -> Ended {
        self.start().wait()
    }
}

/// A program that was started. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
}

impl Running {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// Whether it ends by itself within `time`.
    pub(crate) fn ends_within(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            self.ended = self.ended.or_else(|| self.child.try_wait().unwrap());
            if self.ended.is_some() || Instant::now() >= deadline {
                return self.ended.is_some();
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until its output contains `text`.
    pub(crate) fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            let ended = self.ends_within(LOOK);
            assert!(
                self.log().contains(text) || (!ended && Instant::now() < deadline),
                "waited for '{text}':\n{}",
                self.log()
            );
        }
    }

    /// `kill -9`, and the end of it.
    pub(crate) fn kill(self) -> Ended {
        self.kill_group();
        self.wait()
    }

    /// `kill -9`, if it has not ended by itself; returns when it is gone.
    pub(crate) fn kill_now(&mut self) {
        if self.ended.is_none() {
            self.kill_group();
            self.ended = Some(self.child.wait().unwrap());
        }
    }

    /// The program may have been started by another one, which the kill must not leave without its child. It may have ended in this
    /// moment, which is as good.
    fn kill_group(&self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill")
            .args(["-9", "--", &group])
            .stderr(Stdio::null())
            .status();
    }

    /// Sends it, and those that it has started, a signal such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let group = format!("-{}", self.child.id());
        let sent = Command::new("kill").args(["-s", name, "--", &group]).status();
        assert!(sent.unwrap().success());
    }

    /// Closes its standard input.
    pub(crate) fn close_input(&mut self) {
        drop(self.child.stdin.take());
    }

    pub(crate) fn wait(mut self) -> Ended {
        assert!(self.ends_within(PATIENCE), "the program hangs:\n{}", self.log());
        Ended {
            status: self.ended.unwrap(),
            log: self.log(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_now();
    }
}

impl Ended {
    pub(crate) fn was_killed(&self) -> bool {
        self.status.signal() == Some(9)
    }

    /// Panics with all output unless it ended with `code`.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{}:\n{}", self.status, self.log);
        self
    }

    /// Panics with all output unless it contains each of `parts`.
    #[track_caller]
    pub(crate) fn expect_output(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(
                self.log.contains(part),
                "'{part}' is not in the output:\n{}",
                self.log
            );
        }
        self
    }
}
