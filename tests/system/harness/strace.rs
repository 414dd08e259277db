//! Faults in system calls, by `strace`.

use std::process::{Command, Stdio};

/// A fault that `strace` injects into a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strace<'a> {
    /// The system calls, by name, separated by commas.
    pub(crate) calls: &'a str,
    /// What happens, such as `error=EIO` or `signal=SIGKILL`.
    pub(crate) fault: &'a str,
    /// At which of the calls, such as `3` or `2+` (the second and all after it).
    pub(crate) when: &'a str,
}

impl Strace<'_> {
    /// Whether it can be used here: installed, and allowed to trace.
    pub(crate) fn is_usable() -> bool {
        let run = Command::new("strace")
            .args(["-f", "-o", "/dev/null", "true"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        run.is_ok_and(|status| status.success())
    }

    /// The beginning of a command line; the program follows.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("strace");
        command
            .args(["-f", "-qq", "-o", "/dev/null", "-e"])
            .arg(format!("trace={}", self.calls))
            .arg("-e")
            .arg(format!("inject={}:{}:when={}", self.calls, self.fault, self.when));
        command
    }
}
