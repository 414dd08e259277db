//! Where metrics are reported to.

use std::time::Duration;

use super::options;
use crate::config::ConfigOption;

options! {
    "Metrics";

    /// Names of the reporters to start. Unset: all that are configured.
    REPORTERS: Vec<String> = "metrics.reporters";

    /// What the reporter is: `prometheus` or `otel`, or the name of a factory.
    REPORTER_FACTORY: String = "metrics.reporter.<name>.factory.class";

    /// Time between two reports of a reporter that sends them by itself.
    REPORTER_INTERVAL: Duration = "metrics.reporter.<name>.interval"
        .with_default("10 s")
        .accepting(|interval| !interval.is_zero(), "a duration of more than 0");

    /// Time between two updates of the metrics on the web pages; 0 switches them off.
    FETCHER_UPDATE_INTERVAL: Duration = "metrics.fetcher.update-interval".with_default("10 s");
}
