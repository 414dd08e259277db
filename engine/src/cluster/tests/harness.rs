//! Clusters to test: sessions in threads, or in children that are this test binary started again.

use std::cell::Cell;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use timely::dataflow::operators::{Exchange, Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

use crate::cluster::*;
use crate::{ErrorKind, Result};

/// Worker threads of each process in these tests.
pub(super) const SLOTS: usize = 2;
/// Nothing here may take longer.
pub(super) const LIMIT: Duration = Duration::from_secs(20);
const CHILD: &str = "MILLPOND_TEST_CLUSTER_CHILD";

/// Addresses that were free a moment ago.
pub(super) fn addresses(processes: usize) -> Vec<String> {
    let listeners: Vec<_> = (0..processes)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    listeners
        .iter()
        .map(|listener| listener.local_addr().unwrap().to_string())
        .collect()
}

pub(super) fn settings(addresses: &[String], process_index: usize) -> ClusterSettings {
    ClusterSettings {
        addresses: addresses.to_vec(),
        process_index,
        rejoin_timeout: LIMIT,
        ..ClusterSettings::local(SLOTS)
    }
}

pub(super) fn identity() -> JobIdentity {
    JobIdentity {
        job_name: "sums".to_owned(),
        plan_fingerprint: 0xC0FFEE,
    }
}

pub(super) fn connect(addresses: &[String], process: usize) -> ClusterSession {
    ClusterSession::connect(settings(addresses, process), identity()).unwrap()
}

/// What an attempt does, as process 0 tells in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Exchange and add the numbers of so many rounds.
    Rounds(u64),
    /// Go on until the attempt ends.
    Endless,
    /// Go on until worker 0 of this process fails in its fifth round.
    FailIn(u8),
}

pub(super) fn plan(attempt: AttemptNumber, work: Work) -> Result<AttemptPlan> {
    let extra = match work {
        Work::Rounds(rounds) => rounds.to_le_bytes().to_vec(),
        Work::Endless => vec![],
        Work::FailIn(process) => vec![process],
    };
    Ok(AttemptPlan {
        attempt,
        job_id: "job".to_owned(),
        restore: Some(vec![7; 100_000]),
        extra,
    })
}

fn work_of(plan: &AttemptPlan) -> Work {
    assert_eq!(plan.restore.as_ref().map(Vec::len), Some(100_000));
    match *plan.extra {
        [] => Work::Endless,
        [process] => Work::FailIn(process),
        _ => Work::Rounds(u64::from_le_bytes(plan.extra[..].try_into().unwrap())),
    }
}

/// What all processes together find in `rounds` rounds.
pub(super) fn expected_sum(processes: usize, rounds: u64) -> u64 {
    (0..rounds * 100).sum::<u64>() * (processes * SLOTS) as u64
}

pub(super) fn user_cause() -> FailureCause {
    FailureCause {
        kind: ErrorKind::UserCode,
        message: "the fifth round is too much".to_owned(),
        operator: Some("sum".to_owned()),
        subtask: Some(3),
    }
}

/// Runs the attempt's workers; `on_round` is told each round of each worker. Returns what they added up in this process.
pub(super) fn run(attempt: Attempt, process: usize, on_round: impl Fn(u64) + Send + Sync + 'static) -> u64 {
    let work = work_of(&attempt.plan);
    let control = attempt.control;
    let (builders, guard) = attempt.transport.into_timely().unwrap();
    let workers =
        timely::execute::execute_from(builders, guard, timely::WorkerConfig::default(), move |worker| {
            control.register_worker();
            let sum = Rc::new(Cell::new(0));
            let mut input = InputHandle::new();
            let probe = ProbeHandle::new();
            worker.dataflow(|scope| {
                let sum = Rc::clone(&sum);
                scope
                    .input_from(&mut input)
                    .container::<Vec<u64>>()
                    .exchange(|number| *number)
                    .inspect(move |number| sum.set(sum.get() + number))
                    .probe_with(&probe);
            });
            let rounds = if let Work::Rounds(rounds) = work {
                rounds
            } else {
                u64::MAX
            };
            let is_failing = matches!(work, Work::FailIn(failing) if usize::from(failing) == process);
            for round in 0..rounds {
                if control.is_ended() {
                    break;
                }
                on_round(round);
                if is_failing && round == 5 && worker.index() == process * SLOTS {
                    control.fail(user_cause());
                }
                for number in 0..100 {
                    input.send(round.wrapping_mul(100).wrapping_add(number));
                }
                input.advance_to(round + 1);
                while probe.less_than(input.time()) && !control.is_ended() {
                    worker.step_or_park(None);
                }
            }
            drop(input);
            while worker.has_dataflows() && !control.is_ended() {
                worker.step_or_park(None);
            }
            for dataflow in worker.installed_dataflows() {
                worker.drop_dataflow(dataflow);
            }
            sum.get()
        });
    workers.unwrap().join().into_iter().map(Result::unwrap).sum()
}

/// Takes part in attempts until the job is over; `work` is asked in process 0. Returns the attempts that ended early, and the sum that
/// this process found in the last one.
pub(super) fn work_until_finished(
    session: &ClusterSession,
    mut work: impl FnMut(AttemptNumber) -> Work,
) -> Result<(Vec<AttemptEnd>, u64)> {
    let mut ends = Vec::new();
    while let Some(attempt) = session.next_attempt(|attempt| plan(attempt, work(attempt)))? {
        let control = attempt.control.clone();
        let sum = run(attempt, session.settings().process_index, |_| {});
        match session.finish(&control) {
            Finish::JobFinished => return Ok((ends, sum)),
            Finish::AttemptEnded(end) => ends.push(end),
        }
    }
    panic!("the job finished without this process");
}

/// Runs a whole job of `rounds` rounds in sessions of this process; returns the sum of all.
pub(super) fn run_job(sessions: &[ClusterSession], rounds: u64) -> u64 {
    std::thread::scope(|scope| {
        let processes: Vec<_> = sessions
            .iter()
            .map(|session| scope.spawn(|| work_until_finished(session, |_| Work::Rounds(rounds)).unwrap()))
            .collect();
        processes
            .into_iter()
            .map(|process| process.join().unwrap().1)
            .sum()
    })
}

/// Process `process` of the cluster as a child, which is killed when this is dropped.
pub(super) struct ChildProcess(pub(super) Child);

impl ChildProcess {
    /// A child that plays `role`; its standard error is kept for [`finish`](Self::finish).
    pub(super) fn start(role: &str, process: usize, addresses: &[String]) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "cluster::tests::child_process",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(CHILD, format!("{role} {process} {}", addresses.join(" ")))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    /// Waits for its end, and returns whether it went well and all that it wrote.
    pub(super) fn finish(mut self) -> (bool, String) {
        let began = Instant::now();
        while self.0.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < 2 * LIMIT, "the child does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut text = std::io::read_to_string(self.0.stdout.take().unwrap()).unwrap();
        text += &std::io::read_to_string(self.0.stderr.take().unwrap()).unwrap();
        (self.0.wait().unwrap().success(), text)
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a child does: `endless` and `finite` are processes of a cluster whose coordinator, if it is one, wants that work;
/// `heartbeat` is one that often gives a sign of life.
pub(super) fn run_as_child() {
    let Ok(task) = std::env::var(CHILD) else { return };
    let mut words = task.split(' ');
    let role = words.next().unwrap();
    let process: usize = words.next().unwrap().parse().unwrap();
    let addresses: Vec<_> = words.map(str::to_owned).collect();
    match role {
        "endless" | "finite" | "heartbeat" => {
            let work = if role == "endless" {
                Work::Endless
            } else {
                Work::Rounds(20)
            };
            let mut settings = settings(&addresses, process);
            if role == "heartbeat" {
                settings.heartbeat_interval = Duration::from_millis(200);
            }
            let session = ClusterSession::connect(settings, identity()).unwrap();
            let (_, sum) = work_until_finished(&session, |_| work).unwrap();
            println!("sum={sum}.");
        }
        "leaks" => super::loss::many_attempts_in_one_process(),
        other => panic!("no such role: {other}"),
    }
}
