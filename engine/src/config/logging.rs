//! The log of a program.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// The environment variable with the filter.
const VARIABLE: &str = "MILLPOND_LOG";
/// Warnings of everybody, and what the engine says of its work.
const DEFAULT_FILTER: &str = "warn,millpond=info";

/// Writes the log to standard error, in colour on a terminal.
///
/// `MILLPOND_LOG` says what is logged, in the form of `tracing-subscriber`'s filters (`debug`, `millpond_engine::checkpoint=trace`);
/// by default warnings, and what the engine reports of its work. Does nothing if the program has set up another subscriber.
pub fn init_logging() {
    let given = std::env::var(VARIABLE)
        .ok()
        .filter(|text| !text.trim().is_empty());
    let (filter, problem) = match given.as_deref().map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(DEFAULT_FILTER), Some(error)),
        None => (EnvFilter::new(DEFAULT_FILTER), None),
    };
    let installed = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init()
        .is_ok();
    if let (true, Some(error)) = (installed, problem) {
        tracing::warn!("{VARIABLE} is not valid, '{DEFAULT_FILTER}' is used: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_filter_is_valid() {
        assert!(EnvFilter::try_new(DEFAULT_FILTER).is_ok());
    }
}
