//! How a running job is talked to from outside.

use super::options;
use crate::config::ConfigOption;

options! {
    "Control";

    /// Folder in which a running job looks for requests, such as those of `millpond savepoint trigger`, twice a second; a path or a `file://` URI. One folder a job. Unset: nobody is
    /// listened to. Whoever can write there can stop the job. Not an option of Flink's.
    DIR: String = "control.dir";
}
