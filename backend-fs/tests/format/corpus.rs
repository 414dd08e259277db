//! The fuzzer's seeds, run as a plain test.

use crate::compressed::compressed;
use crate::damage::small;
use crate::fuzzed::{COMPRESSED, REPAIR, VERIFY_FIRST, run};
use crate::sample::Model;
use std::fs;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/read")
}

/// Seeds that are made here; others were found by the fuzzer.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let full = small();
    let mut seeds = vec![("empty".to_owned(), Model::default().bytes())];
    for state in 0..5 {
        let mut model = full.clone();
        model
            .sections
            .retain(|(group, of), _| *of == state && *group == 3);
        let name = model.states[state as usize].name.replace(' ', "-");
        model.states.truncate(5);
        seeds.push((name, model.bytes()));
    }
    seeds.push(("all".to_owned(), full.bytes()));
    let mut inputs = Vec::new();
    for (name, plain) in seeds {
        let frames = compressed(&plain).0;
        for (kind, mode, bytes) in [
            ("as-it-is", VERIFY_FIRST, &plain),
            ("repaired", REPAIR, &plain),
            ("compressed", REPAIR | COMPRESSED, &frames),
        ] {
            let mut input = vec![mode];
            input.extend_from_slice(bytes);
            inputs.push((format!("{name}-{kind}"), input));
        }
    }
    inputs
}

#[test]
fn no_seed_makes_the_reader_panic() {
    let mut inputs = 0;
    for file in fs::read_dir(folder()).unwrap() {
        run(&fs::read(file.unwrap().path()).unwrap());
        inputs += 1;
    }
    assert!(inputs >= seeds().len(), "{inputs} seeds");
}

#[test]
#[ignore = "writes the seeds that are made here; to be run when the format changes"]
fn write_seeds() {
    for (name, input) in seeds() {
        fs::write(folder().join(name), input).unwrap();
    }
}
