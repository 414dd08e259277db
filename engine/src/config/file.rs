//! Finding and reading the file of a configuration folder.

use std::io;
use std::path::Path;

use super::configuration::Configuration;
use super::{flat, yaml};
use crate::{Error, ErrorKind, Result};

/// The file of today: nested or dotted YAML.
const YAML_FILE: &str = "config.yaml";
/// The file of Flink before 2.0: `key: value` lines.
const FLAT_FILE: &str = "flink-conf.yaml";

/// Reads `config.yaml`, or if there is none `flink-conf.yaml`, of `dir` into `config`.
pub(super) fn read_folder(dir: &Path, config: &mut Configuration) -> Result<()> {
    let shown = dir.display();
    match std::fs::metadata(dir) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => {
            return Err(refused(format!(
                "the configuration folder '{shown}' is a file; give the folder that has {YAML_FILE} in it"
            )));
        }
        Err(error) => {
            return Err(refused(format!("cannot read the configuration folder '{shown}'")).with_source(error));
        }
    }
    let yaml_file = dir.join(YAML_FILE);
    let flat_file = dir.join(FLAT_FILE);
    if let Some(text) = read_if_there(&yaml_file)? {
        if flat_file.exists() {
            config.note(format!(
                "{} is not read, since {YAML_FILE} is there",
                flat_file.display()
            ));
        }
        return yaml::read(&text, &yaml_file, config);
    }
    if let Some(text) = read_if_there(&flat_file)? {
        return flat::read(&text, &flat_file, config);
    }
    Err(refused(format!(
        "the configuration folder '{shown}' has neither {YAML_FILE} nor {FLAT_FILE}"
    )))
}

fn read_if_there(file: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let file = file.display();
            Err(refused(format!("cannot read the configuration file '{file}'")).with_source(error))
        }
    }
}

/// An error in what the user gave.
pub(super) fn refused(message: String) -> Error {
    Error::new(ErrorKind::Configuration, message)
}
