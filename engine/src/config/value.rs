//! Values as they are written, and how they become typed ones.

use std::borrow::Cow;
use std::fmt;

/// A value as a file, an argument or the program gave it, before an option gives it a type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RawValue {
    /// A single text, without surrounding white space.
    Text(String),
    /// A YAML list.
    List(Vec<String>),
}

impl RawValue {
    /// The single text.
    ///
    /// # Errors
    /// If this is a list of more or less than one item; the message says what was expected.
    pub fn as_text(&self) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text.trim()),
            Self::List(items) => match items.as_slice() {
                [item] => Ok(item.trim()),
                _ => Err("a single value, not a list".to_owned()),
            },
        }
    }
}

impl fmt::Display for RawValue {
    /// The text, or the items of the list with `;` between them, which is how Flink writes a list in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::List(items) => f.write_str(&items.join(";")),
        }
    }
}

impl From<String> for RawValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for RawValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// A type that a [`ConfigOption`](super::ConfigOption) can have.
///
/// What an implementation must keep to: [`parse`](Self::parse) of [`to_raw`](Self::to_raw) gives the same value; `parse` has no
/// side effects and depends on nothing but its argument.
pub trait ConfigValue: Sized + 'static {
    /// Whether what an option expects beyond its type tells all there is to tell about a value that cannot even be read, as "a whole
    /// number of at least 1" does.
    const IS_NUMBER: bool = false;

    /// The type's name in the table of options, for example `Duration`.
    fn type_name() -> Cow<'static, str>;

    /// Reads a value.
    ///
    /// # Errors
    /// What was expected instead, as it follows the word "expected": `a whole number from 0 to 255`.
    fn parse(raw: &RawValue) -> Result<Self, String>;

    /// The value as it would be written in a file.
    fn to_raw(&self) -> RawValue;
}

impl ConfigValue for bool {
    fn type_name() -> Cow<'static, str> {
        "Boolean".into()
    }

    fn parse(raw: &RawValue) -> Result<Self, String> {
        let text = raw.as_text()?;
        if text.eq_ignore_ascii_case("true") {
            Ok(true)
        } else if text.eq_ignore_ascii_case("false") {
            Ok(false)
        } else {
            Err("`true` or `false`".to_owned())
        }
    }

    fn to_raw(&self) -> RawValue {
        self.to_string().into()
    }
}

macro_rules! whole_number {
    ($($type:ty => $name:literal),+) => {$(
        impl ConfigValue for $type {
            const IS_NUMBER: bool = true;

            fn type_name() -> Cow<'static, str> {
                $name.into()
            }

            fn parse(raw: &RawValue) -> Result<Self, String> {
                raw.as_text()?
                    .parse()
                    .map_err(|_| format!("a whole number from {} to {}", <$type>::MIN, <$type>::MAX))
            }

            fn to_raw(&self) -> RawValue {
                self.to_string().into()
            }
        }
    )+};
}

whole_number!(u16 => "Int", u32 => "Int", i32 => "Int", usize => "Int", u64 => "Long", i64 => "Long");

impl ConfigValue for f64 {
    const IS_NUMBER: bool = true;

    fn type_name() -> Cow<'static, str> {
        "Double".into()
    }

    fn parse(raw: &RawValue) -> Result<Self, String> {
        match raw.as_text()?.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err("a number such as `0.5`".to_owned()),
        }
    }

    fn to_raw(&self) -> RawValue {
        self.to_string().into()
    }
}

impl ConfigValue for String {
    fn type_name() -> Cow<'static, str> {
        "String".into()
    }

    fn parse(raw: &RawValue) -> Result<Self, String> {
        match raw.as_text()? {
            "" => Err("a text that is not empty".to_owned()),
            text => Ok(text.to_owned()),
        }
    }

    fn to_raw(&self) -> RawValue {
        self.clone().into()
    }
}

/// A list: a YAML list as it is, or one line with `;`, `,` or `|` between the items, with or without `[` and `]` around it.
impl ConfigValue for Vec<String> {
    fn type_name() -> Cow<'static, str> {
        "List".into()
    }

    fn parse(raw: &RawValue) -> Result<Self, String> {
        let items: Self = match raw {
            RawValue::List(items) => items.iter().map(|item| item.trim().to_owned()).collect(),
            RawValue::Text(text) => {
                let text = text.trim();
                let inner = text
                    .strip_prefix('[')
                    .and_then(|text| text.strip_suffix(']'))
                    .unwrap_or(text);
                if inner.trim().is_empty() {
                    return Ok(Self::new());
                }
                inner
                    .split([';', ',', '|'])
                    .map(|item| unquoted(item.trim()).to_owned())
                    .collect()
            }
        };
        if items.iter().any(String::is_empty) {
            return Err("a list without empty items".to_owned());
        }
        Ok(items)
    }

    fn to_raw(&self) -> RawValue {
        RawValue::List(self.clone())
    }
}

/// `text` without the pair of quotes around it, if there is one.
fn unquoted(text: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_name_their_range_when_they_do_not_fit() {
        assert_eq!(u16::parse(&" 8081 ".into()), Ok(8081));
        assert_eq!(i32::parse(&"-1".into()), Ok(-1));
        for bad in ["-1", "65536", "1.0", "", "8 081", "0x10"] {
            assert_eq!(
                u16::parse(&bad.into()),
                Err("a whole number from 0 to 65535".to_owned()),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_number_with_a_point_is_finite() {
        assert_eq!(f64::parse(&"0.5".into()), Ok(0.5));
        assert_eq!(f64::parse(&"2".into()), Ok(2.0));
        for bad in ["NaN", "inf", "", "half", "0,5"] {
            assert!(f64::parse(&bad.into()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_boolean_is_true_or_false_in_any_case_and_nothing_else() {
        assert_eq!(bool::parse(&"TRUE".into()), Ok(true));
        assert_eq!(bool::parse(&"false".into()), Ok(false));
        for bad in ["yes", "1", "", "on"] {
            assert!(bool::parse(&bad.into()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_list_is_read_from_yaml_or_from_one_line() {
        let two = Ok(vec!["a:1".to_owned(), "b:2".to_owned()]);
        for text in ["a:1;b:2", "a:1, b:2", "[a:1, b:2]", "['a:1', \"b:2\"]", "a:1|b:2"] {
            assert_eq!(Vec::parse(&text.into()), two, "{text}");
        }
        assert_eq!(
            Vec::parse(&RawValue::List(vec!["a;b".into()])),
            Ok(vec!["a;b".to_owned()])
        );
        assert_eq!(Vec::parse(&"".into()), Ok(vec![]));
        assert_eq!(Vec::parse(&"[]".into()), Ok(vec![]));
        assert!(Vec::parse(&"a,,b".into()).is_err());
    }

    #[test]
    fn a_list_of_one_serves_as_a_single_value_and_a_longer_one_does_not() {
        assert_eq!(u16::parse(&RawValue::List(vec!["1".into()])), Ok(1));
        assert_eq!(
            u16::parse(&RawValue::List(vec!["1".into(), "2".into()])),
            Err("a single value, not a list".to_owned())
        );
    }

    #[test]
    fn an_empty_text_is_no_string() {
        assert!(String::parse(&"  ".into()).is_err());
    }
}
