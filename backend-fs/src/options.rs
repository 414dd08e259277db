//! What the configuration says to this backend.

use millpond_backend_api::{BackendConfig, BackendError, BackendErrorKind, BackendResult};

const INCREMENTAL: [&str; 2] = ["execution.checkpointing.incremental", "state.backend.incremental"];
const COMPRESSION: [&str; 1] = ["execution.checkpointing.snapshot-compression"];

/// The options of the filesystem backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Snapshots name files of earlier ones and write what was changed since.
    pub(crate) incremental: bool,
    /// Files are compressed.
    pub(crate) compressed: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            incremental: true,
            compressed: false,
        }
    }
}

impl Options {
    /// Reads the options from `config`.
    ///
    /// # Errors
    /// [`BackendErrorKind::Configuration`] for a value that is neither `true` nor `false`.
    pub(crate) fn read(config: &BackendConfig) -> BackendResult<Self> {
        let default = Self::default();
        Ok(Self {
            incremental: flag(config, &INCREMENTAL)?.unwrap_or(default.incremental),
            compressed: flag(config, &COMPRESSION)?.unwrap_or(default.compressed),
        })
    }
}

/// The value of the first of `keys` that is set.
fn flag(config: &BackendConfig, keys: &[&str]) -> BackendResult<Option<bool>> {
    let set = keys
        .iter()
        .find_map(|key| config.get(key).map(|value| (key, value)));
    let Some((key, value)) = set else { return Ok(None) };
    match value.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(Some(true)),
        "false" => Ok(Some(false)),
        _ => Err(BackendError::new(
            BackendErrorKind::Configuration,
            format!("{key}: expected true or false, found {value:?}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> BackendResult<Options> {
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Options::read(&pairs.collect())
    }

    #[test]
    fn increments_are_on_and_compression_is_off_unless_the_configuration_says_otherwise() {
        assert_eq!(read(&[]).unwrap(), Options::default());
        let old = read(&[("state.backend.incremental", "false")]).unwrap();
        assert!(!old.incremental);
        let both = [
            (INCREMENTAL[0], "TRUE"),
            (INCREMENTAL[1], "false"),
            (COMPRESSION[0], "true"),
        ];
        let both = read(&both).unwrap();
        assert!(both.incremental && both.compressed);
    }

    #[test]
    fn a_value_that_is_neither_true_nor_false_is_refused_by_key_and_value() {
        let error = read(&[(COMPRESSION[0], "lz4")]).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Configuration);
        assert!(
            error
                .to_string()
                .contains("snapshot-compression: expected true or false, found \"lz4\"")
        );
    }
}
