//! Folders and arguments that settings are read from.

use std::path::PathBuf;

use super::{arguments, folder, without};
use crate::ErrorKind;
use crate::config::options::{cluster, recovery, rest};
use crate::config::*;

#[test]
fn the_new_file_is_read_before_the_old_one() {
    let dir = folder("flink-conf.yaml", "taskmanager.numberOfTaskSlots: 1\n");
    assert_eq!(
        Configuration::from_dir(dir.path())
            .unwrap()
            .get(&cluster::TASK_SLOTS)
            .unwrap(),
        1
    );
    std::fs::write(
        dir.path().join("config.yaml"),
        "taskmanager.numberOfTaskSlots: 2\n",
    )
    .unwrap();
    let warnings = Configuration::from_dir(dir.path()).unwrap().warnings();
    assert_eq!(
        warnings
            .iter()
            .map(|text| without(&dir, text))
            .collect::<Vec<_>>(),
        ["flink-conf.yaml is not read, since config.yaml is there"]
    );
    assert_eq!(
        Configuration::from_dir(dir.path())
            .unwrap()
            .get(&cluster::TASK_SLOTS)
            .unwrap(),
        2
    );
}

#[test]
fn a_folder_that_cannot_be_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let shown = dir.path().display();
    for (path, message) in [
        (
            dir.path().join("absent"),
            format!("cannot read the configuration folder '{shown}/absent': "),
        ),
        (
            dir.path().to_owned(),
            format!("the configuration folder '{shown}' has neither config.yaml nor flink-conf.yaml"),
        ),
    ] {
        let error = Configuration::from_dir(path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().starts_with(&message), "{error}");
    }
    let file = dir.path().join("config.yaml");
    std::fs::write(&file, b"a: \xff\n").unwrap();
    let error = Configuration::from_dir(dir.path()).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!(
            "cannot read the configuration file '{}'",
            file.display()
        )),
        "{error}"
    );
    let error = Configuration::from_dir(&file).unwrap_err().to_string();
    assert!(error.contains("is a file; give the folder"), "{error}");
}

#[test]
fn arguments_become_settings_with_their_origin() {
    let args = arguments(&[
        "-D",
        "rest.port = 9 ",
        "-Dacme.x=a=b",
        "--from-savepoint",
        "/s/1",
        "-D",
        "rest.port=10",
    ]);
    let config = args.configuration().unwrap();
    assert_eq!(config.get(&rest::PORT).unwrap(), 10);
    assert_eq!(config.get(&recovery::PATH).unwrap(), "/s/1");
    assert_eq!(config.origin(&recovery::PATH).to_string(), "--from-savepoint");
    assert_eq!(config.effective(false)["acme.x"], "a=b");
}

#[test]
fn a_definition_that_is_none_is_refused() {
    for definition in ["rest.port", "=5", ""] {
        let args = ConfigArgs {
            define: vec![definition.to_owned()],
            ..ConfigArgs::default()
        };
        let error = args.configuration().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert_eq!(
            error.to_string(),
            format!("-D: '{definition}' is no setting, expected key=value")
        );
    }
}

#[test]
fn without_a_folder_no_file_is_read() {
    for conf in [None, Some(PathBuf::new())] {
        let args = ConfigArgs {
            conf,
            ..ConfigArgs::default()
        };
        assert_eq!(args.configuration().unwrap().iter().count(), 0);
    }
    let args = arguments(&["--conf", "/absent/folder"]);
    assert_eq!(args.configuration().unwrap_err().exit_code(), 2);
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_configuration_or_an_error(text in "([a-z.:#\\-\\[\\]{}&*!|>'\"%@`~, ]|\\n|\\t|  )*") {
        for file in ["config.yaml", "flink-conf.yaml"] {
            if let Ok(config) = Configuration::from_dir(folder(file, &text).path()) {
                let _ = config.validate();
                let _ = config.warnings();
            }
        }
    }
}
