//! All file names of the sink.

use crate::{Error, ErrorKind, Result};

/// What the name of an unfinished file has behind that of the finished one.
const IN_PROGRESS: &str = ".inprogress.";

/// Makes and reads names that begin with one prefix: `part-0-7` and `.part-0-7.inprogress.3` (subtask 0, sequence 7, attempt 3).
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
        }
    }

    /// A prefix must not make finished files look unfinished, or lie in another folder.
    pub(super) fn check(&self) -> Result<()> {
        if self.prefix.is_empty() || self.prefix.starts_with(['.', '_']) || self.prefix.contains(['/', '\0'])
        {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!(
                    "'{}' cannot begin the names of output files: expected at least one character, not '.' or '_' as \
                     the first one, and no '/'",
                    self.prefix
                ),
            ));
        }
        Ok(())
    }

    pub(super) fn finished(&self, subtask: u32, sequence: u64) -> String {
        format!("{}-{subtask}-{sequence}", self.prefix)
    }

    pub(super) fn in_progress(&self, subtask: u32, sequence: u64, attempt: u64) -> String {
        format!(".{}{IN_PROGRESS}{attempt}", self.finished(subtask, sequence))
    }

    /// Subtask and sequence of a finished file; `None` for any other name.
    pub(super) fn parse_finished(&self, name: &str) -> Option<(u32, u64)> {
        let (subtask, sequence) = name
            .strip_prefix(&self.prefix)?
            .strip_prefix('-')?
            .split_once('-')?;
        Some((number(subtask)?, number(sequence)?))
    }

    pub(super) fn is_finished(&self, name: &str) -> bool {
        self.parse_finished(name).is_some()
    }

    /// Subtask and attempt of an unfinished file; `None` for any other name.
    pub(super) fn parse_in_progress(&self, name: &str) -> Option<(u32, u64)> {
        let (finished, attempt) = name.strip_prefix('.')?.rsplit_once(IN_PROGRESS)?;
        let (subtask, _) = self.parse_finished(finished)?;
        Some((subtask, number(attempt)?))
    }

    pub(super) fn attempt_of(&self, name: &str) -> Option<u64> {
        self.parse_in_progress(name).map(|(_, attempt)| attempt)
    }
}

/// A number as we write it: digits only.
fn number<N: std::str::FromStr>(digits: &str) -> Option<N> {
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_are_not_taken_for_ours() {
        let names = Names::new("part");
        assert_eq!(names.finished(3, 12), "part-3-12");
        assert_eq!(names.in_progress(3, 12, 7), ".part-3-12.inprogress.7");
        assert_eq!(names.parse_finished("part-3-12"), Some((3, 12)));
        assert_eq!(names.parse_in_progress(".part-3-12.inprogress.7"), Some((3, 7)));
        for other in [
            "part",
            "part-3",
            "part-3-",
            "part--3",
            "part-+3-1",
            "part-3-1-2",
            "apart-3-1",
            ".part-3-1",
        ] {
            assert_eq!(names.parse_finished(other), None, "{other}");
        }
        for other in [
            "part-3-12",
            "part-3-12.inprogress.7",
            ".part-3-12.inprogress.",
            ".other-3-12.inprogress.7",
        ] {
            assert_eq!(names.parse_in_progress(other), None, "{other}");
        }
        // A prefix that looks like the beginning of another one's names.
        assert_eq!(Names::new("part-3").parse_finished("part-3-12"), None);
        assert_eq!(names.parse_finished(&Names::new("part-3").finished(1, 2)), None);
    }

    #[test]
    fn prefixes_that_hide_files_or_leave_the_folder_are_refused() {
        for prefix in ["", ".x", "_x", "a/b", "../x"] {
            let error = Names::new(prefix).check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{prefix}");
        }
        Names::new("a.b_c").check().unwrap();
    }
}
