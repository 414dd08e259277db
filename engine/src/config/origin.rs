//! Where a setting came from.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where the value of an option came from, from weak to strong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody set it: the option's built-in default.
    Default,
    /// A configuration file.
    File {
        /// The file, as it was found below the folder that was given.
        path: Arc<Path>,
        /// The line of the key, counted from 1.
        line: usize,
    },
    /// An argument of the command line: `-D`, `--from-savepoint` and the like.
    Argument(&'static str),
    /// A call of the program.
    Program,
}

impl Origin {
    /// A stronger origin has a larger rank; its value wins.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File { .. } => 1,
            Self::Argument(_) => 2,
            Self::Program => 3,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Argument(name) => f.write_str(name),
            Self::Program => f.write_str("set by the program"),
        }
    }
}
