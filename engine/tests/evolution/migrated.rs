//! What migrates.

use crate::job::{Job, Release};
use millpond_engine::state::ttl::ManualTtlTime;
use millpond_engine::state::{ListState, MapState, StateRegistry, StateTtlConfig, ValueState};
use millpond_engine::{ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const BACKENDS: [&str; 2] = ["hashmap", "filesystem"];
const BEGIN: i64 = 1_000_000;

struct Timed<V, L, M> {
    value: ValueState<V>,
    list: ListState<L>,
    map: MapState<u8, M>,
}

fn ttl() -> StateTtlConfig {
    StateTtlConfig::new_builder(Duration::from_millis(100))
        .build()
        .unwrap()
}

#[test]
fn values_elements_and_entries_with_a_ttl_keep_their_times_when_they_migrate() {
    let first: Release<u64, Timed<u16, String, u32>> = Release {
        key: |record| record % 5,
        open: |states| {
            let mut states = states.with_ttl(&ttl());
            Ok(Timed {
                value: states.value_state("value")?,
                list: states.list_state("list")?,
                map: states.map_state("map")?,
            })
        },
        answer: |states, record, context| {
            states.value.update(context, &7)?;
            states.list.add(context, &record.to_string())?;
            states.map.put(context, &(record as u8), &9)?;
            Ok(String::new())
        },
    };
    let second: Release<u64, Timed<(u64, String), (u8, String), u64>> = Release {
        key: |record| record % 5,
        open: |states| {
            let mut states = states.with_ttl(&ttl());
            Ok(Timed {
                value: states
                    .with_migration(|number: u16| (u64::from(number), "new".to_owned()))
                    .value_state("value")?,
                list: states
                    .with_migration(|text: String| (1_u8, text + "!"))
                    .list_state("list")?,
                map: states.map_state("map")?,
            })
        },
        answer: |states, _, context| {
            Ok(format!(
                "{:?} {:?} {:?}",
                states.value.value(context)?,
                states.list.get(context)?,
                states.map.entries(context)?
            ))
        },
    };
    for backend in BACKENDS {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualTtlTime::at(BEGIN);
        let job = Job::start(backend, folder.path(), None, &clock, &first);
        job.ask(1);
        clock.set(BEGIN + 60);
        job.ask(6);
        job.ask(2);
        let savepoint = job.end();

        clock.set(BEGIN + 100);
        let job = Job::start(backend, folder.path(), Some(&savepoint), &clock, &second);
        // What was written at the beginning has expired, and the value was written again.
        assert_eq!(
            job.ask(1),
            r#"Some((7, "new")) [(1, "6!")] [(6, 9)]"#,
            "{backend}"
        );
        assert_eq!(
            job.ask(2),
            r#"Some((7, "new")) [(1, "2!")] [(2, 9)]"#,
            "{backend}"
        );
        clock.set(BEGIN + 160);
        assert_eq!(job.ask(2), "None [] []", "{backend}");
        job.end();
    }
}

fn number(states: &mut StateRegistry<'_>, name: &str) -> Result<ValueState<u64>> {
    states.value_state(name)
}

/// How often the function below was called.
static CALLED: AtomicU64 = AtomicU64::new(0);

#[test]
fn a_migration_is_over_with_the_next_snapshot_and_states_that_are_not_registered_come_along() {
    let first: Release<u64, [ValueState<u64>; 2]> = Release {
        key: |record| record % 5,
        open: |states| Ok([number(states, "changed")?, number(states, "unknown")?]),
        answer: |[changed, unknown], record, context| {
            changed.update(context, &record)?;
            unknown.update(context, &(record + 1))?;
            Ok(String::new())
        },
    };
    let second: Release<u64, ValueState<String>> = Release {
        key: |record| record % 5,
        open: |states| {
            states
                .with_migration(|number: u64| {
                    CALLED.fetch_add(1, Ordering::Relaxed);
                    number.to_string()
                })
                .value_state("changed")
        },
        answer: |changed, _, context| Ok(format!("{:?}", changed.value(context)?)),
    };
    let third: Release<u64, (ValueState<String>, ValueState<u64>)> = Release {
        key: |record| record % 5,
        open: |states| Ok((states.value_state("changed")?, number(states, "unknown")?)),
        answer: |(changed, unknown), _, context| {
            Ok(format!(
                "{:?} {:?}",
                changed.value(context)?,
                unknown.value(context)?
            ))
        },
    };
    for backend in BACKENDS {
        CALLED.store(0, Ordering::Relaxed);
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualTtlTime::at(0);
        let job = Job::start(backend, folder.path(), None, &clock, &first);
        for record in 0..5 {
            job.ask(record);
        }
        let mut savepoint = job.end();
        for _ in 0..2 {
            let job = Job::start(backend, folder.path(), Some(&savepoint), &clock, &second);
            assert_eq!(job.ask(3), "Some(\"3\")");
            savepoint = job.end();
            // Only the first time.
            assert_eq!(CALLED.load(Ordering::Relaxed), 5);
        }
        let job = Job::start(backend, folder.path(), Some(&savepoint), &clock, &third);
        assert_eq!(job.ask(3), "Some(\"3\") Some(4)");
        job.end();
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Second {
    text: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct Third {
    text: String,
    #[serde(default)]
    more: Option<u8>,
}

#[test]
fn functions_of_several_releases_lead_from_the_oldest_to_the_newest() {
    let first: Release<u64, ValueState<u64>> = Release {
        key: |record| *record,
        open: |states| number(states, "state"),
        answer: |state, record, context| state.update(context, &record).map(|()| String::new()),
    };
    let fourth: Release<u64, ValueState<(Option<u8>, String)>> = Release {
        key: |record| *record,
        open: |states| {
            states
                .with_migration(|number: u64| Second {
                    text: number.to_string(),
                })
                .with_migration(|old: Second| Third {
                    text: old.text + ".",
                    more: Some(1),
                })
                .with_migration(|old: Third| (old.more, old.text + "."))
                .value_state("state")
        },
        answer: |state, _, context| Ok(format!("{:?}", state.value(context)?)),
    };
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualTtlTime::at(0);
    let job = Job::start("hashmap", folder.path(), None, &clock, &first);
    job.ask(8);
    let savepoint = job.end();
    let job = Job::start("hashmap", folder.path(), Some(&savepoint), &clock, &fourth);
    assert_eq!(job.ask(8), "Some((Some(1), \"8..\"))");
    job.end();
}

#[test]
fn an_element_that_becomes_nothing_is_refused_and_the_savepoint_stays_good() {
    let first: Release<u64, ListState<u64>> = Release {
        key: |record| *record,
        open: |states| states.list_state("list"),
        answer: |list, record, context| {
            list.add(context, &record)?;
            Ok(format!("{:?}", list.get(context)?))
        },
    };
    let second: Release<u64, ListState<()>> = Release {
        key: |record| *record,
        open: |states| states.with_migration(|_: u64| ()).list_state("list"),
        answer: |_, _, _| Ok(String::new()),
    };
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualTtlTime::at(0);
    let job = Job::start("filesystem", folder.path(), None, &clock, &first);
    job.ask(8);
    let savepoint = job.end();
    let error = Job::start("filesystem", folder.path(), Some(&savepoint), &clock, &second).failure();
    assert_eq!(error.kind(), ErrorKind::Restore, "{error}");
    let shown = error.to_string();
    for named in [
        "operator 'Worker' (uid 'worker', subtask 0)",
        "state 'list'",
        "at least one byte",
    ] {
        assert!(shown.contains(named), "{named} is not in: {shown}");
    }
    let job = Job::start("filesystem", folder.path(), Some(&savepoint), &clock, &first);
    assert_eq!(job.ask(8), "[8, 8]");
    job.end();
}
