//! A sink that prints.

use crate::api::{Data, Sink, SinkContext, SinkWriter};
use crate::{Error, ErrorKind, Result};
use std::fmt::Display;
use std::io::{self, Write};
use std::marker::PhantomData;

/// Prints each record as a line to standard output or standard error.
///
/// As in Flink, a line begins with the number of the subtask (counted from 1, left out at parallelism 1) and a name if there is one:
/// `record`, `2> record`, `name> record` or `name:2> record`. After a failure the lines since the last checkpoint come again.
pub struct PrintSink<T> {
    name: Option<String>,
    target: Target,
    input: PhantomData<fn(T)>,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    Stdout,
    Stderr,
}

impl<T: Data + Display> PrintSink<T> {
    /// Prints to standard output.
    #[must_use]
    pub fn new() -> Self {
        Self {
            name: None,
            target: Target::Stdout,
            input: PhantomData,
        }
    }

    /// Prints to standard error.
    #[must_use]
    pub fn to_stderr() -> Self {
        Self {
            target: Target::Stderr,
            ..Self::new()
        }
    }

    /// Puts `name` in front of each line, to tell several sinks apart.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl<T: Data + Display> Default for PrintSink<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> std::fmt::Debug for PrintSink<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrintSink")
            .field("name", &self.name)
            .field("target", &self.target)
            .finish()
    }
}

impl<T: Data + Display> Sink for PrintSink<T> {
    type Input = T;
    type Writer = PrintWriter<T>;

    fn writer(&self, context: &SinkContext) -> Result<PrintWriter<T>> {
        let number = (context.parallelism > 1).then(|| context.subtask + 1);
        let prefix = match (&self.name, number) {
            (None, None) => String::new(),
            (None, Some(number)) => format!("{number}> "),
            (Some(name), None) => format!("{name}> "),
            (Some(name), Some(number)) => format!("{name}:{number}> "),
        };
        Ok(PrintWriter {
            prefix,
            target: self.target,
            lines: Vec::new(),
            input: PhantomData,
        })
    }
}

/// Prints the records of one subtask.
pub struct PrintWriter<T> {
    prefix: String,
    target: Target,
    /// The lines of a batch, kept for its memory.
    lines: Vec<u8>,
    input: PhantomData<fn(T)>,
}

impl<T> std::fmt::Debug for PrintWriter<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrintWriter")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl<T: Display> PrintWriter<T> {
    /// The stream is locked once a batch, so lines of different subtasks do not mix.
    fn write_to(&mut self, mut stream: impl Write, records: &mut Vec<T>) -> io::Result<()> {
        self.lines.clear();
        for record in records.drain(..) {
            writeln!(self.lines, "{}{record}", self.prefix)?;
        }
        stream.write_all(&self.lines)?;
        stream.flush()
    }

    fn failed(&self, error: io::Error) -> Error {
        let stream = match self.target {
            Target::Stdout => "standard output",
            Target::Stderr => "standard error",
        };
        Error::new(ErrorKind::UserCode, format!("cannot print to {stream}")).with_source(error)
    }
}

impl<T: Display + 'static> SinkWriter for PrintWriter<T> {
    type Input = T;

    fn write(&mut self, records: &mut Vec<T>) -> Result<()> {
        match self.target {
            Target::Stdout => self.write_to(io::stdout().lock(), records),
            Target::Stderr => self.write_to(io::stderr().lock(), records),
        }
        .map_err(|error| self.failed(error))
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::sinks::testing::context;

    fn printed(sink: &PrintSink<u32>, subtask: u32, parallelism: u32) -> String {
        let mut stream = Vec::new();
        let mut writer = sink.writer(&context(subtask, parallelism, 1)).unwrap();
        writer.write_to(&mut stream, &mut vec![7, 8]).unwrap();
        String::from_utf8(stream).unwrap()
    }

    #[test]
    fn lines_tell_name_and_subtask_as_in_flink() {
        assert_eq!(printed(&PrintSink::new(), 0, 1), "7\n8\n");
        assert_eq!(printed(&PrintSink::new(), 1, 2), "2> 7\n2> 8\n");
        assert_eq!(printed(&PrintSink::new().name("out"), 0, 1), "out> 7\nout> 8\n");
        assert_eq!(
            printed(&PrintSink::new().name("out"), 0, 2),
            "out:1> 7\nout:1> 8\n"
        );
    }

    #[test]
    fn a_closed_stream_is_an_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut writer = PrintSink::new().writer(&context(0, 1, 1)).unwrap();
        let error = writer.write_to(Closed, &mut vec![1]).unwrap_err();
        let error = writer.failed(error);
        assert_eq!(error.kind(), ErrorKind::UserCode);
        assert!(error.to_string().starts_with("cannot print to standard output: "));
    }
}
