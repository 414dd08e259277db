//! Pages of the repository that are kept true by tests.

use std::path::{Path, PathBuf};

use super::from_yaml;
use crate::config::options::all;
use crate::config::*;

fn repository_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

#[test]
fn options_page_is_what_the_options_say() {
    let path = repository_file("docs/OPTIONS.md");
    let wanted = options_table();
    if std::env::var_os("MILLPOND_REGENERATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/OPTIONS.md is not what the options say; write it anew by: \
         MILLPOND_REGENERATE=1 cargo test -p millpond-engine options_page"
    );
}

#[test]
fn the_example_configuration_loads_without_a_warning() {
    let config = Configuration::from_dir(repository_file("conf")).unwrap();
    config.validate().unwrap();
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
    assert!(config.iter().count() > 0);
}

#[test]
fn settings_commented_out_in_the_example_are_defaults_or_below_the_word_example() {
    let text = std::fs::read_to_string(repository_file("conf/config.yaml")).unwrap();
    let mut is_example = false;
    for line in text.lines() {
        let Some(setting) = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')) else {
            is_example = line == "# Example:" || (is_example && !line.is_empty() && !line.starts_with("# "));
            continue;
        };
        if setting.is_empty() {
            continue;
        }
        let config = from_yaml(setting);
        config.validate_values().unwrap();
        assert!(config.warnings().is_empty(), "{setting}");
        let (key, value, _) = config.iter().next().unwrap();
        let option = all().find(|option| option.info().key == key).unwrap();
        assert!(
            is_example || option.info().default == Some(value.to_string().as_str()),
            "{setting} is not the default ({:?})",
            option.info().default
        );
    }
}
