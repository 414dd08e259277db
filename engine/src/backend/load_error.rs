//! Why a configured name did not lead to a factory.

use super::library::{Refusal, RefusalKind};
use crate::{Error, ErrorKind};
use std::fmt;
use std::path::PathBuf;

/// Why a name leads to no factory. Each variant has the configured value and calls for something else to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// No factory has this name. Correct the name, or add the library.
    UnknownName(Box<UnknownName>),
    /// The value is a file's name or path, and there is no such file.
    NoSuchFile {
        /// The configured value.
        value: String,
        /// Where it was looked for.
        looked_at: Vec<PathBuf>,
    },
    /// The library that the value leads to is no library of state backends, or cannot be loaded.
    NotLoadable {
        /// The configured value.
        value: String,
        /// The library and why.
        refusal: Refusal,
    },
    /// The library that the value leads to was built for another version of the boundary.
    WrongAbi {
        /// The configured value.
        value: String,
        /// The library, with the versions that were expected and found.
        refusal: Refusal,
    },
    /// The value leads to more than one factory.
    Ambiguous {
        /// The configured value.
        value: String,
        /// The factories, in words.
        candidates: Vec<String>,
        /// How to name only one of them.
        advice: &'static str,
    },
}

/// A name that no factory has, with what could have been meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    /// The configured value.
    pub value: String,
    /// A known name that is close to it.
    pub nearest: Option<String>,
    /// What to do where Millpond knows the name but this build has no backend for it.
    pub advice: Option<String>,
    /// Every known factory with its names, in words.
    pub known: Vec<String>,
    /// Every folder that was searched, and what was in it, in words.
    pub searched: Vec<String>,
    /// The libraries in them that could not be used.
    pub refused: Vec<Refusal>,
}

impl LoadError {
    pub(super) fn refused(value: &str, refusal: Refusal) -> Self {
        let value = value.to_owned();
        match refusal.kind {
            RefusalKind::NotLoadable => Self::NotLoadable { value, refusal },
            RefusalKind::WrongAbi => Self::WrongAbi { value, refusal },
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownName(unknown) => unknown.fmt(f),
            Self::NoSuchFile { value, looked_at } => {
                write!(f, "there is no state backend library '{value}'; looked at ")?;
                for (index, path) in looked_at.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{}", path.display())?;
                }
                Ok(())
            }
            Self::NotLoadable { value, refusal } => {
                write!(
                    f,
                    "the state backend library of '{value}' cannot be loaded: {refusal}"
                )
            }
            Self::WrongAbi { value, refusal } => {
                write!(
                    f,
                    "the state backend library of '{value}' is of another version: {refusal}"
                )
            }
            Self::Ambiguous {
                value,
                candidates,
                advice,
            } => {
                write!(
                    f,
                    "'{value}' could be any of {} state backends; {advice}",
                    candidates.len()
                )?;
                for candidate in candidates {
                    write!(f, "\n  found: {candidate}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is not the name of a state backend that this program has",
            self.value
        )?;
        if let Some(nearest) = &self.nearest {
            write!(f, "; did you mean '{nearest}'?")?;
        }
        if let Some(advice) = &self.advice {
            write!(f, "; {advice}")?;
        }
        for factory in &self.known {
            write!(f, "\n  known: {factory}")?;
        }
        for folder in &self.searched {
            write!(f, "\n  searched: {folder}")?;
        }
        for refusal in &self.refused {
            write!(f, "\n  refused: {refusal}")?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadError {}

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Self {
        Self::new(ErrorKind::Plugin, error.to_string())
    }
}
