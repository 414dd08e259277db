//! All file names of the sink.

use crate::{Error, ErrorKind, Result};

/// What the name of an unfinished file has behind that of the finished one.
const IN_PROGRESS: &str = ".inprogress.";

/// How much of a job's id goes into names: enough to tell the runs apart that ever wrote into one folder.
const RUN_CHARS: usize = 8;

/// Who writes a file: a run of the job, which keeps its id when it is killed and resumes, and one of its attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Writing {
    run: String,
    attempt: u64,
}

impl Writing {
    pub(super) fn new(job_id: &str, attempt: u64) -> Self {
        let run = job_id.chars().filter(char::is_ascii_alphanumeric).take(RUN_CHARS);
        Self {
            run: run.collect(),
            attempt,
        }
    }

    /// Whether nobody writes files of `other` any more when `self` has begun. Those of a higher attempt are written: then it is `self` that is out of
    /// date.
    pub(super) fn comes_after(&self, other: &Self) -> bool {
        self.run != other.run || self.attempt > other.attempt
    }
}

/// Makes and reads names that begin with one prefix: `part-0-7` and `.part-0-7.inprogress.4f5a90c1-3` (subtask 0, sequence 7, run 4f5a90c1,
/// attempt 3).
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

    pub(super) fn in_progress(&self, subtask: u32, sequence: u64, writing: &Writing) -> String {
        let Writing { run, attempt } = writing;
        format!(
            ".{}{IN_PROGRESS}{run}-{attempt}",
            self.finished(subtask, sequence)
        )
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

    /// Subtask and writer of an unfinished file; `None` for any other name.
    pub(super) fn parse_in_progress(&self, name: &str) -> Option<(u32, Writing)> {
        let (finished, writing) = name.strip_prefix('.')?.rsplit_once(IN_PROGRESS)?;
        let (subtask, _) = self.parse_finished(finished)?;
        let (run, attempt) = writing.rsplit_once('-')?;
        let attempt = number(attempt)?;
        Some((
            subtask,
            Writing {
                run: run.to_owned(),
                attempt,
            },
        ))
    }

    pub(super) fn is_in_progress(&self, name: &str) -> bool {
        self.parse_in_progress(name).is_some()
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
        let writing = Writing::new("0123456789abcdef", 7);
        assert_eq!(
            names.in_progress(3, 12, &writing),
            ".part-3-12.inprogress.01234567-7"
        );
        assert_eq!(names.parse_finished("part-3-12"), Some((3, 12)));
        assert_eq!(
            names.parse_in_progress(".part-3-12.inprogress.01234567-7"),
            Some((3, writing))
        );
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
            "part-3-12.inprogress.a-7",
            ".part-3-12.inprogress.",
            ".part-3-12.inprogress.a-",
            ".other-3-12.inprogress.a-7",
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
