//! The one option of the backend.

use millpond_backend_api::{BackendConfig, BackendError, BackendErrorKind, BackendResult};

/// The option's key: the bytes of the page cache of each subtask's database.
const KEY: &str = "state.backend.redb.cache-size";
/// What it is if nobody sets it.
const DEFAULT_BYTES: usize = 64 << 20;
/// redb needs some pages to work with.
const MIN_BYTES: usize = 1 << 20;

/// The configured size in bytes.
pub(crate) fn from_config(config: &BackendConfig) -> BackendResult<usize> {
    let Some(text) = config.get(KEY) else {
        return Ok(DEFAULT_BYTES);
    };
    parse(text).filter(|bytes| *bytes >= MIN_BYTES).ok_or_else(|| {
        BackendError::new(
            BackendErrorKind::Configuration,
            format!("{KEY}: expected a size of at least 1mb, such as 64mb or 1gb, found '{text}'"),
        )
    })
}

/// A number of bytes, with a unit (powers of 1024) or without one.
fn parse(text: &str) -> Option<usize> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let shift = match unit.trim() {
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> BackendResult<usize> {
        from_config(&[(KEY.to_owned(), text.to_owned())].into_iter().collect())
    }

    #[test]
    fn a_size_is_a_number_with_or_without_a_unit() {
        assert_eq!(from_config(&BackendConfig::default()).unwrap(), 64 << 20);
        for (text, bytes) in [
            ("2097152", 2 << 20),
            ("3mb", 3 << 20),
            ("1 GB", 1 << 30),
            ("1024k", 1 << 20),
        ] {
            assert_eq!(with(text).unwrap(), bytes, "{text}");
        }
    }

    #[test]
    fn a_wrong_size_is_an_error_that_names_key_value_and_what_was_expected() {
        for text in ["", "mb", "-1", "64 parsecs", "1kb", "99999999999999999999g"] {
            let error = with(text).unwrap_err();
            assert_eq!(error.kind(), BackendErrorKind::Configuration);
            for named in [KEY, &format!("'{text}'"), "at least 1mb"] {
                assert!(error.message().contains(named), "{error}");
            }
        }
    }
}
