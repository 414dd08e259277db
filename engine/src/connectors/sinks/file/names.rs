//! All file names of the sink.

use crate::checkpoint::{CheckpointId, CheckpointKey, LineageId};
use crate::{Error, ErrorKind, Result};

/// What the name of an unfinished file has behind that of the finished one.
const IN_PROGRESS: &str = ".inprogress.";

/// What the name of a finished file has behind it while a line of checkpoints goes on that has left the file's.
const LEFT: &str = ".left";

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
        self.run != other.run || self.is_later_attempt_than(other)
    }

    /// The same for files of the same run: of another one it is not known which came first.
    pub(super) fn is_later_attempt_than(&self, other: &Self) -> bool {
        self.run == other.run && self.attempt > other.attempt
    }
}

/// What the name of a finished file tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Finished {
    pub(super) subtask: u32,
    pub(super) sequence: u64,
    /// The checkpoint that it was written for.
    pub(super) checkpoint: CheckpointKey,
}

/// Makes and reads names that begin with one prefix: `part-0-7-<lineage>-12`, also as `.part-0-7-<lineage>-12.left` (subtask 0, sequence 7, for checkpoint 12 of the
/// lineage), and `.part-0-7.inprogress.4f5a90c1-3` (run 4f5a90c1, attempt 3).
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

    pub(super) fn finished(&self, file: &Finished) -> String {
        format!("{}-{}", self.stem(file.subtask, file.sequence), file.checkpoint)
    }

    fn stem(&self, subtask: u32, sequence: u64) -> String {
        format!("{}-{subtask}-{sequence}", self.prefix)
    }

    pub(super) fn in_progress(&self, subtask: u32, sequence: u64, writing: &Writing) -> String {
        let Writing { run, attempt } = writing;
        format!(".{}{IN_PROGRESS}{run}-{attempt}", self.stem(subtask, sequence))
    }

    /// What a finished file's name tells; `None` for any other name.
    pub(super) fn parse_finished(&self, name: &str) -> Option<Finished> {
        let mut parts = name.strip_prefix(&self.prefix)?.strip_prefix('-')?.splitn(4, '-');
        let (subtask, sequence) = (number(parts.next()?)?, number(parts.next()?)?);
        let lineage = LineageId::parse(parts.next()?).ok()?;
        let id = CheckpointId(number(parts.next()?)?);
        Some(Finished {
            subtask,
            sequence,
            checkpoint: CheckpointKey { lineage, id },
        })
    }

    /// The name of a finished file while a line of checkpoints goes on that has left the file's; hidden from readers.
    pub(super) fn left(finished: &str) -> String {
        format!(".{finished}{LEFT}")
    }

    /// The name of the finished file that has this one meanwhile, and what it tells; `None` for any other name.
    pub(super) fn parse_left<'a>(&self, name: &'a str) -> Option<(&'a str, Finished)> {
        let finished = name.strip_prefix('.')?.strip_suffix(LEFT)?;
        Some((finished, self.parse_finished(finished)?))
    }

    pub(super) fn is_finished(&self, name: &str) -> bool {
        self.parse_finished(name).is_some()
    }

    /// Subtask and writer of an unfinished file; `None` for any other name.
    pub(super) fn parse_in_progress(&self, name: &str) -> Option<(u32, Writing)> {
        let (stem, writing) = name.strip_prefix('.')?.rsplit_once(IN_PROGRESS)?;
        let (subtask, sequence) = stem
            .strip_prefix(&self.prefix)?
            .strip_prefix('-')?
            .split_once('-')?;
        let subtask = number(subtask)?;
        number::<u64>(sequence)?;
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
        let lineage = LineageId::parse("00112233445566ff").unwrap();
        let checkpoint = CheckpointKey {
            lineage,
            id: CheckpointId(9),
        };
        let file = Finished {
            subtask: 3,
            sequence: 12,
            checkpoint,
        };
        let finished = "part-3-12-00112233445566ff-9";
        assert_eq!(names.finished(&file), finished);
        let left = ".part-3-12-00112233445566ff-9.left";
        assert_eq!(Names::left(finished), left);
        assert_eq!(names.parse_left(left), Some((finished, file)));
        assert_eq!(
            (names.parse_left(finished), names.parse_finished(left)),
            (None, None)
        );
        let writing = Writing::new("0123456789abcdef", 7);
        assert_eq!(
            names.in_progress(3, 12, &writing),
            ".part-3-12.inprogress.01234567-7"
        );
        assert_eq!(names.parse_finished(finished), Some(file));
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
            "part-3-12",
            "part-3-12-00112233445566ff",
            "part-3-12-00112233445566FF-9",
            "part-3-12-00112233445566ff-",
            "part-3-12-00112233445566ff-9-1",
            "apart-3-12-00112233445566ff-9",
        ] {
            assert_eq!(names.parse_finished(other), None, "{other}");
        }
        for other in [
            "part-3-12",
            "part-3-12.inprogress.a-7",
            ".part-3-12-00112233445566ff-9.inprogress.a-7",
            ".part-3-12.inprogress.",
            ".part-3-12.inprogress.a-",
            ".other-3-12.inprogress.a-7",
        ] {
            assert_eq!(names.parse_in_progress(other), None, "{other}");
        }
        // A prefix that looks like the beginning of another one's names.
        assert_eq!(Names::new("part-3").parse_finished(finished), None);
        assert_eq!(names.parse_finished(&Names::new("part-3").finished(&file)), None);
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
