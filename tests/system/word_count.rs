//! The example, left alone.

use crate::harness::{Program, Random, assert_exactly, awk_lines, finished_lines, write_text};
use std::fs;

#[test]
fn writes_what_awk_writes_from_several_inputs_at_any_parallelism() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    write_text(&input, 3, 300_000, &mut Random::of_test("word_count"));
    let expected = awk_lines(&input);
    for parallelism in [1, 2, 4] {
        let output = folder.path().join(format!("output-{parallelism}"));
        let mut program = Program::word_count(&folder.path().join("logs"));
        // Once the folder's files one by one, else the folder.
        if parallelism == 2 {
            for file in fs::read_dir(&input).unwrap() {
                program = program.option("input", file.unwrap().path().display());
            }
        } else {
            program = program.option("input", input.display());
        }
        program
            .option("output", output.display())
            .option("parallelism", parallelism)
            .run()
            .expect_code(0);
        assert_exactly(
            &finished_lines(&output),
            &expected,
            &format!("parallelism {parallelism}"),
        );
    }
}

#[test]
fn white_space_is_what_awk_takes_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    fs::create_dir(&input).unwrap();
    fs::write(
        input.join("text"),
        b"a\rb\x0cc\x0bd e\tf\r\ng h\xa0i  \xc3\x28\t\t\n\n \n\r\nlast\r",
    )
    .unwrap();
    let output = folder.path().join("output");
    Program::word_count(&folder.path().join("logs"))
        .option("input", input.display())
        .option("output", output.display())
        .run()
        .expect_code(0);
    assert_exactly(&finished_lines(&output), &awk_lines(&input), "white space");
}

#[test]
fn the_last_line_sums_up_the_run() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("text"), "a b a\nb\n").unwrap();
    let ended = Program::word_count(&folder.path().join("logs"))
        .option("input", folder.path().join("text").display())
        .option("output", folder.path().join("output").display())
        .durable(folder.path(), 100)
        .run()
        .expect_code(0);
    let last = ended.log.lines().last().unwrap();
    for part in ["2 records", "records/s", "checkpoints", "last checkpoint"] {
        assert!(last.contains(part), "'{part}' is not in '{last}'");
    }
}

#[test]
fn an_empty_input_is_a_finished_run_without_output() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("text"), "").unwrap();
    let output = folder.path().join("output");
    Program::word_count(&folder.path().join("logs"))
        .option("input", folder.path().join("text").display())
        .option("output", output.display())
        .run()
        .expect_code(0);
    assert!(finished_lines(&output).is_empty());
}
