//! What is refused, with all that one has to know of it.

use crate::job::{Job, Release};
use millpond_engine::ErrorKind;
use millpond_engine::api::Data;
use millpond_engine::state::ttl::ManualTtlTime;
use millpond_engine::state::{ListState, MapState, Namespaced, ValueState};
use std::path::{Path, PathBuf};

const BACKENDS: [&str; 2] = ["hashmap", "filesystem"];

/// That `second` cannot go on with what `first` has stored, in words that have all of `named`; and that `first` can.
#[track_caller]
fn refuses<K: Data, S: Send + Sync + 'static, L: Data, T: Send + Sync + 'static>(
    first: &Release<K, S>,
    second: &Release<L, T>,
    named: &[&str],
) {
    for backend in BACKENDS {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualTtlTime::at(0);
        let job = Job::start(backend, folder.path(), None, &clock, first);
        job.ask(1);
        let savepoint = job.end();
        let error = Job::start(backend, folder.path(), Some(&savepoint), &clock, second).failure();
        assert_eq!(error.kind(), ErrorKind::Restore, "{error}");
        let shown = error.to_string();
        for text in named
            .iter()
            .chain(&["operator 'Worker' (uid 'worker', subtask 0)"])
        {
            assert!(shown.contains(text), "{text} is not in: {shown}");
        }
        let job = Job::start(backend, folder.path(), Some(&savepoint), &clock, first);
        job.ask(1);
        job.end();
    }
}

const VALUE: Release<u64, ValueState<u64>> = Release {
    key: |record| *record,
    open: |states| states.value_state("state"),
    answer: |state, record, context| state.update(context, &record).map(|()| String::new()),
};

#[test]
fn a_key_of_another_type_also_where_no_state_or_no_known_state_is_registered() {
    let value: Release<u32, ValueState<u64>> = Release {
        key: |record| *record as u32,
        open: |states| states.with_migration(|key: u64| key as u32).value_state("state"),
        answer: |_, _, _| Ok(String::new()),
    };
    let named = [
        "state 'state'",
        "key millpond version 1, `u64`",
        "key millpond version 1, `u32`",
        "Keys cannot migrate",
    ];
    refuses(&VALUE, &value, &named);
    let nothing: Release<u32, ()> = Release {
        key: |record| *record as u32,
        open: |_| Ok(()),
        answer: |_, _, _| Ok(String::new()),
    };
    refuses(&VALUE, &nothing, &named);
}

#[test]
fn timers_under_a_key_of_another_type() {
    let first: Release<u64, ()> = Release {
        key: |record| *record,
        open: |_| Ok(()),
        answer: |(), _, context| {
            context.register_event_time_timer(7)?;
            Ok(String::new())
        },
    };
    let second: Release<String, ()> = Release {
        key: u64::to_string,
        open: |_| Ok(()),
        answer: |(), _, _| Ok(String::new()),
    };
    refuses(&first, &second, &["'_timers/event-time'", "`u64`", "`string`"]);
}

#[test]
fn another_kind_of_state_and_map_keys_of_another_type() {
    let list: Release<u64, ListState<u64>> = Release {
        key: |record| *record,
        open: |states| states.list_state("state"),
        answer: |_, _, _| Ok(String::new()),
    };
    refuses(
        &VALUE,
        &list,
        &[
            "list state 'state'",
            "stored as a value state",
            "under another name",
        ],
    );
    let narrow: Release<u64, MapState<u8, u64>> = Release {
        key: |record| *record,
        open: |states| states.map_state("state"),
        answer: |state, record, context| state.put(context, &1, &record).map(|()| String::new()),
    };
    let wide: Release<u64, MapState<u16, u64>> = Release {
        key: |record| *record,
        open: |states| states.with_migration(|key: u8| u16::from(key)).map_state("state"),
        answer: |_, _, _| Ok(String::new()),
    };
    let named = [
        "map state 'state'",
        "its map key is stored as millpond version 1, `u8`",
        "registered as millpond version 1, `u16`",
        "a map key cannot migrate",
    ];
    refuses(&narrow, &wide, &named);
}

#[test]
fn one_name_for_two_types() {
    let twice: Release<u64, ()> = Release {
        key: |record| *record,
        open: |states| {
            states.value_state::<u64>("state")?;
            // The same again is the same state.
            states.value_state::<u64>("state")?;
            states.value_state::<i64>("state")?;
            Ok(())
        },
        answer: |(), _, _| Ok(String::new()),
    };
    let folder = tempfile::tempdir().unwrap();
    for from in [None, Some(stored(folder.path()))] {
        let clock = ManualTtlTime::at(0);
        let error = Job::start("hashmap", folder.path(), from.as_deref(), &clock, &twice).failure();
        let shown = error.to_string();
        for text in ["'state' is registered twice", "value u64", "value i64"] {
            assert!(shown.contains(text), "{text} is not in: {shown}");
        }
    }
}

/// A savepoint of a job with the state of [`VALUE`].
fn stored(folder: &Path) -> PathBuf {
    let job = Job::start("hashmap", folder, None, &ManualTtlTime::at(0), &VALUE);
    job.ask(1);
    job.end()
}

#[test]
fn namespaces_of_another_type_and_none() {
    let first: Release<u64, Namespaced<u32, ValueState<u64>>> = Release {
        key: |record| *record,
        open: |states| states.with_namespaces().value_state("state"),
        answer: |state, record, context| {
            state.at(context, &7)?.update(context, &record)?;
            let other = state.at(context, &8)?.value(context)?;
            let same = state.at(context, &7)?.value(context)?;
            Ok(format!("{other:?} {same:?}"))
        },
    };
    let second: Release<u64, Namespaced<u64, ValueState<u64>>> = Release {
        key: |record| *record,
        open: |states| states.with_namespaces().value_state("state"),
        answer: |_, _, _| Ok(String::new()),
    };
    let named = [
        "its namespace is stored as",
        "`u32`",
        "`u64`",
        "a namespace cannot migrate",
    ];
    refuses(&first, &second, &named);
    refuses(
        &first,
        &VALUE,
        &["stored with namespaces", "registered without namespaces"],
    );
    refuses(
        &VALUE,
        &first,
        &["stored without namespaces", "registered with namespaces"],
    );
}

#[test]
fn a_value_that_nothing_leads_to() {
    let narrower: Release<u64, ValueState<u32>> = Release {
        key: |record| *record,
        open: |states| {
            // Neither of these leads there from what is stored.
            states
                .with_migration(|text: String| text.len() as u32)
                .with_migration(|number: u64| number.to_le_bytes())
                .value_state("state")
        },
        answer: |_, _, _| Ok(String::new()),
    };
    let named = [
        "value state 'state'",
        "stored as millpond version 1, `u64`",
        "registered as millpond version 1, `u32`",
        "cannot be derived",
        "StateRegistry::with_migration",
    ];
    refuses(&VALUE, &narrower, &named);
}
