//! The log of a program.

use std::io::{self, IsTerminal, Write};

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
    init_logging_with_default(DEFAULT_FILTER);
}

/// As [`init_logging`], for a program that logs something else where `MILLPOND_LOG` is not set: `warn` leaves out what the engine reports of its work.
///
/// A filter that is not valid is told as a warning, and [`init_logging`]'s is used.
pub fn init_logging_with_default(default_filter: &str) {
    let given = std::env::var(VARIABLE)
        .ok()
        .filter(|text| !text.trim().is_empty());
    let text = given.as_deref().unwrap_or(default_filter);
    let (filter, problem) = match EnvFilter::try_new(text) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(DEFAULT_FILTER), Some(error)),
    };
    let on_terminal = io::stderr().is_terminal();
    let installed = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || LogWriter { on_terminal })
        .with_ansi(on_terminal)
        .try_init()
        .is_ok();
    if let (true, Some(error)) = (installed, problem) {
        tracing::warn!(
            "the filter of the log, '{text}' (see {VARIABLE}), is not valid, '{DEFAULT_FILTER}' is used: {error}"
        );
    }
}

/// Standard error. On a terminal each message begins on a clear line, since a program may be showing its progress on it.
struct LogWriter {
    on_terminal: bool,
}

impl Write for LogWriter {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        let mut stderr = io::stderr().lock();
        if self.on_terminal {
            stderr.write_all(b"\r\x1b[2K")?;
        }
        stderr.write_all(message)?;
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
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
