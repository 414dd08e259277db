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

    /// Separates clusters that share the folder.
    CLUSTER_ID: String = "high-availability.cluster-id"
        .with_default("/default")
        .with_old_keys(&[
            "high-availability.zookeeper.path.namespace",
            "recovery.zookeeper.path.namespace",
        ]);
}
