//! From the value of a configuration key to a folder.

use super::RemoteLocation;
use crate::{Error, ErrorKind, Result};
use std::fmt;
use std::path::{Path, PathBuf};

/// Where the checkpoints of a job are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointLocation {
    /// In a folder of this machine or one mounted on it, an absolute path.
    Folder(PathBuf),
    /// In remote storage.
    Remote(RemoteLocation),
}

impl CheckpointLocation {
    /// The place that `value` names: an address of remote storage, or as [`parse_location`].
    ///
    /// # Errors
    /// As [`parse_location`] and [`RemoteLocation::parse`].
    pub fn parse(key: &str, value: &str) -> Result<Self> {
        match RemoteLocation::parse(key, value)? {
            Some(remote) => Ok(Self::Remote(remote)),
            None => parse_location(key, value).map(Self::Folder),
        }
    }
}

impl fmt::Display for CheckpointLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Remote(remote) => remote.fmt(f),
        }
    }
}

/// The folder or file that `value` names: a bare path, or a `file://` address. Relative paths start at the current folder; the result is absolute.
/// `key` says where the value comes from, for the error.
///
/// # Errors
/// [`ErrorKind::Configuration`] when the value is empty, has another scheme, or names another host.
pub fn parse_location(key: &str, value: &str) -> Result<PathBuf> {
    let refuse = |expected: &str| {
        Err(Error::new(
            ErrorKind::Configuration,
            format!("{key}: '{value}' is not a place for files: expected {expected}"),
        ))
    };
    let path = match value.split_once(':') {
        Some(("file", rest)) => match rest.strip_prefix("//") {
            // file:///path; an empty host means this one.
            Some(path) if path.starts_with('/') => Path::new(path),
            Some(path) if path.starts_with("localhost/") => {
                Path::new(path.strip_prefix("localhost").unwrap_or(path))
            }
            Some(_) => return refuse("no host name, as in 'file:///path'"),
            None if rest.starts_with('/') => Path::new(rest),
            None => return refuse("'file:///path'"),
        },
        Some((scheme, rest)) if rest.starts_with("//") => {
            return refuse(&format!(
                "a path or 'file:///path'; the scheme '{scheme}' is not supported"
            ));
        }
        _ => Path::new(value),
    };
    if path.as_os_str().is_empty() {
        return refuse("a path or 'file:///path'");
    }
    std::path::absolute(path).map_err(|error| {
        Error::new(
            ErrorKind::Configuration,
            format!("{key}: '{value}' cannot be made an absolute path"),
        )
        .with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        let here = std::env::current_dir().unwrap();
        for (value, path) in [
            ("/a/b", Some(PathBuf::from("/a/b"))),
            ("file:///a/b", Some(PathBuf::from("/a/b"))),
            ("file:/a/b", Some(PathBuf::from("/a/b"))),
            ("file://localhost/a", Some(PathBuf::from("/a"))),
            ("a", Some(here.join("a"))),
            ("./a:b", Some(here.join("a:b"))),
            ("file://host/a", None),
            ("s3://bucket/a", None),
            ("file:a", None),
            ("", None),
        ] {
            let found = parse_location("execution.checkpointing.dir", value);
            match (&path, &found) {
                (Some(path), Ok(found)) => assert_eq!(path, found, "{value}"),
                (None, Err(error)) => {
                    assert_eq!(error.kind(), ErrorKind::Configuration);
                    assert!(
                        error.to_string().starts_with("execution.checkpointing.dir: '"),
                        "{error}"
                    );
                }
                _ => panic!("{value}: {found:?}"),
            }
        }
    }
}
