//! Which shared files are deleted, and when: never one that something may need, and in the end all the others.

use super::*;
use proptest::prelude::*;

fn two_at_once(num_retained: usize) -> CheckpointSettings {
    CheckpointSettings {
        max_concurrent: 2,
        num_retained,
        tolerable_failures: 9,
        ..settings(100)
    }
}

#[test]
fn a_file_that_a_checkpoint_under_way_may_name_outlives_the_one_that_named_it() {
    // 3 is triggered while 1 is the latest, and builds on it, though 2 completes before it answers.
    run(
        &mut coordinator(two_at_once(1)),
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (110, "acks 1 shared/1", "persist 1 keep 1"),
            (120, "persisted 1", "complete 1"),
            (200, "tick", "trigger 2"),
            (300, "tick", "trigger 3"),
            (310, "acks 2 shared/2", "persist 2 keep 2"),
            (320, "persisted 2", "complete 2, discard 1"),
            (330, "acks 3 shared/1,shared/3", "persist 3 keep 3"),
            (340, "persisted 3", "complete 3, discard 2, delete shared/2"),
            (400, "tick", "trigger 4"),
            (410, "acks 4 shared/3,shared/4", "persist 4 keep 4"),
            (420, "persisted 4", "complete 4, discard 3, delete shared/1"),
        ],
    );
}

#[test]
fn it_goes_when_that_checkpoint_ends_in_whatever_way() {
    for (at, end, expected) in [
        (
            330,
            "early 3 storage",
            "abort 3 after 2, discard 3, delete shared/1",
        ),
        (
            330,
            "acks 3 storage",
            "abort 3 after 2, discard 3, delete shared/1",
        ),
        (
            1300,
            "tick",
            "abort 3 after 2, discard 3, delete shared/1, trigger 4",
        ),
        (330, "failed", "discard 3, delete shared/1"),
        (330, "start 2", "discard 3, delete shared/1"),
        (330, "cancel", "discard 3, delete shared/1"),
    ] {
        let mut coordinator = coordinator(two_at_once(1));
        run(
            &mut coordinator,
            &[
                (0, "start 1", ""),
                (100, "tick", "trigger 1"),
                (110, "acks 1 shared/1", "persist 1 keep 1"),
                (120, "persisted 1", "complete 1"),
                (200, "tick", "trigger 2"),
                (300, "tick", "trigger 3"),
                (310, "acks 2 shared/2", "persist 2 keep 2"),
                (320, "persisted 2", "complete 2, discard 1"),
                (at, end, expected),
            ],
        );
    }
}

#[test]
fn a_checkpoint_that_is_whole_keeps_its_files_while_it_waits_to_be_written() {
    run(
        &mut coordinator(two_at_once(1)),
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (200, "tick", "trigger 2"),
            (210, "acks 1 shared/1", "persist 1 keep 1"),
            (211, "acks 2 shared/1,shared/2", ""),
            // The attempt ends; both are written all the same.
            (212, "failed", ""),
            (220, "persisted 1", "persist 2 keep 2"),
            (230, "persisted 2", "discard 1"),
            (300, "start 2", ""),
            (400, "tick", "trigger 3"),
            (410, "acks 3 shared/2", "persist 3 keep 3"),
            (420, "persisted 3", "complete 3, discard 2, delete shared/1"),
        ],
    );
}

#[test]
fn files_of_checkpoints_that_came_to_nothing_are_deleted_as_soon_as_nothing_can_name_them() {
    run(
        &mut coordinator(two_at_once(1)),
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (110, "early 1 storage", "abort 1, discard 1"),
            (120, "acks 1 shared/late", "late 1, discard 1, delete shared/late"),
            (200, "tick", "trigger 2"),
            (210, "acks 2 shared/2", "persist 2 keep 2"),
            (220, "persisted 2", "complete 2"),
            (300, "tick", "trigger 3"),
            (310, "early 3 storage", "abort 3 after 2, discard 3"),
            (320, "acks 3 shared/2,shared/3", "late 3, discard 3"),
            (400, "tick", "trigger 4"),
            (410, "acks 4 shared/2,shared/4", "persist 4 keep 4"),
            (420, "persisted 4", "complete 4, discard 2, delete shared/3"),
            // Answers from long ago: nothing of theirs is needed.
            (430, "acks 1 shared/1", "late 1, discard 1, delete shared/1"),
        ],
    );
}

#[test]
fn files_of_a_checkpoint_that_may_have_been_published_stay_until_that_is_settled() {
    let mut coordinator = coordinator(two_at_once(1));
    run(
        &mut coordinator,
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (110, "acks 1 shared/1", "persist 1 keep 1"),
            (120, "maybe-persisted 1", "abort 1"),
            (130, "failed", ""),
            (140, "start 2", ""),
            (240, "tick", "trigger 2"),
            (250, "acks 2 shared/2", "persist 2 keep 2"),
            (260, "persisted 2", "complete 2, discard 1, delete shared/1"),
        ],
    );
}

#[test]
fn more_than_one_retained_checkpoint_keeps_what_any_of_them_names() {
    run(
        &mut coordinator(CheckpointSettings {
            max_concurrent: 1,
            ..two_at_once(2)
        }),
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (110, "acks 1 shared/1", "persist 1 keep 1"),
            (120, "persisted 1", "complete 1"),
            (200, "tick", "trigger 2"),
            (210, "acks 2 shared/1,shared/2", "persist 2 keep 1 2"),
            (220, "persisted 2", "complete 2"),
            (300, "tick", "trigger 3"),
            (310, "acks 3 shared/3", "persist 3 keep 2 3"),
            (320, "persisted 3", "complete 3, discard 1"),
            (400, "tick", "trigger 4"),
            (410, "acks 4 shared/3,shared/4", "persist 4 keep 3 4"),
            (
                420,
                "persisted 4",
                "complete 4, discard 2, delete shared/1 shared/2",
            ),
        ],
    );
}

/// A step of a random history of one attempt after the other.
#[derive(Clone, Debug)]
enum Move {
    /// A while passes.
    Wait,
    /// The oldest, or another, of the checkpoints that were triggered is answered; with a decline.
    Answer(usize, bool),
    /// Publication ends: refused, unknown, or well.
    Persisted(u8),
    /// The attempt ends and another begins.
    Restart,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => Just(Move::Wait),
        5 => (0usize..4, prop::bool::weighted(0.2)).prop_map(|(index, decline)| Move::Answer(index, decline)),
        5 => (0u8..5).prop_map(Move::Persisted),
        1 => Just(Move::Restart),
    ];
    prop::collection::vec(one, 1..150)
}

/// The file that is written for a checkpoint; names sort like numbers.
fn file_of(id: u64) -> String {
    format!("shared/{id:09}")
}

/// Plays subtasks whose backend builds on any checkpoint that was retained when it was asked.
#[derive(Default)]
struct Backend {
    attempt: u64,
    /// The files of each checkpoint that was triggered.
    names: BTreeMap<u64, BTreeSet<String>>,
    unanswered: Vec<u64>,
    persisting: Option<u64>,
    /// What was named when the publication began, and what is certainly or possibly named now.
    announced: Vec<u64>,
    named: BTreeSet<u64>,
    written: BTreeSet<String>,
    deleted: BTreeSet<String>,
}

impl Backend {
    fn see(&mut self, action: &Action, retained: &[CheckpointId]) {
        match action {
            Action::Send(Command::Trigger { id, .. }) => {
                let new = file_of(id.0);
                self.written.insert(new.clone());
                // Which of the retained ones does not matter to the coordinator, so it is not told: take different ones.
                let pick = usize::try_from(id.0).unwrap_or(0) % (retained.len() + 1);
                let mut names = BTreeSet::from([new]);
                if let Some(base) = retained.get(pick) {
                    names.extend(self.names[&base.0].iter().cloned());
                    // What the base folded away.
                    let surplus = names.len().saturating_sub(3);
                    names = names.into_iter().skip(surplus).collect();
                }
                self.names.insert(id.0, names);
                self.unanswered.push(id.0);
            }
            Action::Persist {
                metadata, retained, ..
            } => {
                for file in &self.names[&metadata.id.0] {
                    assert!(!self.deleted.contains(file), "{file} of {} is gone", metadata.id);
                }
                self.persisting = Some(metadata.id.0);
                self.announced = retained.iter().map(|id| id.0).collect();
            }
            Action::DiscardFiles(files) => {
                for file in files {
                    for id in &self.named {
                        assert!(!self.names[id].contains(file), "checkpoint {id} names {file}");
                    }
                    self.deleted.insert(file.clone());
                }
            }
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn no_file_is_deleted_that_is_needed_and_none_is_left(
        moves in moves(),
        max_concurrent in 1u32..4,
        num_retained in 1usize..4,
    ) {
        let mut settings = two_at_once(num_retained);
        settings.max_concurrent = max_concurrent;
        settings.tolerable_failures = u32::MAX;
        let mut coordinator = coordinator(settings);
        let mut backend = Backend { attempt: 1, ..Backend::default() };
        let mut now = Now { ms: 0, unix_ms: 0 };
        let mut events = VecDeque::from([event("start 1")]);
        for step in moves {
            match step {
                Move::Wait => {
                    now.ms += 120;
                    events.push_back(Event::Tick);
                }
                Move::Answer(index, declined) => {
                    if backend.unanswered.is_empty() { continue }
                    let id = backend.unanswered.remove(index % backend.unanswered.len());
                    let files: Vec<_> = backend.names[&id].iter().cloned().collect();
                    let mut acks = vec![Ack::Snapshot(snapshot(Some(&files.join(","))))];
                    if declined {
                        acks.push(decline("storage"));
                    }
                    events.push_back(Event::Acks { id: CheckpointId(id), acks });
                }
                Move::Persisted(outcome) => {
                    let Some(id) = backend.persisting.take() else { continue };
                    let announced: BTreeSet<u64> = backend.announced.drain(..).collect();
                    events.push_back(match outcome {
                        0 => event(&format!("not-persisted {id}")),
                        1 => {
                            // Either may be what is named.
                            backend.named.extend(announced);
                            event(&format!("maybe-persisted {id}"))
                        }
                        _ => {
                            backend.named = announced;
                            event(&format!("persisted {id}"))
                        }
                    });
                }
                Move::Restart => {
                    // What is whole is written before the next attempt begins.
                    if backend.persisting.is_some() { continue }
                    backend.attempt += 1;
                    events.push_back(Event::AttemptFailed);
                    events.push_back(event(&format!("start {}", backend.attempt)));
                }
            }
            while let Some(event) = events.pop_front() {
                let actions = coordinator.on(now, event);
                let retained = coordinator.store().retained();
                for action in actions {
                    backend.see(&action, &retained);
                }
            }
        }
        // What was never answered is found by a look into the folder.
        for action in coordinator.finish(JobEnd::Finished) {
            if let Action::DiscardFiles(files) = action {
                backend.deleted.extend(files);
            }
        }
        let unheard: BTreeSet<_> = backend.unanswered.iter().map(|id| file_of(*id)).collect();
        let left: BTreeSet<_> = backend.written.difference(&backend.deleted).cloned().collect();
        prop_assert!(left.is_subset(&unheard), "{left:?}");
    }
}
