//! What holds in any history.

use super::*;
use proptest::prelude::*;

/// One step of a random history. Numbers are reduced to something that exists.
#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Start,
    AttemptFailed,
    User,
    Acks(usize, bool),
    EarlyDecline(usize),
    Persisted(u8),
    SourcesEnded,
    Epoch,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u64..300).prop_map(Step::Wait),
        1 => Just(Step::Start),
        1 => Just(Step::AttemptFailed),
        1 => Just(Step::User),
        4 => (any::<usize>(), prop::bool::weighted(0.2)).prop_map(|(id, decline)| Step::Acks(id, decline)),
        1 => any::<usize>().prop_map(Step::EarlyDecline),
        4 => (0u8..4).prop_map(Step::Persisted),
        1 => Just(Step::SourcesEnded),
        1 => Just(Step::Epoch),
    ]
}

/// What must hold in every history, watched from outside.
#[derive(Default)]
struct Watch {
    running: bool,
    attempt: u64,
    triggered: Vec<u64>,
    answered: BTreeSet<u64>,
    persisting: Option<u64>,
    persisted: BTreeSet<u64>,
    under_way: BTreeSet<u64>,
    named: Vec<u64>,
    highest: u64,
    recorded: u64,
}

impl Watch {
    fn see(&mut self, action: &Action, max_concurrent: usize) {
        match action {
            Action::ReserveIds { below } => self.recorded = below.0,
            Action::Send(command) => {
                assert!(self.running, "{command:?} without an attempt");
                match command {
                    Command::Trigger { id, options, .. } => {
                        assert!(id.0 > self.highest, "numbers rise");
                        assert!(id.0 < self.recorded, "numbers are recorded");
                        self.highest = id.0;
                        self.triggered.push(id.0);
                        self.under_way.insert(id.0);
                        assert!(options.is_final || self.under_way.len() <= max_concurrent);
                    }
                    Command::AdvanceEpoch { to } => {
                        assert!(*to > self.highest + 1);
                        self.highest = to - 1;
                    }
                    Command::Complete { id } => assert!(self.persisted.contains(&id.0), "{id}"),
                    Command::Abort { id, .. } => {
                        assert!(self.triggered.contains(&id.0), "{id}");
                        self.under_way.remove(&id.0);
                        assert!(!self.persisted.contains(&id.0), "{id} was complete");
                    }
                    Command::Stop => {}
                }
            }
            Action::Persist {
                metadata, retained, ..
            } => {
                assert_eq!(self.persisting, None, "one at a time");
                assert!(self.answered.contains(&metadata.id.0));
                assert!(retained.is_sorted() && retained.last() == Some(&metadata.id));
                self.persisting = Some(metadata.id.0);
                self.named = retained.iter().map(|id| id.0).collect();
            }
            Action::DiscardCheckpoint(id) => {
                let kept = self.persisted.contains(&id.0) && self.named.contains(&id.0);
                assert!(!kept, "{id} is still named");
                self.under_way.remove(&id.0);
            }
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_only_persisted_checkpoints_complete(
        steps in prop::collection::vec(step(), 1..120),
        max_concurrent in 1u32..4,
        num_retained in 1usize..4,
    ) {
        let mut settings = settings(100);
        settings.max_concurrent = max_concurrent;
        settings.num_retained = num_retained;
        settings.tolerable_failures = 2;
        let mut coordinator = coordinator(settings);
        let mut watch = Watch::default();
        let mut now = Now { ms: 0, unix_ms: 0 };
        for step in steps {
            let event = match step {
                Step::Wait(ms) => {
                    now.ms += ms;
                    Event::Tick
                }
                Step::Start => {
                    watch.attempt += 1;
                    event(&format!("start {}", watch.attempt))
                }
                Step::AttemptFailed => Event::AttemptFailed,
                Step::User => event("user 1"),
                Step::Acks(index, decline) => {
                    let Some(id) = watch.triggered.get(index % (watch.triggered.len() + 1)).copied() else { continue };
                    watch.answered.insert(id);
                    event(&format!("acks {id}{}", if decline { " storage" } else { "" }))
                }
                Step::EarlyDecline(index) => {
                    let Some(id) = watch.triggered.get(index % (watch.triggered.len() + 1)).copied() else { continue };
                    event(&format!("early {id} storage"))
                }
                Step::Persisted(outcome) => {
                    let Some(id) = watch.persisting.take() else { continue };
                    watch.under_way.remove(&id);
                    match outcome {
                        0 => event(&format!("not-persisted {id}")),
                        1 => event(&format!("maybe-persisted {id}")),
                        _ => {
                            watch.persisted.insert(id);
                            event(&format!("persisted {id}"))
                        }
                    }
                }
                Step::SourcesEnded => Event::AllSourcesFinished,
                Step::Epoch => Event::SourceNeedsEpoch { epoch: watch.highest + 1 },
            };
            match &event {
                Event::AttemptStarted { .. } => watch.running = true,
                Event::AttemptFailed => watch.running = false,
                _ => {}
            }
            for action in coordinator.on(now, event) {
                watch.see(&action, usize::try_from(max_concurrent).unwrap());
            }
            // What is restored is the newest that was persisted, always.
            let latest = coordinator.latest().map(|latest| latest.id().0);
            prop_assert_eq!(latest, watch.persisted.last().copied());
        }
    }
}
