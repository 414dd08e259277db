//! Behaviour that takes several files of this module, by theme.

use clap::Parser;

use super::*;

mod bad_values;
mod pages;
mod precedence;
mod reading;
mod sources;
mod warnings;

/// A configuration folder with one file.
pub(super) fn folder(file: &str, text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(file), text).unwrap();
    dir
}

pub(super) fn from_yaml(text: &str) -> Configuration {
    Configuration::from_dir(folder("config.yaml", text).path()).unwrap()
}

/// `text` without the folder's own name, which differs from run to run.
pub(super) fn without(dir: &tempfile::TempDir, text: &str) -> String {
    text.replace(&format!("{}/", dir.path().display()), "")
}

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    common: CommonArgs,
}

pub(super) fn arguments(list: &[&str]) -> CommonArgs {
    let mut args = Program::parse_from(std::iter::once("program").chain(list.iter().copied())).common;
    // The environment of the test run must not decide.
    if !list.contains(&"--conf") {
        args.config.conf = None;
    }
    args
}
