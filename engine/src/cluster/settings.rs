//! What a process knows of its cluster before it meets anybody: addresses, its own place, and how patient it is.

use std::time::Duration;

use crate::{Error, ErrorKind, Result};

/// How this process takes part in a cluster. All processes are given the same `addresses` and `slots`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// `host:port` of each process, in the order of their indexes. None or one means a job of one process, without network.
    pub addresses: Vec<String>,
    /// The place of this process in `addresses`, from 0. Process 0 is the coordinator's home.
    pub process_index: usize,
    /// Worker threads in each process, at least 1.
    pub slots: usize,
    /// How long the others wait for a process that is missing, at the start or after its loss, before the job fails.
    pub rejoin_timeout: Duration,
    /// How often a control connection carries a sign of life when there is nothing else to say (Flink: 10 s).
    pub heartbeat_interval: Duration,
    /// A peer that was silent for so long counts as lost (Flink: 50 s); must be longer than the interval. A peer whose
    /// connection was closed counts as lost at once.
    pub heartbeat_timeout: Duration,
}

impl ClusterSettings {
    /// Settings of a job of one process with `slots` workers.
    #[must_use]
    pub fn local(slots: usize) -> Self {
        Self {
            addresses: Vec::new(),
            process_index: 0,
            slots,
            rejoin_timeout: Duration::from_secs(300),
            heartbeat_interval: Duration::from_secs(10),
            heartbeat_timeout: Duration::from_secs(50),
        }
    }

    /// Number of processes, at least 1.
    #[must_use]
    pub fn processes(&self) -> usize {
        self.addresses.len().max(1)
    }

    /// Address of a process for messages; `"?"` for one that does not exist.
    pub(super) fn address(&self, process: usize) -> &str {
        self.addresses.get(process).map_or("?", String::as_str)
    }

    /// Checks what can be checked without the network.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`], naming the setting, its value and what was expected.
    pub fn validate(&self) -> Result<()> {
        let refuse = |message: String| Err(Error::new(ErrorKind::Configuration, message));
        if self.slots == 0 {
            return refuse("0 worker threads a process: at least 1 is needed".to_owned());
        }
        if self.process_index >= self.processes() {
            return refuse(format!(
                "process index {} does not exist: there are {} addresses, so it must be in 0..{}",
                self.process_index,
                self.addresses.len(),
                self.processes()
            ));
        }
        if self.heartbeat_interval.is_zero() || self.heartbeat_timeout <= self.heartbeat_interval {
            return refuse(format!(
                "heartbeat interval {:?} and timeout {:?}: the interval must be above 0 and below the timeout",
                self.heartbeat_interval, self.heartbeat_timeout
            ));
        }
        for (index, address) in self.addresses.iter().enumerate() {
            let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            if !port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port != 0)) {
                return refuse(format!(
                    "cluster address {index} is '{address}': expected host:port"
                ));
            }
            if let Some(twin) = self
                .addresses
                .iter()
                .take(index)
                .position(|other| other == address)
            {
                return refuse(format!(
                    "processes {twin} and {index} have the same cluster address '{address}'"
                ));
            }
        }
        Ok(())
    }
}

/// What all processes of a cluster must agree on, so that nobody joins the wrong job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobIdentity {
    /// The job's name.
    pub job_name: String,
    /// Hash of the job graph: processes whose programs differ would build dataflows that do not fit together.
    pub plan_fingerprint: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two(addresses: [&str; 2]) -> ClusterSettings {
        ClusterSettings {
            addresses: addresses.map(str::to_owned).to_vec(),
            ..ClusterSettings::local(1)
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        let expect = |settings: ClusterSettings, text: &str| {
            let error = settings.validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains(text), "{error}");
        };
        two(["a:1", "b:2"]).validate().unwrap();
        two(["[::1]:1", "b:2"]).validate().unwrap();
        expect(two(["a:1", "b"]), "'b'");
        expect(two(["a:1", ":2"]), "':2'");
        expect(two(["a:1", "b:0"]), "'b:0'");
        expect(two(["a:1", "b:70000"]), "'b:70000'");
        expect(two(["a:1", "a:1"]), "processes 0 and 1");
        expect(
            ClusterSettings {
                process_index: 2,
                ..two(["a:1", "b:2"])
            },
            "0..2",
        );
        expect(ClusterSettings::local(0), "at least 1");
        expect(
            ClusterSettings {
                heartbeat_timeout: Duration::from_secs(10),
                ..two(["a:1", "b:2"])
            },
            "below",
        );
    }
}
