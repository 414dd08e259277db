//! Any bytes are a snapshot file or damaged; the reader never panics. The body is shared with the tests, which run it on the corpus.
#![no_main]

#[path = "../../tests/format/fuzzed.rs"]
mod fuzzed;
#[path = "../../tests/format/repair.rs"]
mod repair;
#[path = "../../tests/format/touch.rs"]
mod touch;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fuzzed::run(input));
