//! A job that does to its state what it is asked for, one record at a time.

use millpond_engine::api::{
    Collector, JobClient, KeyedProcessFunction, ProcessContext, StreamExecutionEnvironment,
};
use millpond_engine::config::Configuration;
use millpond_engine::connectors::sinks::DiscardSink;
use millpond_engine::connectors::sources::{ChannelSender, ChannelSource};
use millpond_engine::state::ttl::ManualTtlTime;
use millpond_engine::state::{
    AggregateFunction, AggregatingState, ListState, MapState, ReducingState, StateRegistry, StateTtlConfig,
    ValueState,
};
use millpond_engine::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long an answer may take before the test calls the job hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// Something to do to the state of a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Op {
    SetNumber(u64),
    Number,
    /// Adds one to the number by `modify`.
    Count,
    SetText(String),
    Text,
    /// Appends to the text by `modify`.
    Extend(String),
    ClearBoth,
    Push(String),
    List,
    Put(u32, String),
    Get(u32),
    Has(u32),
    Remove(u32),
    IsEmpty,
    Keys,
    Values,
    Entries,
    Sum(u64),
    GetSum,
    Join(String),
    GetJoined,
    /// Does nothing to any state.
    Nothing,
}

#[derive(Clone, Copy, Debug)]
struct Joined;

impl AggregateFunction for Joined {
    type Input = String;
    type Accumulator = Vec<String>;
    type Output = String;

    fn create(&self) -> Vec<String> {
        Vec::new()
    }

    fn add(&self, value: String, mut accumulator: Vec<String>) -> Vec<String> {
        accumulator.push(value);
        accumulator
    }

    fn result(&self, accumulator: &Vec<String>) -> String {
        accumulator.join("+")
    }
}

#[derive(Clone)]
struct States {
    number: ValueState<u64>,
    text: ValueState<String>,
    list: ListState<String>,
    map: MapState<u32, String>,
    sum: ReducingState<u64>,
    joined: AggregatingState<Joined>,
}

#[derive(Clone)]
struct Worker {
    ttl: Option<StateTtlConfig>,
    answers: Arc<Mutex<Sender<String>>>,
    states: Option<States>,
}

fn sorted<T: Ord + std::fmt::Debug>(mut items: Vec<T>) -> String {
    items.sort();
    format!("{items:?}")
}

impl Worker {
    fn answer(&self, op: Op, context: &mut ProcessContext<'_, u64>) -> Result<String> {
        let Some(states) = &self.states else {
            return Ok(String::new());
        };
        let States {
            number,
            text,
            list,
            map,
            sum,
            joined,
        } = states;
        let done = |()| "done".to_owned();
        Ok(match op {
            Op::SetNumber(value) => done(number.update(context, &value)?),
            Op::Number => format!("{:?}", number.value(context)?),
            Op::Count => format!("{}", number.modify(context, |before| before.unwrap_or(0) + 1)?),
            Op::SetText(value) => done(text.update(context, &value)?),
            Op::Text => format!("{:?}", text.value(context)?),
            Op::Extend(more) => text.modify(context, |before| before.unwrap_or_default() + &more)?,
            Op::ClearBoth => {
                number.clear(context)?;
                done(text.clear(context)?)
            }
            Op::Push(element) => done(list.add(context, &element)?),
            Op::List => format!("{:?}", list.get(context)?),
            Op::Put(key, value) => done(map.put(context, &key, &value)?),
            Op::Get(key) => format!("{:?}", map.get(context, &key)?),
            Op::Has(key) => map.contains(context, &key)?.to_string(),
            Op::Remove(key) => map.remove(context, &key)?.to_string(),
            Op::IsEmpty => map.is_empty(context)?.to_string(),
            Op::Keys => sorted(map.keys(context)?),
            Op::Values => sorted(map.values(context)?),
            Op::Entries => sorted(map.entries(context)?),
            Op::Sum(value) => sum.add(context, value)?.to_string(),
            Op::GetSum => format!("{:?}", sum.get(context)?),
            Op::Join(value) => done(joined.add(context, value)?),
            Op::GetJoined => format!("{:?}", joined.get(context)?),
            Op::Nothing => done(()),
        })
    }
}

fn register(states: &mut StateRegistry<'_>) -> Result<States> {
    Ok(States {
        number: states.value_state("number")?,
        text: states.value_state("text")?,
        list: states.list_state("list")?,
        map: states.map_state("map")?,
        sum: states.reducing_state("sum", |left, right| left + right)?,
        joined: states.aggregating_state("joined", Joined)?,
    })
}

impl KeyedProcessFunction<u64, (u64, Op), u64> for Worker {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.states = Some(match &self.ttl {
            Some(ttl) => register(&mut states.with_ttl(ttl))?,
            None => register(states)?,
        });
        Ok(())
    }

    fn process_element(
        &mut self,
        (_, op): (u64, Op),
        context: &mut ProcessContext<'_, u64>,
        _: &mut Collector<u64>,
    ) -> Result<()> {
        let answer = self.answer(op, context)?;
        self.answers
            .lock()
            .map_err(|_| Error::new(ErrorKind::Bug, "the test has failed"))?
            .send(answer)
            .map_err(|_| Error::new(ErrorKind::Bug, "the test is over"))
    }
}

/// A running job.
pub(crate) struct Job {
    pub(crate) clock: ManualTtlTime,
    sender: ChannelSender<(u64, Op)>,
    answers: Receiver<String>,
    client: JobClient,
    checkpoints: PathBuf,
}

impl Job {
    /// Starts a job with a backend, `name` or `name, full`, and checkpoints below `folder`, from the checkpoint `from` if there is one.
    pub(crate) fn start(
        backend: &str,
        folder: &Path,
        from: Option<&Path>,
        ttl: Option<&StateTtlConfig>,
        clock: &ManualTtlTime,
    ) -> Self {
        let checkpoints = folder.join("checkpoints");
        let (backend, is_incremental) = match backend.strip_suffix(", full") {
            Some(backend) => (backend, "false"),
            None => (backend, "true"),
        };
        let mut config = Configuration::new();
        let dir = format!("file://{}", checkpoints.display());
        for (key, value) in [
            ("state.backend.type", backend),
            ("execution.checkpointing.incremental", is_incremental),
            ("execution.checkpointing.dir", &dir),
            ("execution.checkpointing.interval", "10 ms"),
            (
                "execution.checkpointing.externalized-checkpoint-retention",
                "RETAIN_ON_CANCELLATION",
            ),
            ("restart-strategy.type", "none"),
            ("parallelism.default", "1"),
            ("pipeline.max-parallelism", "4"),
        ] {
            config.set_string(key, value);
        }
        if let Some(from) = from {
            config.set_string("execution.state-recovery.path", from.to_str().unwrap());
        }
        let env = StreamExecutionEnvironment::with_configuration(config);
        env.set_ttl_time_provider(clock.clone());
        let (sender, source) = ChannelSource::unbounded();
        let (answer, answers) = channel();
        env.from_source(source, "requests")
            .key_by(|(key, _): &(u64, Op)| *key)
            .process(Worker {
                ttl: ttl.copied(),
                answers: Arc::new(Mutex::new(answer)),
                states: None,
            })
            .uid("worker")
            .sink_to(DiscardSink::new());
        Self {
            clock: clock.clone(),
            sender,
            answers,
            client: env.execute_async("ttl").unwrap(),
            checkpoints,
        }
    }

    /// Does `op` to the state of `key` and waits for the answer. No two are in one batch.
    #[track_caller]
    pub(crate) fn ask(&self, key: u64, op: Op) -> String {
        self.sender.send((key, op)).unwrap();
        self.answers.recv_timeout(PATIENCE).unwrap()
    }

    #[track_caller]
    pub(crate) fn expect(&self, key: u64, op: Op, answer: &str) {
        let shown = format!("{op:?}");
        assert_eq!(self.ask(key, op), answer, "{shown} at {:?}", self.clock);
    }

    /// The bytes of state in a checkpoint that begins after this call.
    pub(crate) fn next_checkpoint_bytes(&self) -> u64 {
        let progress = self.client.progress();
        // The first that completes may have begun before.
        let before = progress.checkpoints().completed;
        let begun = std::time::Instant::now();
        while progress.checkpoints().completed < before + 2 {
            assert!(
                begun.elapsed() < PATIENCE,
                "no checkpoint: {:?}",
                progress.checkpoints()
            );
            if self.client.is_finished() {
                // The caller finds out why.
                return 0;
            }
            std::thread::yield_now();
        }
        progress.checkpoints().last_full_size_bytes
    }

    /// Ends the job after a checkpoint of all that was done, and gives its path.
    pub(crate) fn end(self) -> PathBuf {
        self.next_checkpoint_bytes();
        let Self {
            client, checkpoints, ..
        } = self;
        client.cancel();
        let error = client.wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
        latest_checkpoint(&checkpoints)
    }

    /// The error with which the job ends by itself.
    pub(crate) fn failure(self) -> Error {
        self.client.wait().unwrap_err()
    }
}

fn latest_checkpoint(checkpoints: &Path) -> PathBuf {
    let jobs = std::fs::read_dir(checkpoints)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let newest = jobs
        .flat_map(|job| std::fs::read_dir(job).unwrap())
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let number: u64 = path.file_name()?.to_str()?.strip_prefix("chk-")?.parse().ok()?;
            path.join("_metadata").exists().then_some((number, path))
        })
        .max();
    newest.unwrap().1
}
