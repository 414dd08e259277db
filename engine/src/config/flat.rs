//! `flink-conf.yaml`, Flink's file before 2.0: one `key: value` a line, `#` begins a comment anywhere.

use std::path::Path;
use std::sync::Arc;

use super::configuration::Configuration;
use super::file::refused;
use super::origin::Origin;
use super::secrets::shown;
use super::value::RawValue;
use crate::Result;

/// Reads the text of `file` into `config`. As in Flink, a key that is given twice has its last value.
pub(super) fn read(text: &str, file: &Path, config: &mut Configuration) -> Result<()> {
    let path: Arc<Path> = file.into();
    for (index, content) in text.lines().enumerate() {
        let line = index + 1;
        let setting = content.split('#').next().unwrap_or_default().trim();
        if setting.is_empty() {
            continue;
        }
        if let Some((key, value)) = setting.split_once(": ") {
            let path = Arc::clone(&path);
            let value = RawValue::Text(value.trim().to_owned());
            config.insert(key.trim(), value, Origin::File { path, line });
        } else if let Some(key) = setting.strip_suffix(':') {
            let file = file.display();
            config.note(format!(
                "{file}:{line}: {key} has no value and is taken as not set"
            ));
        } else {
            let file = file.display();
            let setting = shown(setting, &setting);
            return Err(refused(format!(
                "{file}:{line}: '{setting}' is no setting, expected `key: value` with a space behind the colon"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Configuration> {
        let mut config = Configuration::new();
        read(text, Path::new("flink-conf.yaml"), &mut config)?;
        Ok(config)
    }

    #[test]
    fn lines_are_settings_and_comments_are_not() {
        let config = read_text(
            "# head\n\nstate.backend: filesystem   # where\r\nstate.backend.fs.checkpointdir: file:///tmp/c\njobmanager.web.port : 9\njobmanager.web.port: 10\nempty:\n",
        )
        .unwrap();
        let settings: Vec<_> = config
            .iter()
            .map(|(key, value, origin)| format!("{key}={value} @{origin}"))
            .collect();
        assert_eq!(
            settings,
            [
                "jobmanager.web.port=10 @flink-conf.yaml:6",
                "state.backend=filesystem @flink-conf.yaml:3",
                "state.backend.fs.checkpointdir=file:///tmp/c @flink-conf.yaml:4",
            ]
        );
        assert_eq!(
            config.notes(),
            ["flink-conf.yaml:7: empty has no value and is taken as not set"]
        );
    }

    #[test]
    fn a_line_that_is_no_setting_is_refused_with_its_number() {
        assert_eq!(
            read_text("a: 1\nstate.backend:rocksdb\n")
                .unwrap_err()
                .to_string(),
            "flink-conf.yaml:2: 'state.backend:rocksdb' is no setting, expected `key: value` with a space behind the colon"
        );
        let secret = read_text("s3.secret-key:hunter2\n").unwrap_err().to_string();
        assert!(!secret.contains("hunter2"), "{secret}");
    }
}
