//! The REST server and the web pages.

use std::time::Duration;

use super::options;
use crate::config::ConfigOption;

/// Whether `text` is a list of ports and ranges of them (`8081,8090-8099`), or -1.
fn is_port_range(text: &str) -> bool {
    text == "-1"
        || text.split(',').all(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            match (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
                (Ok(first), Ok(last)) => first <= last,
                _ => false,
            }
        })
}

options! {
    "REST and web";

    /// Port that clients use; also the one that is bound unless `rest.bind-port` is set.
    PORT: u16 = "rest.port".with_default("8081").with_old_keys(&["web.port"]);

    /// Port that is bound, or a list or range of them of which the first free one is taken (`8081,8090-8099`). 0 takes any, -1
    /// switches the server off.
    BIND_PORT: String = "rest.bind-port"
        .with_default("8081")
        .with_old_keys(&["jobmanager.web.port"])
        .with_fallback_keys(&["rest.port", "web.port"])
        .accepting(|ports| is_port_range(ports), "a port, a list or range of ports (`8081,8090-8099`), or -1");

    /// Address that clients use.
    ADDRESS: String = "rest.address".with_fallback_keys(&["jobmanager.rpc.address"]);

    /// Address that is bound.
    BIND_ADDRESS: String = "rest.bind-address".with_old_keys(&["web.address", "jobmanager.web.address"]);

    /// How long the result of a request that takes a while, such as a savepoint, can be asked for.
    ASYNC_STORE_DURATION: Duration = "rest.async.store-duration".with_default("5 min");

    /// Checkpoints that are remembered for display.
    CHECKPOINTS_HISTORY: u32 = "web.checkpoints.history"
        .with_default("10")
        .with_old_keys(&["jobmanager.web.checkpoints.history"]);

    /// Finished jobs that are remembered for display.
    HISTORY: u32 = "web.history"
        .with_default("5")
        .with_old_keys(&["jobmanager.web.history"]);

    /// Time between two updates of a web page.
    REFRESH_INTERVAL: Duration = "web.refresh-interval"
        .with_default("3 s")
        .with_old_keys(&["jobmanager.web.refresh-interval"])
        .accepting(|interval| !interval.is_zero(), "a duration of more than 0");

    /// Whether jobs can be submitted from the web pages.
    SUBMIT_ENABLE: bool = "web.submit.enable"
        .with_default("true")
        .with_old_keys(&["jobmanager.web.submit.enable"]);

    /// Whether jobs can be cancelled from the web pages.
    CANCEL_ENABLE: bool = "web.cancel.enable".with_default("true");

    /// Whether jobs can be rescaled from the web pages.
    RESCALE_ENABLE: bool = "web.rescale.enable".with_default("true");

    /// Failures of a job that are remembered for display.
    EXCEPTION_HISTORY_SIZE: u32 = "web.exception-history-size"
        .with_default("16")
        .accepting(|count| *count >= 1, "a whole number of at least 1");
}

#[cfg(test)]
mod tests {
    use super::is_port_range;

    #[test]
    fn ports_are_one_or_a_list_or_a_range() {
        for good in ["0", "8081", "8081,8090", "8081, 8090-8099", "-1"] {
            assert!(is_port_range(good), "{good}");
        }
        for bad in ["", "-2", "65536", "9-8", "a", "8081,"] {
            assert!(!is_port_range(bad), "{bad}");
        }
    }
}
