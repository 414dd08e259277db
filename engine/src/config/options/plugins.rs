//! Where libraries with state backends are found.

use super::options;
use crate::config::ConfigOption;

options! {
    "Plugins";

    /// Folders in which libraries with state backends are looked for, relative to the working directory. A name that
    /// two libraries answer to is an error. A folder that does not exist has no libraries.
    DIR: Vec<String> = "plugins.dir"
        .with_default("plugins")
        .accepting(|dirs| !dirs.is_empty(), "at least one folder");
}
