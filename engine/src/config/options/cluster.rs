//! Several processes as one cluster, and how a lost one is noticed.

use std::time::Duration;

use super::options;
use crate::config::ConfigOption;

/// Whether `address` is `host:port`. An IPv6 host is in brackets.
fn is_address(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| {
        let host_is_one = if host.contains(':') {
            host.starts_with('[') && host.ends_with(']')
        } else {
            !host.is_empty() && !host.contains(char::is_whitespace)
        };
        host_is_one && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

options! {
    "Cluster";

    /// The processes of the cluster as `host:port`, the same list in each. Unset: one process alone. Not an option of Flink's.
    ADDRESSES: Vec<String> = "cluster.addresses"
        .with_default("[]")
        .accepting(
            |addresses| addresses.iter().all(|address| is_address(address)),
            "a list of `host:port`",
        );

    /// Which of the addresses is this process, counted from 0. Process 0 runs the coordinator. Not an option of Flink's.
    PROCESS_INDEX: usize = "cluster.process-index".with_default("0");

    /// How long processes wait for a lost one to come back before the job fails for good. Not an option of Flink's.
    REJOIN_TIMEOUT: Duration = "cluster.rejoin-timeout"
        .with_default("10 min")
        .accepting(|timeout| !timeout.is_zero(), "a duration of more than 0");

    /// Worker threads in each process.
    TASK_SLOTS: usize = "taskmanager.numberOfTaskSlots"
        .with_default("1")
        .accepting(|slots| (1..=32_768).contains(slots), "a whole number from 1 to 32768");

    /// Time between two signs of life to a peer.
    HEARTBEAT_INTERVAL: Duration = "heartbeat.interval"
        .with_default("10 s")
        .accepting(|interval| !interval.is_zero(), "a duration of more than 0");

    /// Time without a sign of life after which a peer is taken as lost.
    HEARTBEAT_TIMEOUT: Duration = "heartbeat.timeout"
        .with_default("50 s")
        .accepting(|timeout| !timeout.is_zero(), "a duration of more than 0");

    /// Failed messages in a row after which a peer is taken as lost; -1 switches this off.
    HEARTBEAT_FAILURE_THRESHOLD: i32 = "heartbeat.rpc-failure-threshold"
        .with_default("2")
        .accepting(|count| *count >= -1 && *count != 0, "a whole number of at least 1, or -1");
}

#[cfg(test)]
mod tests {
    use super::is_address;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["localhost:1", "10.0.0.1:65535", "[::1]:7000", "a.example:7000"] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "",
            "localhost",
            ":1",
            "localhost:",
            "localhost:0",
            "a:65536",
            "::1:7000",
            "a b:1",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
