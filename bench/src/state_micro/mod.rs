//! What one access to state takes: each operation of each kind, called directly, across the boundary, and in a library.

mod access;
mod open;
mod operations;

use crate::args::{at_least_one, name_of, number};
use crate::report::{print_line, progress, round};
use clap::{Args, ValueEnum};
use millpond_engine::config::CommonArgs;
use millpond_engine::{Error, ErrorKind, Result};
use operations::Operations;
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Clone, Debug, Args)]
pub(crate) struct StateMicroArgs {
    /// State backends, separated by commas; rocksdb needs the cargo feature of that name, or its library
    #[arg(long, value_delimiter = ',', default_value = "hashmap,filesystem")]
    pub(crate) backends: Vec<String>,

    /// Ways to call them, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', default_value = "static,abi,so")]
    pub(crate) via: Vec<Via>,

    /// Keys of each state, all of which are there before anything is measured
    #[arg(long, value_parser = at_least_one, default_value = "1M")]
    pub(crate) keys: u64,

    /// How often each operation is done
    #[arg(long, value_parser = number, default_value = "4M")]
    pub(crate) operations: u64,

    /// How often to measure everything
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,

    /// The folder with libraries, which `cargo xtask plugins` builds
    #[arg(long, value_name = "DIR", default_value = "plugins")]
    pub(crate) plugins: PathBuf,

    /// Folder for state on disk, each run in a folder of its own below it that is removed; the system's folder for temporary files if not given
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// How a backend is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Via {
    /// Its type itself, within the program
    Static,
    /// Across the boundary, as the engine calls it, within the program
    Abi,
    /// Across the boundary, in a library that was loaded
    #[value(name = "so")]
    Library,
}

impl StateMicroArgs {
    /// The configuration as backends get it.
    fn settings(&self) -> Result<BTreeMap<String, String>> {
        Ok(self.common.configuration()?.effective(false))
    }
}

/// Measures everything and prints a JSON line for each operation; whether each backend could be called in some way.
///
/// # Errors
/// The backends'.
pub(crate) fn run(args: &StateMicroArgs) -> Result<bool> {
    let mut all_found = true;
    for run in 1..=args.runs {
        for backend in &args.backends {
            let mut is_found = false;
            for via in &args.via {
                let folder = crate::scratch::new_folder(args.dir.as_deref())?;
                let mut operations = Operations {
                    keys: args.keys,
                    count: args.operations,
                    timings: Vec::new(),
                };
                if !open::with(args, backend, *via, folder.path(), &mut operations)? {
                    progress(&format!("{backend}: not to be had {}", name_of(*via)));
                    continue;
                }
                is_found = true;
                progress(&format!(
                    "{backend} {}: run {run} of {}",
                    name_of(*via),
                    args.runs
                ));
                for timing in operations.timings {
                    print_line(&serde_json::json!({
                        "workload": "state-micro",
                        "run": run,
                        "backend": backend,
                        "via": name_of(*via),
                        "kind": timing.operation.kind,
                        "operation": timing.operation.name,
                        "keys": args.keys,
                        "operations": args.operations,
                        "ns_per_operation": round(timing.ns_per_operation, 1e2),
                        "vm_hwm_mb": timing.vm_hwm_mb,
                    }))
                    .map_err(|error| {
                        Error::new(ErrorKind::JobFailed, "standard output").with_source(error)
                    })?;
                }
            }
            if !is_found {
                progress(&format!(
                    "{backend}: there is no such state backend here; there are hashmap, filesystem, rocksdb if this program was built with the cargo feature of that name, and the libraries in {}",
                    args.plugins.display()
                ));
            }
            all_found &= is_found;
        }
    }
    Ok(all_found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Command, Workload};
    use clap::Parser;

    #[test]
    fn every_operation_is_measured_directly_and_across_the_boundary() {
        let line = "bench state-micro --keys 200 --operations 1k --via static,abi";
        let command = Command::parse_from(line.split_whitespace());
        let Workload::StateMicro(args) = command.workload else {
            panic!("another command");
        };
        for backend in &args.backends {
            for via in &args.via {
                let folder = tempfile::tempdir().unwrap();
                let mut operations = Operations {
                    keys: args.keys,
                    count: args.operations,
                    timings: Vec::new(),
                };
                assert!(open::with(&args, backend, *via, folder.path(), &mut operations).unwrap());
                assert_eq!(operations.timings.len(), operations::OPERATIONS.len());
                assert!(
                    operations
                        .timings
                        .iter()
                        .all(|timing| timing.ns_per_operation > 0.0)
                );
            }
        }
    }
}
