//! Durations by Flink's rules (`TimeUtils.parseDuration`): a whole number and a unit, milliseconds if there is no unit.

use std::borrow::Cow;
use std::time::Duration;

use super::value::{ConfigValue, RawValue};

/// Longer durations are taken as this one: 100 years is "never", and sums of times stay far from an overflow.
const LONGEST: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

/// Nanoseconds in each unit, and its names in lower case.
const UNITS: &[(u64, &[&str])] = &[
    (86_400_000_000_000, &["d", "day", "days"]),
    (3_600_000_000_000, &["h", "hour", "hours"]),
    (60_000_000_000, &["min", "m", "minute", "minutes"]),
    (1_000_000_000, &["s", "sec", "secs", "second", "seconds"]),
    (
        1_000_000,
        &["ms", "milli", "millis", "millisecond", "milliseconds"],
    ),
    // Both the micro sign (U+00B5) and the Greek letter (U+03BC) are typed in practice.
    (
        1_000,
        &["µs", "μs", "micro", "micros", "microsecond", "microseconds"],
    ),
    (1, &["ns", "nano", "nanos", "nanosecond", "nanoseconds"]),
];

const EXPECTED: &str = "a duration such as `10 s`: a whole number and one of the units d, h, min, s, ms, µs, ns (ms if there is none)";

impl ConfigValue for Duration {
    fn type_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn parse(raw: &RawValue) -> Result<Self, String> {
        let text = raw.as_text()?;
        let (number, unit) = split_number(text);
        let number: u64 = number.parse().map_err(|_| EXPECTED.to_owned())?;
        let unit = if unit.is_empty() { "ms" } else { unit }.to_lowercase();
        let (nanos, _) = UNITS
            .iter()
            .find(|(_, names)| names.contains(&unit.as_str()))
            .ok_or_else(|| EXPECTED.to_owned())?;
        let total = u128::from(number) * u128::from(*nanos);
        // What does not fit 64 bits of nanoseconds is 584 years or more.
        Ok(u64::try_from(total)
            .map_or(LONGEST, Duration::from_nanos)
            .min(LONGEST))
    }

    fn to_raw(&self) -> RawValue {
        let nanos = self.as_nanos();
        // Written in the largest unit that leaves a whole number.
        let (unit_nanos, name) = UNITS
            .iter()
            .filter(|(unit, _)| nanos > 0 && nanos.is_multiple_of(u128::from(*unit)))
            .find_map(|(unit, names)| Some((*unit, *names.first()?)))
            .unwrap_or((1_000_000, "ms"));
        format!("{} {name}", nanos / u128::from(unit_nanos)).into()
    }
}

/// The leading ASCII digits of `text`, and what follows them without white space around it.
pub(super) fn split_number(text: &str) -> (&str, &str) {
    let end = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_follow_the_units_of_flink() {
        let cases: &[(&str, u64)] = &[
            ("0", 0),
            ("250", 250_000_000),
            ("10ms", 10_000_000),
            ("10 ms", 10_000_000),
            ("  7 MILLIS ", 7_000_000),
            ("3 millisecond", 3_000_000),
            ("1s", 1_000_000_000),
            ("2 sec", 2_000_000_000),
            ("2 secs", 2_000_000_000),
            ("1 second", 1_000_000_000),
            ("30 seconds", 30_000_000_000),
            ("1 m", 60_000_000_000),
            ("10 min", 600_000_000_000),
            ("1 minute", 60_000_000_000),
            ("2h", 7_200_000_000_000),
            ("2 hours", 7_200_000_000_000),
            ("1d", 86_400_000_000_000),
            ("30 days", 2_592_000_000_000_000),
            ("5 µs", 5_000),
            ("5 μs", 5_000),
            ("5 micros", 5_000),
            ("9 ns", 9),
            ("9 nanoseconds", 9),
        ];
        for (text, nanos) in cases {
            assert_eq!(
                Duration::parse(&(*text).into()),
                Ok(Duration::from_nanos(*nanos)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_the_units() {
        for text in [
            "",
            "s",
            "-1 s",
            "1.5 s",
            "1 h 30 min",
            "1h30m",
            "1 fortnight",
            "ten s",
            "PT10S",
            "1 ss",
            "99999999999999999999 s",
        ] {
            assert_eq!(
                Duration::parse(&text.into()),
                Err(EXPECTED.to_owned()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_duration_that_means_never_is_cut_at_a_hundred_years() {
        for text in ["9223372036854775807", "36500 d", "18446744073709551615 d"] {
            assert_eq!(Duration::parse(&text.into()), Ok(LONGEST), "{text}");
        }
    }

    #[test]
    fn a_duration_is_written_in_its_largest_whole_unit() {
        for (duration, text) in [
            (Duration::ZERO, "0 ms"),
            (Duration::from_millis(200), "200 ms"),
            (Duration::from_millis(90_000), "90 s"),
            (Duration::from_secs(600), "10 min"),
            (Duration::from_nanos(1_500), "1500 ns"),
        ] {
            assert_eq!(duration.to_raw().to_string(), text);
            assert_eq!(Duration::parse(&duration.to_raw()), Ok(duration));
        }
    }
}
