//! `cargo xtask powercuts`: jobs on a disk whose power is cut.

use crate::{Failure, cargo, machine, say, step};

/// A file system that such a disk can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FileSystem {
    /// The usual one of Debian and Ubuntu.
    Ext4,
    /// The usual one of Red Hat's.
    Xfs,
}

impl FileSystem {
    /// As the names of the tests end.
    fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }
}

/// Runs `rounds` rounds on `file_system`, or on each. The rounds themselves are tests of the whole system, which run a few of them each time.
///
/// # Errors
/// When something is missing that cannot be installed, or a checkpoint that was reported did not survive.
pub(crate) fn run(rounds: u64, file_system: Option<FileSystem>) -> Result<(), Failure> {
    for text in machine::prepare()? {
        say(text);
    }
    let tests = format!(
        "survives_power_cuts_on_{}",
        file_system.map_or("", FileSystem::name)
    );
    let step = step::run(
        "power cuts",
        cargo()
            .args(["test", "--package", "millpond-tests", "--test", "system", "--"])
            .args([&tests, "--nocapture"])
            .env("MILLPOND_POWER_CUTS", rounds.to_string()),
    )?;
    if step.succeeded && step.tests.passed > 0 {
        say(format_args!(
            "all checkpoints survived, in {:.0} s",
            step.duration.as_secs_f64()
        ));
        return Ok(());
    }
    Err(Failure::Failed("power cuts: see above".to_owned()))
}
