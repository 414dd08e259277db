//! How a killed program finds its latest checkpoint again.

use super::options;
use crate::config::{ConfigOption, HighAvailabilityType};

options! {
    "High availability";

    /// `none`, or `filesystem`: a pointer to the latest checkpoint and a lock in the folder below, so that a killed program
    /// resumes when it is started again and a second one is refused. `filesystem` is not an option of Flink's.
    TYPE: HighAvailabilityType = "high-availability.type"
        .with_default("none")
        .with_old_keys(&["high-availability", "recovery.mode"]);

    /// Folder of the pointers and locks, on a file system that every process reaches. Needed with `filesystem`.
    STORAGE_DIR: String = "high-availability.storageDir".with_old_keys(&[
        "high-availability.zookeeper.storageDir",
        "recovery.zookeeper.storageDir",
    ]);

    /// Start even if another program holds the job, one that hangs or a machine that is gone and whose lock the file system has kept: nothing that it writes or
    /// commits counts from then on, and it ends with an error when it comes to its next checkpoint. For one start, by `-D`. Not an option of Flink's.
    TAKE_OVER: bool = "high-availability.filesystem.take-over".with_default("false");

    /// Separates clusters that share the folder.
    CLUSTER_ID: String = "high-availability.cluster-id"
        .with_default("/default")
        .with_old_keys(&[
            "high-availability.zookeeper.path.namespace",
            "recovery.zookeeper.path.namespace",
        ]);
}
