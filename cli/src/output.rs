//! How numbers and moments are shown.

use millpond_engine::checkpoint::metadata::CheckpointMetadata;
use millpond_engine::checkpoint::{FileLocation, SubtaskSnapshot};
use std::collections::HashSet;
use std::fmt;

/// A number of bytes: `512 B`, `5.0 MiB`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut size = self.0 as f64;
        let mut shown = "B";
        for unit in UNITS {
            if size < 1024.0 {
                break;
            }
            size /= 1024.0;
            shown = unit;
        }
        write!(f, "{size:.1} {shown}")
    }
}

/// The bytes of a checkpoint's state, and what lies in storage for them. They differ: state is counted as keys and values, files have
/// what else the backend needs, and may be compressed or hold entries that were changed since.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// The bytes of keys and values.
    pub(crate) state_bytes: u64,
    /// Files, those that lie in the metadata among them. Several subtasks may name one; it counts once.
    pub(crate) files: usize,
    /// Their bytes.
    pub(crate) stored_bytes: u64,
    /// The bytes that were written for this checkpoint.
    new_bytes: u64,
}

impl Sizes {
    /// Those of the checkpoint with `metadata`.
    pub(crate) fn of(metadata: &CheckpointMetadata) -> Self {
        let mut seen = HashSet::new();
        let files = metadata.subtasks().flat_map(SubtaskSnapshot::files);
        let once = files.filter(|file| match &file.location {
            FileLocation::File(path) => seen.insert(path),
            _ => true,
        });
        let (files, stored_bytes) = once.fold((0, 0), |(count, bytes), file| (count + 1, bytes + file.size));
        Self {
            state_bytes: metadata.state_bytes(),
            files,
            stored_bytes,
            new_bytes: metadata.new_bytes(),
        }
    }

    /// What is stored, and how much of it was written for this checkpoint.
    pub(crate) fn stored(&self) -> String {
        let Self {
            files, stored_bytes, ..
        } = self;
        let all = Bytes(*stored_bytes);
        match stored_bytes.checked_sub(self.new_bytes) {
            None | Some(0) => format!("{all} in {files} files, all written for it"),
            Some(earlier) => format!(
                "{all} in {files} files: {} written for it, {} in files of earlier ones",
                Bytes(self.new_bytes),
                Bytes(earlier)
            ),
        }
    }
}

/// A moment in milliseconds since 1970, shown in UTC: `2024-02-29 12:30:00.250 UTC`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(pub(crate) u64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, ms) = (self.0 / 1000, self.0 % 1000);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{ms:03} UTC",
            second / 3600,
            second / 60 % 60,
            second % 60
        )
    }
}

/// Year, month and day of a day counted from 1970-01-01 (Howard Hinnant's `civil_from_days`, for days since then).
fn civil(days: u64) -> (u64, u64, u64) {
    // Eras of 400 years that begin on the 1st of March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_as_the_calendar_has_them() {
        for (ms, shown) in [
            (0, "1970-01-01 00:00:00.000 UTC"),
            (951_782_399_999, "2000-02-28 23:59:59.999 UTC"),
            (951_868_800_000, "2000-03-01 00:00:00.000 UTC"),
            (1_709_209_800_250, "2024-02-29 12:30:00.250 UTC"),
        ] {
            assert_eq!(Moment(ms).to_string(), shown);
        }
    }

    #[test]
    fn sizes_are_shown_in_the_unit_that_fits() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (5 << 20, "5.0 MiB"),
            (1536, "1.5 KiB"),
            (1 << 50, "1024.0 TiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), shown);
        }
    }
}
