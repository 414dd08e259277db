//! The rules as scripts: each line is a time in milliseconds, an event, and the actions that it must lead to.

use super::trigger::QUEUE_MAX;
use super::*;
use crate::checkpoint::coordinator::{PersistFailure, Report};
use crate::checkpoint::{
    Ack, Command, DeclineKind, FileLocation, FileRef, KeyedHandle, OperatorId, OperatorMetadata, Retention,
    SavepointFormat, SavepointOptions, StopMode, SubtaskSnapshot,
};

#[path = "tests/attempts.rs"]
mod attempts;
#[path = "tests/completion.rs"]
mod completion;
#[path = "tests/end_of_input.rs"]
mod end_of_input;
#[path = "tests/failures.rs"]
mod failures;
#[path = "tests/histories.rs"]
mod histories;
#[path = "tests/savepoints.rs"]
mod savepoints;
#[path = "tests/shared_files.rs"]
mod shared_files;
#[path = "tests/timing.rs"]
mod timing;

fn settings(interval_ms: u64) -> CheckpointSettings {
    CheckpointSettings {
        interval: (interval_ms > 0).then(|| Duration::from_millis(interval_ms)),
        timeout: Duration::from_millis(1000),
        ..CheckpointSettings::default()
    }
}

fn store(settings: &CheckpointSettings) -> CompletedStore {
    CompletedStore::new(settings.num_retained, Vec::new(), None).unwrap()
}

fn coordinator(settings: CheckpointSettings) -> Coordinator {
    let store = store(&settings);
    Coordinator::new(
        settings,
        "job",
        JobId::random(),
        Lineage::new(),
        CheckpointId::FIRST,
        store,
    )
}

fn operator() -> OperatorId {
    OperatorId::new("a")
}

fn snapshot(file: Option<&str>) -> SubtaskSnapshot {
    let mut snapshot = SubtaskSnapshot::empty(operator(), "A", 0);
    if let Some(path) = file {
        snapshot.keyed.push(KeyedHandle {
            backend: "b".into(),
            key_groups: (0, 127),
            kind: "k".into(),
            files: path
                .split(',')
                .map(|path| FileRef {
                    location: FileLocation::File(path.into()),
                    size: 1,
                    crc32: 1,
                    shared: true,
                })
                .collect(),
            payload: Vec::new(),
            state_bytes: 1,
            new_bytes: 1,
        });
    }
    snapshot
}

fn decline(kind: &str) -> Ack {
    let kind = match kind {
        "storage" => DeclineKind::Storage,
        "too-large" => DeclineKind::StateTooLarge,
        "not-ready" => DeclineKind::NotReady,
        other => panic!("{other}"),
    };
    Ack::Decline {
        operator: operator(),
        operator_name: "A".into(),
        subtask: 0,
        reason: "because".into(),
        kind,
    }
}

fn event(text: &str) -> Event {
    let words: Vec<&str> = text.split(' ').collect();
    let number = || words[1].parse().unwrap();
    let id = || CheckpointId(number());
    match words[0] {
        "start" => Event::AttemptStarted {
            attempt: number(),
            operators: vec![OperatorInfo {
                id: operator(),
                name: "A".into(),
                parallelism: 1,
                max_parallelism: 128,
                sources: Vec::new(),
            }],
            first_delay: words.get(2).map_or(1.0, |delay| delay.parse().unwrap()),
        },
        "failed" => Event::AttemptFailed,
        "cancel" => Event::Cancel,
        "tick" => Event::Tick,
        "cleaned" => Event::Cleaned,
        "sources-ended" => Event::AllSourcesFinished,
        "epoch" => Event::SourceNeedsEpoch { epoch: number() },
        "user" => Event::UserTrigger {
            request: RequestId(number()),
            kind: SnapshotKind::Checkpoint,
        },
        "savepoint" | "stop" | "drain" => Event::UserTrigger {
            request: RequestId(number()),
            kind: SnapshotKind::Savepoint(SavepointOptions {
                folder: format!("/s/{}", number()),
                format: SavepointFormat::Canonical,
                stop: match words[0] {
                    "stop" => Some(StopMode::Suspend),
                    "drain" => Some(StopMode::Drain),
                    _ => None,
                },
            }),
        },
        "acks" => Event::Acks {
            id: id(),
            acks: match words.get(2) {
                None => vec![Ack::Snapshot(snapshot(None))],
                Some(&"none") => Vec::new(),
                Some(path) if path.contains('/') => vec![Ack::Snapshot(snapshot(Some(path)))],
                Some(kind) => vec![Ack::Snapshot(snapshot(None)), decline(kind)],
            },
        },
        "early" => Event::EarlyDecline {
            id: id(),
            ack: decline(words[2]),
        },
        "persisted" => Event::Persisted {
            id: id(),
            result: Ok(None),
        },
        "not-persisted" | "maybe-persisted" | "persisted-fenced" => Event::Persisted {
            id: id(),
            result: Err(PersistFailure {
                reason: "disk full".into(),
                unknown_outcome: words[0] != "not-persisted",
                fenced: words[0] == "persisted-fenced",
            }),
        },
        "not-reserved" | "not-reserved-fenced" => Event::ReserveFailed {
            reason: "disk full".into(),
            fenced: words[0] == "not-reserved-fenced",
        },
        other => panic!("{other}"),
    }
}

fn render(action: &Action) -> Option<String> {
    Some(match action {
        Action::Send(Command::Trigger { id, options, .. }) => {
            let kind = match &options.kind {
                SnapshotKind::Checkpoint => "",
                SnapshotKind::FullCheckpoint => "-full",
                SnapshotKind::Savepoint(savepoint) => match savepoint.stop {
                    None => "-savepoint",
                    Some(StopMode::Suspend) => "-stop",
                    Some(StopMode::Drain) => "-drain",
                },
                SnapshotKind::CommitOnly => "-commit",
            };
            let last = if options.is_final { "-final" } else { "" };
            format!("trigger{kind}{last} {id}")
        }
        Action::Send(Command::Complete { id }) => format!("complete {id}"),
        Action::Send(Command::Abort { id, latest_completed }) => match latest_completed {
            None => format!("abort {id}"),
            Some(latest) => format!("abort {id} after {latest}"),
        },
        Action::Send(Command::AdvanceEpoch { to }) => format!("advance {to}"),
        Action::Send(Command::Stop) => "stop".into(),
        // Tested on its own.
        Action::ReserveIds { .. } => return None,
        Action::Persist {
            metadata, retained, ..
        } => {
            let retained: Vec<_> = retained.iter().map(ToString::to_string).collect();
            format!("persist {} keep {}", metadata.id, retained.join(" "))
        }
        Action::PersistSavepoint {
            metadata,
            savepoint,
            retained,
        } => {
            assert!(metadata.is_savepoint);
            let keep = retained.iter().flat_map(|(ids, _)| ids);
            let keep: Vec<_> = keep.map(|id| format!(" keep {id}")).collect();
            format!("save {} {}{}", metadata.id, savepoint.folder, keep.concat())
        }
        Action::DiscardSavepoint(folder) => format!("remove {folder}"),
        Action::DiscardCheckpoint(id) => format!("discard {id}"),
        Action::DiscardClaimed(metadata) => format!("dispose {metadata}"),
        Action::DiscardFiles(files) => format!("delete {}", files.join(" ")),
        Action::Fail(cause) => format!("fail {:?}", cause.kind),
        Action::Reply { request, result } => match result {
            Ok((id, _)) => format!("reply {} checkpoint {id}", request.0),
            Err(_) => format!("reply {} failed", request.0),
        },
        Action::Report(Report::LateAcks(id)) => format!("late {id}"),
        Action::Report(_) => return None,
    })
}

fn script_cleans(script: &[(u64, &str, &str)]) -> bool {
    script.iter().any(|(_, text, _)| *text == "cleaned")
}

fn run(coordinator: &mut Coordinator, script: &[(u64, &str, &str)]) {
    for (line, (ms, text, expected)) in script.iter().enumerate() {
        let now = Now {
            ms: *ms,
            unix_ms: 1_000_000 + ms,
        };
        let actions = coordinator.on(now, event(text));
        let mut found: Vec<_> = actions.iter().filter_map(render).collect();
        // Deleting keeps up, but where a script says otherwise.
        let discards = actions
            .iter()
            .filter(|action| matches!(action, Action::DiscardCheckpoint(_)));
        for _ in 0..discards.count() * usize::from(!script_cleans(script)) {
            found.extend(coordinator.on(now, Event::Cleaned).iter().filter_map(render));
        }
        assert_eq!(found.join(", "), *expected, "line {line}: at {ms}: {text}");
    }
}
