//! `tests/CONFORMANCE.md` is true: the tests that it names exist and are run, no scenario is left out, and what it counts is right.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../CONFORMANCE.md");
/// How many entries Flink's part of the list has; those in parts have letters behind their number.
const ENTRIES: u32 = 125;
/// How many scenarios must be covered at least.
const COVERED_MIN: usize = 100;
/// What a named test begins with in the sources, for the marks of tests that are run by default.
const MARKS: [&str; 2] = ["#[test]", "#[tokio::test"];

/// How a scenario fares here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Covered,
    DoesNotApply,
    Missing,
}

/// A row of the tables.
#[derive(Debug)]
struct Scenario<'a> {
    id: &'a str,
    verdict: Verdict,
    /// As `path::function`.
    tests: Vec<&'a str>,
}

/// The rows of all tables of a page.
fn scenarios(page: &str) -> Result<Vec<Scenario<'_>>, String> {
    page.lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| |"))
        .map(scenario)
        .collect()
}

fn scenario(line: &str) -> Result<Scenario<'_>, String> {
    let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [id, flink, _, here] = cells[..] else {
        return Err(format!("{line}: {} cells instead of 4", cells.len()));
    };
    let tests: Vec<_> = here
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|text| text.contains("::"))
        .collect();
    let reason = |after: &str| {
        here.strip_prefix(after)
            .is_some_and(|reason| !reason.trim().is_empty())
    };
    let verdict = if reason("Does not apply:") {
        Verdict::DoesNotApply
    } else if reason("Missing:") {
        Verdict::Missing
    } else {
        Verdict::Covered
    };
    if flink.is_empty() || (verdict == Verdict::Covered) == tests.is_empty() {
        return Err(format!("{id}: {verdict:?}, and {} tests are named", tests.len()));
    }
    Ok(Scenario { id, verdict, tests })
}

/// The number of a scenario without the letter of its part.
fn entry(id: &str) -> &str {
    id.trim_end_matches(|letter: char| letter.is_ascii_lowercase())
}

/// That numbers come in order, none is left out and none comes twice.
fn check_numbers<'a>(ids: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let (mut seen, mut last) = (BTreeSet::new(), 0);
    for id in ids {
        if !seen.insert(id) {
            return Err(format!("{id} comes twice"));
        }
        let Ok(number) = entry(id).parse::<u32>() else {
            continue; // of group X
        };
        if number != last && number != last + 1 {
            return Err(format!("{id} comes after {last}"));
        }
        last = number;
    }
    if last == ENTRIES {
        Ok(())
    } else {
        Err(format!("the last one is {last}, not {ENTRIES}"))
    }
}

/// The sentence that counts, as it must be.
fn counts(scenarios: &[Scenario<'_>]) -> String {
    let count = |verdict| {
        scenarios
            .iter()
            .filter(|scenario| scenario.verdict == verdict)
            .count()
    };
    format!(
        "Scenarios: {}. Covered by named tests: {}. Do not apply: {}. Missing: {}.",
        scenarios.len(),
        count(Verdict::Covered),
        count(Verdict::DoesNotApply),
        count(Verdict::Missing),
    )
}

/// What is wrong with a name of a test, if anything. `read` gives the text of a file of the repository.
fn fault_of(name: &str, read: &mut impl FnMut(&str) -> Option<String>) -> Option<String> {
    let Some((path, function)) = name
        .split_once(".rs::")
        .map(|(path, name)| (format!("{path}.rs"), name))
    else {
        return Some(format!("{name}: not as path.rs::function"));
    };
    let Some(source) = read(&path) else {
        return Some(format!("{name}: there is no file {path}"));
    };
    let head = format!("fn {function}(");
    let Some(at) = source.find(&head) else {
        return Some(format!("{name}: {path} has no function {function}"));
    };
    let line = source[..at].rfind('\n').map_or(0, |end| end + 1);
    let attributes: Vec<_> = source[..line]
        .lines()
        .rev()
        .map(str::trim)
        .take_while(|line| line.starts_with("#[") || line.starts_with("//"))
        .collect();
    let has = |mark: &str| attributes.iter().any(|line| line.starts_with(mark));
    if has("#[ignore") {
        return Some(format!("{name}: is not run by default"));
    }
    if MARKS.into_iter().any(has) || is_listed(&path, function, &source, read) {
        return None;
    }
    Some(format!("{name}: is a function, but no test"))
}

/// Whether a macro makes a test of the function: it is in the list of the contract's scenarios or of what every storage does, as a word on a line of its own.
fn is_listed(
    path: &str,
    function: &str,
    source: &str,
    read: &mut impl FnMut(&str) -> Option<String>,
) -> bool {
    let of_the_contract = path.strip_prefix("backend-api/src/contract/scenarios/");
    let list = match of_the_contract {
        Some(_) => read("backend-api/src/contract/mod.rs").unwrap_or_default(),
        None => source
            .split_once("every_storage!(")
            .map_or_else(String::new, |(_, list)| list.to_owned()),
    };
    list.lines()
        .any(|line| line.trim().trim_end_matches(',') == function)
}

#[test]
fn the_page_names_tests_that_exist_and_counts_right() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut sources: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut read = |path: &str| {
        let read = || fs::read_to_string(root.join(path)).ok();
        sources.entry(path.to_owned()).or_insert_with(read).clone()
    };
    let scenarios = scenarios(PAGE).unwrap();
    check_numbers(scenarios.iter().map(|scenario| scenario.id)).unwrap();
    let faults: Vec<_> = scenarios
        .iter()
        .flat_map(|scenario| &scenario.tests)
        .filter_map(|name| fault_of(name, &mut read))
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
    let counts = counts(&scenarios);
    assert!(PAGE.contains(&counts), "the page must say: {counts}");
    let covered = scenarios
        .iter()
        .filter(|scenario| scenario.verdict == Verdict::Covered)
        .count();
    assert!(covered >= COVERED_MIN, "{covered}");
}

#[test]
fn a_name_that_is_wrong_is_noticed() {
    let source = "\
#[test]
fn right() {}

fn helper() {}

#[test]
#[ignore]
fn slow() {}

#[tokio::test]
async fn waits() {}
";
    let mut read = |path: &str| (path == "a/b.rs").then(|| source.to_owned());
    let mut fault = |name| fault_of(name, &mut read);
    assert_eq!(fault("a/b.rs::right"), None);
    assert_eq!(fault("a/b.rs::waits"), None);
    for (name, part) in [
        ("a/b.rs::righ", "no function"),
        ("a/b.rs::helper", "no test"),
        ("a/b.rs::slow", "not run"),
        ("a/c.rs::right", "no file"),
        ("right", "path.rs::function"),
    ] {
        let fault = fault(name).unwrap();
        assert!(fault.contains(part), "{fault}");
    }
}

#[test]
fn a_page_that_is_wrong_is_noticed() {
    let rows = |rows: &[&str]| rows.join("\n");
    let page = rows(&[
        "| | Flink | what must hold | here |",
        "|---|---|---|---|",
        "| 1a | `testA` | this | `a/b.rs::right`, `a/b.rs::other`; and why |",
        "| 1b | testB | that | Does not apply: there is none |",
        "| 2 | testC | that | Missing: nobody wrote it |",
    ]);
    let found = scenarios(&page).unwrap();
    assert_eq!(found[0].tests, ["a/b.rs::right", "a/b.rs::other"]);
    assert_eq!(
        counts(&found),
        "Scenarios: 3. Covered by named tests: 1. Do not apply: 1. Missing: 1."
    );
    for wrong in [
        "| 1 | testA | this | covered by something |",
        "| 1 | testA | this | Missing: |",
        "| 1 | testA | this | Missing: but for `a/b.rs::right` |",
        "| 1 | testA | `a/b.rs::right` |",
    ] {
        assert!(scenarios(wrong).is_err(), "{wrong}");
    }
    let all: Vec<_> = (1..=ENTRIES).map(|number| number.to_string()).collect();
    let ids = || all.iter().map(String::as_str);
    check_numbers(ids().chain(["X1"])).unwrap();
    check_numbers(ids().skip(1)).unwrap_err();
    check_numbers(ids().take(100)).unwrap_err();
    check_numbers(ids().filter(|id| *id != "7")).unwrap_err();
    check_numbers(ids().chain(["125"])).unwrap_err();
}
