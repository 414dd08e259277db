//! The door of a process: one listener for its whole life, and the decision who may come in.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::connection::{GREETING_TIMEOUT, prepare, take_up};
use super::shared::{Shared, index};
use super::wire::{self, Answer, Greeting, Hello, PROTOCOL_VERSION, Purpose};
use super::{AttemptNumber, ClusterEvent};

/// Connections that may be in their greeting at one time; more wait in the kernel's queue.
const GREETINGS_MAX: usize = 256;

/// Accepts connections until the runtime ends. Whatever a connection does or does not say, only the connection suffers.
pub(super) async fn listen(shared: Arc<Shared>, listener: TcpListener) {
    let permits = Arc::new(Semaphore::new(GREETINGS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, from)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    if let Err(error) = welcome(&shared, stream, from).await {
                        tracing::debug!("a connection from {from} came to nothing: {error}");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                // Too many open files, for one: goes away by itself or not at all, and must not spin.
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn welcome(shared: &Arc<Shared>, mut stream: TcpStream, from: SocketAddr) -> io::Result<()> {
    prepare(shared, &stream)?;
    let (hello, verdict) = match wire::read_greeting(&mut stream, GREETING_TIMEOUT).await? {
        Greeting::Hello(hello) => {
            let expected = shared.hello(hello.purpose);
            let verdict = check(&expected, &hello);
            (Some(hello), verdict)
        }
        Greeting::OtherVersion(version) => {
            let text =
                format!("this process speaks protocol version {PROTOCOL_VERSION}, the other one {version}");
            (None, Err(text))
        }
    };
    let answer = match (&hello, verdict) {
        (Some(hello), Ok(())) => answer_to(shared, hello),
        (hello, Err(text)) => {
            refuse(shared, hello.as_ref(), from, &text);
            Answer::Refused(text)
        }
        (None, Ok(())) => return Ok(()),
    };
    wire::answer(&mut stream, &answer, GREETING_TIMEOUT).await?;
    if let (Answer::Accepted, Some(hello)) = (answer, hello) {
        match hello.purpose {
            Purpose::Control { attempt_seen } => {
                take_up(shared, index(hello.process), attempt_seen, stream);
            }
            Purpose::Data { attempt } => deliver(shared, index(hello.process), attempt, stream)?,
        }
    }
    Ok(())
}

/// Whether `hello` may come in, as far as that does not depend on what goes on. The text names both values.
fn check(own: &Hello, hello: &Hello) -> Result<(), String> {
    let differs = |what: &str, here: &dyn std::fmt::Display, there: &dyn std::fmt::Display| {
        Err(format!(
            "process {} has {what} {here}, process {} has {there}; all processes of a cluster need the same",
            own.process, hello.process
        ))
    };
    if own.job_name != hello.job_name {
        let quoted = [&own.job_name, &hello.job_name].map(|name| format!("'{name}'"));
        return differs("the job", &quoted[0], &quoted[1]);
    }
    if own.processes != hello.processes {
        return differs(
            "a cluster of this many processes:",
            &own.processes,
            &hello.processes,
        );
    }
    if own.slots != hello.slots {
        return differs("this many worker threads:", &own.slots, &hello.slots);
    }
    if own.plan_fingerprint != hello.plan_fingerprint {
        let [here, there] = [own, hello].map(|hello| format!("{:016x}", hello.plan_fingerprint));
        return differs("a job graph with the fingerprint", &here, &there);
    }
    let (to, from) = (own.process, hello.process);
    if from >= own.processes || from <= to {
        return Err(format!(
            "process {to} was greeted by one that says it is process {from}: expected an index above {to} and below {}",
            own.processes
        ));
    }
    if to != 0 && matches!(hello.purpose, Purpose::Control { .. }) {
        return Err(format!(
            "process {from} takes process {to} for process 0: is the order of the addresses the same?"
        ));
    }
    Ok(())
}

fn refuse(shared: &Shared, hello: Option<&Hello>, from: SocketAddr, text: &str) {
    tracing::error!("refused a process at {from}: {text}");
    let process = hello.map(|hello| index(hello.process));
    let mut state = shared.lock();
    if let Some(peer) = process.and_then(|process| state.peers.get_mut(process)) {
        peer.refusal = Some(text.to_owned());
    }
    drop(state);
    shared.emit(ClusterEvent::PeerRefused {
        from,
        reason: text.to_owned(),
    });
}

/// What to answer a process that belongs here: a data connection is welcome while its attempt is being formed.
fn answer_to(shared: &Shared, hello: &Hello) -> Answer {
    let state = shared.lock();
    match hello.purpose {
        Purpose::Control { .. } if state.is_closing => Answer::NotYet,
        Purpose::Control { .. } => Answer::Accepted,
        Purpose::Data { attempt } => match &state.forming {
            Some(forming) if forming.attempt == attempt => Answer::Accepted,
            _ if attempt > state.attempt_seen => Answer::NotYet,
            _ => Answer::Stale,
        },
    }
}

/// Hands a data connection to the attempt that is being formed; if that is over, the connection closes.
pub(super) fn deliver(
    shared: &Shared,
    process: usize,
    attempt: AttemptNumber,
    stream: TcpStream,
) -> io::Result<()> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    let mut state = shared.lock();
    let forming = state
        .forming
        .as_mut()
        .filter(|forming| forming.attempt == attempt);
    if let Some(place) = forming.and_then(|forming| forming.sockets.get_mut(process)) {
        *place = Some(stream);
        shared.changed.notify_all();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(process: u32) -> Hello {
        Hello {
            purpose: Purpose::Control {
                attempt_seen: AttemptNumber(0),
            },
            job_name: "wc".to_owned(),
            process,
            processes: 3,
            slots: 2,
            plan_fingerprint: 0xFEED,
        }
    }

    #[test]
    fn a_mismatch_is_refused_with_both_values() {
        assert_eq!(check(&hello(0), &hello(1)), Ok(()));
        let refused = |own: Hello, other: Hello, texts: [&str; 2]| {
            let text = check(&own, &other).unwrap_err();
            assert!(texts.iter().all(|part| text.contains(part)), "{text}");
        };
        refused(
            hello(0),
            Hello {
                job_name: "other".to_owned(),
                ..hello(1)
            },
            ["'wc'", "'other'"],
        );
        refused(
            hello(0),
            Hello {
                processes: 2,
                ..hello(1)
            },
            ["3", "2"],
        );
        refused(hello(0), Hello { slots: 5, ..hello(1) }, ["2", "5"]);
        refused(
            hello(0),
            Hello {
                plan_fingerprint: 0xBEEF,
                ..hello(1)
            },
            ["000000000000feed", "000000000000beef"],
        );
        refused(hello(0), hello(3), ["process 3", "below 3"]);
        refused(hello(0), hello(0), ["process 0", "above 0"]);
        refused(hello(1), hello(2), ["process 2", "process 1"]);
        let data = Hello {
            purpose: Purpose::Data {
                attempt: AttemptNumber(1),
            },
            ..hello(2)
        };
        assert_eq!(check(&hello(1), &data), Ok(()));
        refused(hello(2), Hello { process: 1, ..data }, ["process 1", "above 2"]);
    }
}
