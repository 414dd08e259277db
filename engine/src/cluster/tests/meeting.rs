//! How processes find each other, and who is turned away.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::harness::*;
use crate::ErrorKind;
use crate::cluster::*;

#[test]
fn one_two_and_three_processes_add_up_what_they_exchange() {
    for processes in 1..=3 {
        let addresses = addresses(processes);
        let sessions: Vec<_> = (0..processes)
            .map(|process| connect(&addresses, process))
            .collect();
        assert_eq!(run_job(&sessions, 50), expected_sum(processes, 50));
    }
}

#[test]
fn a_process_of_another_job_or_program_is_refused_and_both_sides_say_why() {
    let others = [
        (
            JobIdentity {
                job_name: "products".to_owned(),
                ..identity()
            },
            ["'sums'", "'products'"],
        ),
        (
            JobIdentity {
                plan_fingerprint: 0xBAD,
                ..identity()
            },
            ["0000000000c0ffee", "0000000000000bad"],
        ),
    ];
    for (other, named) in others {
        let addresses = addresses(2);
        let mut patient = settings(&addresses, 0);
        patient.rejoin_timeout = Duration::from_secs(1);
        let coordinator = ClusterSession::connect(patient, identity()).unwrap();
        let mut events = coordinator.take_events().unwrap();
        let stranger = ClusterSession::connect(settings(&addresses, 1), other).unwrap();

        let refused = stranger.await_attempt().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Configuration);
        let missing = coordinator
            .start_attempt(|attempt| plan(attempt, Work::Endless))
            .unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::Cluster);
        let event = events.try_recv().unwrap();
        assert!(matches!(event, ClusterEvent::PeerRefused { .. }), "{event:?}");
        for text in [refused.to_string(), missing.to_string(), format!("{event:?}")] {
            assert!(named.iter().all(|name| text.contains(name)), "{text}");
        }
    }
}

#[test]
fn a_process_that_speaks_another_version_is_told_both_versions() {
    let addresses = addresses(2);
    let _coordinator = connect(&addresses, 0);
    let mut stranger = TcpStream::connect(&addresses[0]).unwrap();
    stranger
        .write_all(b"MILLPOND\x63\x00\x04\x00\x00\x00v 99")
        .unwrap();
    let mut answer = Vec::new();
    stranger.read_to_end(&mut answer).unwrap();
    let text = String::from_utf8_lossy(&answer[5..]);
    assert_eq!(answer[0], 3);
    assert!(text.contains("version 1,") && text.contains("99"), "{text}");
}

#[test]
fn garbage_at_the_door_does_not_disturb() {
    let addresses = addresses(2);
    let sessions = [connect(&addresses, 0), connect(&addresses, 1)];
    let garbage: [&[u8]; 6] = [
        b"",
        b"GET / HTTP/1.1\r\nHost: millpond\r\n\r\n",
        b"MILLPOND",
        b"MILLPOND\x01\x00\xff\xff\xff\xff",
        b"MILLPOND\x01\x00\x04\x00\x00\x00abcd",
        &[0; 4096],
    ];
    let mut open = Vec::new();
    for (address, bytes) in addresses
        .iter()
        .flat_map(|address| garbage.map(|bytes| (address, bytes)))
    {
        // One that is closed at once, and one that stays open and silent.
        for _ in 0..2 {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(bytes).unwrap();
            open.push(stream);
        }
        open.pop();
    }
    assert_eq!(run_job(&sessions, 20), expected_sum(2, 20));
}

#[test]
fn who_waits_in_vain_names_the_missing_addresses() {
    let addresses = addresses(3);
    let impatient = |process| {
        let mut settings = settings(&addresses, process);
        settings.rejoin_timeout = Duration::from_millis(300);
        ClusterSession::connect(settings, identity()).unwrap()
    };
    let began = Instant::now();
    let error = impatient(0)
        .start_attempt(|attempt| plan(attempt, Work::Endless))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cluster);
    let text = error.to_string();
    assert!(
        text.contains(&addresses[1]) && text.contains(&addresses[2]) && text.contains("300ms"),
        "{text}"
    );

    let text = impatient(2).await_attempt().unwrap_err().to_string();
    assert!(text.contains(&addresses[0]) && text.contains("300ms"), "{text}");
    assert!(began.elapsed() < LIMIT);
}

#[test]
fn an_address_that_is_taken_is_a_configuration_error() {
    let addresses = addresses(2);
    let _first = connect(&addresses, 1);
    let error = ClusterSession::connect(settings(&addresses, 1), identity()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains(&addresses[1]), "{error}");
}
