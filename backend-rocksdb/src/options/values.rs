//! Values of the configuration, by Flink's rules. A backend sees them as text, also where the engine has read them before: a library
//! may be used by an engine that does not know the key.

use millpond_backend_api::{BackendConfig, BackendError, BackendErrorKind, BackendResult};
use std::time::Duration;

/// A value, or what was expected instead.
pub(super) type Parsed<T> = Result<T, String>;

/// The value of the first of `keys` that is set: the newest name comes first.
///
/// # Errors
/// [`BackendErrorKind::Configuration`], with key, value and what was expected.
pub(super) fn find<T>(
    config: &BackendConfig,
    keys: &[&str],
    parse: impl FnOnce(&str) -> Parsed<T>,
) -> BackendResult<Option<T>> {
    let set = keys
        .iter()
        .find_map(|key| config.get(key).map(|value| (*key, value.trim())));
    let Some((key, value)) = set else { return Ok(None) };
    parse(value)
        .map(Some)
        .map_err(|expected| invalid(key, value, &expected))
}

/// The error of a value that is not what was expected.
#[cold]
pub(super) fn invalid(key: &str, value: &str, expected: &str) -> BackendError {
    BackendError::new(
        BackendErrorKind::Configuration,
        format!("{key}: '{value}' is not valid, expected {expected}"),
    )
}

pub(super) fn flag(text: &str) -> Parsed<bool> {
    if text.eq_ignore_ascii_case("true") {
        Ok(true)
    } else if text.eq_ignore_ascii_case("false") {
        Ok(false)
    } else {
        Err("`true` or `false`".to_owned())
    }
}

const KIB: u64 = 1024;

/// Bytes in each unit of a size.
const SIZES: [(u64, &[&str]); 5] = [
    (1, &["", "b", "bytes"]),
    (KIB, &["k", "kb", "kibibytes"]),
    (KIB * KIB, &["m", "mb", "mebibytes"]),
    (KIB * KIB * KIB, &["g", "gb", "gibibytes"]),
    (KIB * KIB * KIB * KIB, &["t", "tb", "tebibytes"]),
];

/// A size in bytes: a whole number and a unit that is a power of 1024, bytes if there is none.
pub(super) fn size(text: &str) -> Parsed<u64> {
    quantity(text, &SIZES)
        .and_then(|(number, unit)| number.checked_mul(unit))
        .ok_or_else(|| {
            "a size such as `64 mb`: a whole number and one of the units b, kb, mb, gb, tb (bytes if there is none)".to_owned()
        })
}

/// A size of at least one byte.
pub(super) fn positive_size(text: &str) -> Parsed<u64> {
    match size(text)? {
        0 => Err("a size of more than 0".to_owned()),
        bytes => Ok(bytes),
    }
}

/// Nanoseconds in each unit of a duration; milliseconds if there is none.
const DURATIONS: [(u64, &[&str]); 7] = [
    (86_400_000_000_000, &["d", "day", "days"]),
    (3_600_000_000_000, &["h", "hour", "hours"]),
    (60_000_000_000, &["min", "m", "minute", "minutes"]),
    (1_000_000_000, &["s", "sec", "secs", "second", "seconds"]),
    (
        1_000_000,
        &["", "ms", "milli", "millis", "millisecond", "milliseconds"],
    ),
    // Both the micro sign (U+00B5) and the Greek letter (U+03BC) are typed in practice.
    (
        1_000,
        &["µs", "μs", "micro", "micros", "microsecond", "microseconds"],
    ),
    (1, &["ns", "nano", "nanos", "nanosecond", "nanoseconds"]),
];

/// A duration: a whole number and a unit. What does not fit 64 bits of nanoseconds is the longest there is, 584 years.
pub(super) fn duration(text: &str) -> Parsed<Duration> {
    quantity(text, &DURATIONS)
        .map(|(number, unit)| Duration::from_nanos(number.saturating_mul(unit)))
        .ok_or_else(|| {
            "a duration such as `10 s`: a whole number and one of the units d, h, min, s, ms, µs, ns (ms if there is none)"
                .to_owned()
        })
}

/// The number of `text`, and the worth of its unit.
fn quantity(text: &str, units: &[(u64, &[&str])]) -> Option<(u64, u64)> {
    let end = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim().to_lowercase();
    let (worth, _) = units.iter().find(|(_, names)| names.contains(&unit.as_str()))?;
    Some((number.parse().ok()?, *worth))
}

/// A whole number from 1 to what RocksDB takes.
pub(super) fn count(text: &str) -> Parsed<i32> {
    match text.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err(format!("a whole number from 1 to {}", i32::MAX)),
    }
}

/// A whole number from 0.
pub(super) fn number(text: &str) -> Parsed<u64> {
    text.parse()
        .map_err(|_| format!("a whole number from 0 to {}", u64::MAX))
}

/// A share from 0 to 1.
pub(super) fn share(text: &str) -> Parsed<f64> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share from 0 to 1".to_owned()),
    }
}

/// A finite number of more than 0.
pub(super) fn positive(text: &str) -> Parsed<f64> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("a number of more than 0".to_owned()),
    }
}

/// The items of a list in one line, with `;`, `,` or `|` between them, with or without `[` and `]` around it.
pub(super) fn items(text: &str) -> Vec<&str> {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    inner
        .split([';', ',', '|'])
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .collect()
}

/// What `text` is the name of, in any case and with either dash.
///
/// # Errors
/// The list of names, and the one that was likely meant.
pub(super) fn named<T: Copy>(text: &str, names: &[(&str, T)]) -> Parsed<T> {
    let plain = |name: &str| name.to_ascii_uppercase().replace('-', "_");
    let text = plain(text);
    if let Some((_, found)) = names.iter().find(|(name, _)| plain(name) == text) {
        return Ok(*found);
    }
    let list = names
        .iter()
        .map(|(name, _)| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    let nearest = names
        .iter()
        .map(|(name, _)| (strsim::osa_distance(&plain(name), &text), *name))
        .min()
        .filter(|(distance, _)| *distance <= 1 + text.chars().count() / 4)
        .map(|(_, name)| format!("; did you mean `{name}`?"))
        .unwrap_or_default();
    Err(format!("one of {list}{nearest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024_whatever_the_unit_is_called() {
        for (text, bytes) in [
            ("0", 0),
            ("1024", 1024),
            ("5 bytes", 5),
            ("20k", 20_480),
            ("64 MB", 64 << 20),
            ("1 g", 1 << 30),
            ("2 tebibytes", 2 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "mb", "-1", "1.5 gb", "1 pb", "1 kib", "99999999999 tb"] {
            assert!(size(text).unwrap_err().contains("such as `64 mb`"), "{text}");
        }
        assert_eq!(positive_size("0 kb"), Err("a size of more than 0".to_owned()));
        assert_eq!(positive_size("1"), Ok(1));
    }

    #[test]
    fn durations_follow_the_units_of_flink() {
        for (text, millis) in [
            ("0", 0),
            ("250", 250),
            ("10 s", 10_000),
            ("2 min", 120_000),
            ("3H", 10_800_000),
            ("30 d", 2_592_000_000),
            ("5000 µs", 5),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1 s", "1.5 h", "1 week"] {
            assert!(duration(text).unwrap_err().contains("such as `10 s`"), "{text}");
        }
    }

    #[test]
    fn numbers_are_refused_outside_of_their_range() {
        assert_eq!(count("2"), Ok(2));
        assert!(count("0").is_err() && count("-1").is_err() && count("1.0").is_err());
        assert_eq!(share("0.25"), Ok(0.25));
        assert!(share("1.01").is_err() && share("NaN").is_err() && share("half").is_err());
        assert_eq!(positive("10"), Ok(10.0));
        assert!(positive("0").is_err() && positive("inf").is_err());
    }

    #[test]
    fn a_name_is_read_in_any_case_and_another_one_is_answered_with_the_nearest() {
        let names = [("LEVEL", 1), ("UNIVERSAL", 2)];
        assert_eq!(named("level", &names), Ok(1));
        assert_eq!(
            named("UNIVRSAL", &names),
            Err("one of `LEVEL`, `UNIVERSAL`; did you mean `UNIVERSAL`?".to_owned())
        );
        assert_eq!(
            named("tiered", &names),
            Err("one of `LEVEL`, `UNIVERSAL`".to_owned())
        );
    }

    #[test]
    fn a_list_is_read_from_one_line() {
        for text in ["a;b", " a , b", "[a, b]", "a|b"] {
            assert_eq!(items(text.trim()), ["a", "b"], "{text}");
        }
        assert!(items("[]").is_empty());
    }
}
