//! The suite against a plain backend, whole, with defects, and with a panic in the middle.

mod defect;
mod format;
mod panics;
mod reference;
mod storage;

use super::Suite;
use crate::export::{factory_object, panic_text};
use defect::{Defect, SEEN_BY};
use reference::ReferenceFactory;
use std::panic::{AssertUnwindSafe, catch_unwind};

mod plain {
    use super::*;

    crate::contract_tests!(factory_object(ReferenceFactory(Defect::None)));
}

#[test]
fn a_plain_backend_passes_everything_with_its_snapshots_on_disk_too() {
    let suite = Suite::new(|| factory_object(ReferenceFactory(Defect::None)), &[]).with_files_on_disk();
    assert_eq!(suite.run_all(), Ok(()));
}

#[test]
fn each_defect_of_a_backend_is_seen_by_the_scenarios_that_are_about_it() {
    let mut unseen = Vec::new();
    for (defect, scenarios) in SEEN_BY {
        for name in scenarios {
            let suite = Suite::new(move || factory_object(ReferenceFactory(defect)), &[]);
            let Err(payload) = catch_unwind(AssertUnwindSafe(|| suite.run(name))) else {
                unseen.push((defect, name));
                continue;
            };
            let text = panic_text(payload.as_ref());
            assert!(
                text.contains(name) && text.contains("MILLPOND_SEED="),
                "the failure does not say how to repeat it: {text}"
            );
        }
    }
    assert!(
        unseen.is_empty(),
        "scenarios that pass a broken backend: {unseen:?}"
    );
}

#[test]
fn a_run_of_all_scenarios_reports_each_failure_by_name() {
    let suite = Suite::new(|| factory_object(ReferenceFactory(Defect::TakesAnyKind)), &[]);
    let failures = suite.run_all().unwrap_err();
    let names: Vec<&str> = failures
        .iter()
        .map(|failure| failure.split(' ').next().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "registration::a_name_cannot_be_registered_with_another_kind_or_width",
            "registration::a_restored_state_cannot_be_registered_with_another_kind_or_width",
        ]
    );
}

#[test]
fn the_same_seed_gives_the_same_chances() {
    let sequence = |seed| {
        let suite = Suite::new(|| factory_object(ReferenceFactory(Defect::None)), &[]).with_seed(seed);
        suite.random().bytes(32)
    };
    assert_eq!(sequence(7), sequence(7));
    assert_ne!(sequence(7), sequence(8));
}
