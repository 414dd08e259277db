//! Sizes by Flink's rules (`MemorySize`): a whole number and a unit; every unit is a power of 1024.

use std::borrow::Cow;
use std::fmt;

use super::duration::split_number;
use super::value::{ConfigValue, RawValue};

/// A size in bytes.
///
/// Written as `64 mb`: the units `k`, `m`, `g`, `t` (also `kb`, `mb`, ...) are powers of **1024**, as in Flink; without a unit
/// it is bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemorySize(pub u64);

const KIB: u64 = 1024;

/// Bytes in each unit, and its names in lower case; the first one is used to write.
const UNITS: &[(u64, &[&str])] = &[
    (KIB * KIB * KIB * KIB, &["tb", "t", "tebibytes"]),
    (KIB * KIB * KIB, &["gb", "g", "gibibytes"]),
    (KIB * KIB, &["mb", "m", "mebibytes"]),
    (KIB, &["kb", "k", "kibibytes"]),
    (1, &["bytes", "b", ""]),
];

const EXPECTED: &str =
    "a size such as `64 mb`: a whole number and one of the units b, kb, mb, gb, tb (bytes if there is none)";

impl MemorySize {
    /// `count` units of 1024 bytes.
    #[must_use]
    pub const fn from_kib(count: u64) -> Self {
        Self(count * KIB)
    }

    /// `count` units of 1024² bytes.
    #[must_use]
    pub const fn from_mib(count: u64) -> Self {
        Self(count * KIB * KIB)
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for MemorySize {
    /// In the largest unit that leaves a whole number: `64 mb`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = UNITS
            .iter()
            .filter(|(unit, _)| self.0 > 0 && self.0.is_multiple_of(*unit))
            .find_map(|(unit, names)| Some((*unit, *names.first()?)))
            .unwrap_or((1, "bytes"));
        write!(f, "{} {name}", self.0 / unit)
    }
}

impl ConfigValue for MemorySize {
    fn type_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn parse(raw: &RawValue) -> Result<Self, String> {
        let (number, unit) = split_number(raw.as_text()?);
        let number: u64 = number.parse().map_err(|_| EXPECTED.to_owned())?;
        let unit = unit.to_lowercase();
        let (bytes, _) = UNITS
            .iter()
            .find(|(_, names)| names.contains(&unit.as_str()))
            .ok_or_else(|| EXPECTED.to_owned())?;
        number
            .checked_mul(*bytes)
            .map(Self)
            .ok_or_else(|| format!("a size of at most {} bytes", u64::MAX))
    }

    fn to_raw(&self) -> RawValue {
        self.to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_whatever_the_unit_is_called() {
        let cases: &[(&str, u64)] = &[
            ("0", 0),
            ("1024", 1024),
            ("10485760b", 10_485_760),
            ("5 bytes", 5),
            ("20 kb", 20_480),
            ("20k", 20_480),
            ("2 kibibytes", 2_048),
            ("64mb", 67_108_864),
            ("64 MB", 67_108_864),
            ("64 m", 67_108_864),
            ("1 gb", 1 << 30),
            ("1 g", 1 << 30),
            ("2 tb", 2 << 40),
            ("2 tebibytes", 2 << 40),
        ];
        for (text, bytes) in cases {
            assert_eq!(
                MemorySize::parse(&(*text).into()),
                Ok(MemorySize(*bytes)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "mb",
            "-1",
            "1.5 gb",
            "1 pb",
            "1 gb 2 mb",
            "99999999999999999999",
            "1 kib",
        ] {
            assert_eq!(
                MemorySize::parse(&text.into()),
                Err(EXPECTED.to_owned()),
                "{text:?}"
            );
        }
        assert!(MemorySize::parse(&"99999999999 tb".into()).is_err());
    }

    #[test]
    fn a_size_is_written_in_its_largest_whole_unit() {
        for (size, text) in [
            (MemorySize(0), "0 bytes"),
            (MemorySize(1_025), "1025 bytes"),
            (MemorySize::from_kib(20), "20 kb"),
            (MemorySize::from_mib(2_048), "2 gb"),
        ] {
            assert_eq!(size.to_string(), text);
            assert_eq!(MemorySize::parse(&size.to_raw()), Ok(size));
        }
    }
}
