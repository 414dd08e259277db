//! Processes that fail, are killed, fall silent and come back.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::harness::*;
use crate::cluster::*;

/// Runs the endless work of the next attempt; `disturb` is called once data has flowed for a while. Returns how the attempt ended, and
/// how long after the disturbance this process knew.
fn run_disturbed(session: &ClusterSession, disturb: impl FnOnce()) -> (AttemptEnd, Duration) {
    let attempt = session
        .next_attempt(|attempt| plan(attempt, Work::Endless))
        .unwrap()
        .unwrap();
    let control = attempt.control.clone();
    let (tell, told) = mpsc::channel();
    let process = session.settings().process_index;
    let workers = std::thread::spawn(move || {
        run(attempt, process, move |round| {
            if round == 20 {
                // Told by each worker; nobody listens after the first.
                let _ = tell.send(());
            }
        })
    });
    told.recv_timeout(LIMIT).unwrap();
    let began = Instant::now();
    disturb();
    workers.join().unwrap();
    let took = began.elapsed();
    match session.finish(&control) {
        Finish::AttemptEnded(end) => (end, took),
        Finish::JobFinished => panic!("the job cannot have finished"),
    }
}

fn assert_lost(end: &AttemptEnd, lost: usize) {
    assert!(
        matches!(end, AttemptEnd::PeerLost { process, .. } if *process == lost),
        "{end:?}"
    );
}

/// Reads `sum=1.` in what a child wrote.
fn sum_in(text: &str) -> u64 {
    let sum = text.split("sum=").nth(1).and_then(|rest| rest.split('.').next());
    sum.unwrap_or_else(|| panic!("no sum in {text}")).parse().unwrap()
}

#[test]
fn a_killed_process_is_noticed_within_seconds_and_the_job_ends_well_when_it_is_back() {
    let addresses = addresses(3);
    let session = connect(&addresses, 0);
    let bystander = ChildProcess::start("finite", 2, &addresses);
    let mut victim = ChildProcess::start("finite", 1, &addresses);
    let (end, took) = run_disturbed(&session, || victim.0.kill().unwrap());
    assert_lost(&end, 1);
    assert!(took < Duration::from_secs(2), "{took:?}");

    let victim = ChildProcess::start("finite", 1, &addresses);
    let mut attempts = Vec::new();
    let (ends, mut sum) = work_until_finished(&session, |attempt| {
        attempts.push(attempt);
        Work::Rounds(20)
    })
    .unwrap();
    assert_eq!((ends, attempts), (vec![], vec![AttemptNumber(2)]));
    drop(session);
    for child in [victim, bystander] {
        let (is_well, text) = child.finish();
        assert!(is_well && !text.contains("panicked"), "{text}");
        sum += sum_in(&text);
    }
    assert_eq!(sum, expected_sum(3, 20));
}

#[test]
fn a_killed_coordinator_is_waited_for_and_continues_the_count_of_attempts() {
    let addresses = addresses(2);
    let session = connect(&addresses, 1);
    let mut coordinator = ChildProcess::start("endless", 0, &addresses);
    let (end, took) = run_disturbed(&session, || coordinator.0.kill().unwrap());
    assert_lost(&end, 0);
    assert!(took < Duration::from_secs(2), "{took:?}");

    let coordinator = ChildProcess::start("finite", 0, &addresses);
    let attempt = session.await_attempt().unwrap().unwrap();
    assert_eq!(attempt.plan.attempt, AttemptNumber(2));
    let control = attempt.control.clone();
    let sum = run(attempt, 1, |_| {});
    assert_eq!(session.finish(&control), Finish::JobFinished);
    let (is_well, text) = coordinator.finish();
    assert!(is_well, "{text}");
    assert_eq!(sum + sum_in(&text), expected_sum(2, 20));
}

/// Starts `process` and kills it, again and again: a little later each time, so that every stage of meeting and running is hit.
fn start_and_kill(process: usize, addresses: &[String]) {
    for later in 0..12 {
        let child = ChildProcess::start("endless", process, addresses);
        std::thread::sleep(Duration::from_millis(5 + 10 * later));
        drop(child);
    }
}

#[test]
fn a_process_that_is_killed_at_any_moment_can_come_back() {
    let addresses = addresses(3);
    let sessions = [connect(&addresses, 0), connect(&addresses, 2)];
    let is_quiet = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // The plan is asked when all are there, so what the last start joins is told to end.
        let work = |_| {
            if is_quiet.load(Ordering::SeqCst) {
                Work::Rounds(20)
            } else {
                Work::Endless
            }
        };
        let others = sessions
            .each_ref()
            .map(|session| scope.spawn(move || work_until_finished(session, work).unwrap().1));
        start_and_kill(1, &addresses);
        is_quiet.store(true, Ordering::SeqCst);
        let last = ChildProcess::start("finite", 1, &addresses);
        let sum: u64 = others.into_iter().map(|other| other.join().unwrap()).sum();
        let (is_well, text) = last.finish();
        assert!(is_well && !text.contains("panicked"), "{text}");
        assert_eq!(sum + sum_in(&text), expected_sum(3, 20));
    });
}

#[test]
fn a_coordinator_that_is_killed_at_any_moment_can_come_back() {
    let addresses = addresses(3);
    let sessions = [connect(&addresses, 1), connect(&addresses, 2)];
    std::thread::scope(|scope| {
        let others = sessions
            .each_ref()
            .map(|session| scope.spawn(|| work_until_finished(session, |_| Work::Endless).unwrap().1));
        start_and_kill(0, &addresses);
        let last = ChildProcess::start("finite", 0, &addresses);
        let sum: u64 = others.into_iter().map(|other| other.join().unwrap()).sum();
        let (is_well, text) = last.finish();
        assert!(is_well && !text.contains("panicked"), "{text}");
        assert_eq!(sum + sum_in(&text), expected_sum(3, 20));
    });
}

#[test]
fn a_process_that_hangs_is_lost_after_the_heartbeat_timeout() {
    let addresses = addresses(2);
    let mut watchful = settings(&addresses, 0);
    watchful.heartbeat_interval = Duration::from_millis(200);
    watchful.heartbeat_timeout = Duration::from_millis(1500);
    let session = ClusterSession::connect(watchful, identity()).unwrap();
    let child = ChildProcess::start("heartbeat", 1, &addresses);
    let pid = child.0.id().to_string();
    let (end, took) = run_disturbed(&session, || {
        assert!(
            Command::new("kill")
                .args(["-STOP", &pid])
                .status()
                .unwrap()
                .success()
        );
    });
    assert_lost(&end, 1);
    assert!(end.to_error().to_string().contains("no sign of life"), "{end:?}");
    assert!(
        took > Duration::from_secs(1) && took < Duration::from_secs(5),
        "{took:?}"
    );
}

#[test]
fn a_broken_data_connection_ends_the_attempt_though_both_processes_live() {
    let addresses = addresses(3);
    let sessions: Vec<_> = (0..3).map(|process| connect(&addresses, process)).collect();
    std::thread::scope(|scope| {
        for (process, session) in sessions.iter().enumerate() {
            scope.spawn(move || {
                let attempt = session
                    .next_attempt(|attempt| plan(attempt, Work::Endless))
                    .unwrap()
                    .unwrap();
                let control = attempt.control.clone();
                if process == 1 {
                    let socket = attempt.transport.mesh.as_ref().unwrap().sockets[2]
                        .as_ref()
                        .unwrap();
                    socket.shutdown(std::net::Shutdown::Both).unwrap();
                }
                run(attempt, process, |_| {});
                let end = control.end().unwrap();
                assert!(end.to_error().to_string().contains("data connection"), "{end:?}");
                assert!(
                    matches!(end, AttemptEnd::PeerLost { process: 1 | 2, .. }),
                    "{end:?}"
                );
            });
        }
    });
    assert_eq!(run_job(&sessions, 5), expected_sum(3, 5));
}

#[test]
fn a_failure_reaches_every_process_with_its_cause_and_so_does_the_end_of_the_job() {
    let addresses = addresses(3);
    let sessions: Vec<_> = (0..3).map(|process| connect(&addresses, process)).collect();
    std::thread::scope(|scope| {
        for (process, session) in sessions.iter().enumerate() {
            scope.spawn(move || {
                let attempt = session
                    .next_attempt(|attempt| plan(attempt, Work::FailIn(2)))
                    .unwrap()
                    .unwrap();
                let control = attempt.control.clone();
                run(attempt, process, |_| {});
                let expected = match process {
                    2 => AttemptEnd::Failed(user_cause()),
                    _ => AttemptEnd::PeerFailed {
                        process: 2,
                        cause: user_cause(),
                    },
                };
                assert_eq!(session.finish(&control), Finish::AttemptEnded(expected));
                if process == 0 {
                    session.give_up(&user_cause());
                } else {
                    let error = session.await_attempt().unwrap_err();
                    assert_eq!(error.kind(), user_cause().kind);
                    assert_eq!(
                        error.to_string(),
                        "operator 'sum', subtask 3: the fifth round is too much"
                    );
                }
            });
        }
    });
}

fn entries(folder: &str) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

/// Threads and open files of this process.
fn resources() -> (usize, usize) {
    (entries("/proc/self/task"), entries("/proc/self/fd"))
}

/// The child's part of [`many_attempts_leak_neither_threads_nor_files_and_print_nothing`].
pub(super) fn many_attempts_in_one_process() {
    const ATTEMPTS: u64 = 22;
    let addresses = addresses(3);
    let before = resources();
    let sessions: Vec<_> = (0..3).map(|process| connect(&addresses, process)).collect();
    let barrier = std::sync::Barrier::new(3);
    std::thread::scope(|scope| {
        for (process, session) in sessions.iter().enumerate() {
            let barrier = &barrier;
            scope.spawn(move || {
                let mut first = None;
                for number in 1..=ATTEMPTS {
                    let work = Work::FailIn((number % 3) as u8);
                    let attempt = session
                        .next_attempt(|attempt| plan(attempt, work))
                        .unwrap()
                        .unwrap();
                    assert_eq!(attempt.plan.attempt, AttemptNumber(number));
                    let control = attempt.control.clone();
                    run(attempt, process, |_| {});
                    assert!(matches!(session.finish(&control), Finish::AttemptEnded(_)));
                    // Between two barriers all three are between attempts.
                    barrier.wait();
                    if process == 0 {
                        await_resources(*first.get_or_insert_with(resources));
                    }
                    barrier.wait();
                }
            });
        }
    });
    drop(sessions);
    await_resources(before);
    println!("no leaks");
}

/// A thread that was joined leaves the list a moment later.
fn await_resources(expected: (usize, usize)) {
    let began = Instant::now();
    while resources() > expected {
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}, before it was {expected:?}",
            resources()
        );
        std::thread::yield_now();
    }
}

#[test]
fn many_attempts_leak_neither_threads_nor_files_and_print_nothing() {
    let (is_well, text) = ChildProcess::start("leaks", 0, &[]).finish();
    assert!(is_well && text.contains("no leaks"), "{text}");
    assert!(
        !text.contains("panicked") && !text.contains("timely communication error"),
        "{text}"
    );
}
