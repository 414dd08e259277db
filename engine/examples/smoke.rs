//! Smoke.
use clap::Parser;
use millpond_engine::api::*;
use millpond_engine::config::*;
use millpond_engine::connectors::sinks::*;
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
    #[arg(long, default_value_t = 1000000)]
    records: u64,
    #[arg(long, default_value_t = 1000)]
    keys: u64,
    #[arg(long, default_value_t = 1)]
    parallelism: usize,
}
fn splitmix64(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d049bb133111eb);
    z ^ (z >> 31)
}
fn main() {
    init_logging();
    let args = Args::parse();
    let env = StreamExecutionEnvironment::from_args(&args.common).unwrap();
    env.set_parallelism(args.parallelism);
    let keys = args.keys;
    let sum = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let s2 = sum.clone();
    env.from_sequence(0, args.records)
        .map(move |i| splitmix64(i) % keys)
        .key_by(|k| *k)
        .count()
        .map(move |(k, c)| {
            s2.fetch_add(c, std::sync::atomic::Ordering::Relaxed);
            (k, c)
        })
        .sink_to(DiscardSink::new());
    let r = env.execute("smoke");
    match r {
        Ok(r) => println!(
            "{r:?} sum {}  {:.1} M/s",
            sum.load(std::sync::atomic::Ordering::Relaxed),
            args.records as f64 / r.duration.as_secs_f64() / 1e6
        ),
        Err(e) => {
            println!("ERR {e}");
            std::process::exit(e.exit_code().into())
        }
    }
}
