//! The workloads of Millpond, measured, each beside the same work written by hand on timely. See `README.md`.

mod args;
mod bench;
mod big_state;
mod compare;
mod disk;
mod drift;
mod ends;
mod generate;
mod job;
mod keeper;
mod limit;
mod limits;
mod probe;
mod process;
mod report;
mod restore;
mod sampler;
mod scratch;
mod settings;
mod stamped;
mod state_micro;
mod text;
mod words;
mod work;

use crate::args::{Command, CountArgs, Workload};
use crate::bench::Bench;
use crate::report::print_line;
use crate::work::{Windows, Work};
use clap::Parser;
use millpond_engine::config::init_logging_with_default;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Command { workload } = Command::parse();
    init_logging_with_default("warn");
    let all_right = match workload {
        Workload::KeyedCount(args) => counting(&args, |records, keys| Work::KeyedCount { records, keys }),
        Workload::Exchange(args) => counting(&args, |records, keys| Work::Exchange { records, keys }),
        Workload::TumblingWindow(args) => {
            let work = Work::TumblingWindow(Windows {
                records: args.records,
                keys: args.keys,
                ratio: args.ratio,
                window_ms: args.window_ms,
            });
            Bench::new(args.run, work).warmed_up_by(args.warmup_records).run()
        }
        Workload::WordCount(args) => Bench::new(args.run, Work::WordCount { text: args.text }).run(),
        Workload::GenText(args) => text::run(&args),
        Workload::Compare(args) => compare::run(&args),
        Workload::StateMicro(args) => state_micro::run(&args),
        Workload::Limit(args) => limits::run(&args),
        Workload::Drift(args) => drift::run(&args),
        Workload::BigState(args) => big_state::run(&args),
        Workload::Restore(args) => restore::run(&args),
        Workload::RestoreStep(args) => restore::run_step(&args),
    };
    match all_right {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let line = serde_json::json!({ "error": error.to_string() });
            // Nobody is left to be told if this fails too.
            let _ = print_line(&line);
            ExitCode::from(error.exit_code())
        }
    }
}

/// The workloads that a program on timely does too.
fn counting(args: &CountArgs, work: impl FnOnce(u64, u64) -> Work) -> millpond_engine::Result<bool> {
    let bench = Bench::new(args.run.clone(), work(args.records, args.keys)).warmed_up_by(args.warmup_records);
    match (args.only_limit, args.with_limit) {
        (true, _) => bench.only_limit().run(),
        (false, true) => bench.with_limit().run(),
        (false, false) => bench.run(),
    }
}
