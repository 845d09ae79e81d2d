//! Requests from a pipe, and results into a pipe.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use nova3::mock::MockConfig;
use serde_json::Value;

use crate::cli::harness::{Running, ids, lines, question, questions, setup_with, sorted_ids};

#[test]
fn results_appear_while_the_input_is_still_being_written() {
    let (harness, _provider) = setup_with(MockConfig::default());
    let mut command = harness.command(&["run", "--run", "piped"]);
    command.stdin(Stdio::piped());
    let mut run = Running::start(command);
    let mut input = run.child().stdin.take().unwrap();
    let mut out = BufReader::new(run.child().stdout.take().unwrap()).lines();
    for id in ["first", "second", "third"] {
        input.write_all(question(id, id).as_bytes()).unwrap();
        let line: Value = serde_json::from_str(&out.next().unwrap().unwrap()).unwrap();
        assert_eq!(line["custom_id"], id);
    }
    drop(input);
    assert!(out.next().is_none());
    assert_eq!(run.output().status.code(), Some(0));
}

#[test]
fn a_named_run_is_resumed_and_an_unnamed_one_is_not() {
    let (harness, provider) = setup_with(MockConfig::default());
    for calls in [4, 4] {
        let ran = harness.nova3_reading(&["run", "-", "--run", "piped"], questions(4));
        assert_eq!((ran.code, provider.calls()), (Some(0), calls), "{}", ran.err);
        assert_eq!(sorted_ids(&lines(&ran.out)), ["q1", "q2", "q3", "q4"]);
    }
    for calls in [8, 12] {
        assert_eq!(harness.nova3_reading(&["run"], questions(4)).code, Some(0));
        assert_eq!(provider.calls(), calls);
    }
    // A name that the user gives resumes the run: here a file continues the run of a pipe.
    harness.write_questions("in.jsonl", 4);
    assert_eq!(
        harness.nova3(&["run", "in.jsonl", "--run", "piped"]).code,
        Some(0)
    );
    assert_eq!(provider.calls(), 12);
}

#[test]
fn an_empty_pipe_selects_nothing() {
    let (harness, _provider) = setup_with(MockConfig::default());
    let ran = harness.nova3_reading(&["run", "--run", "p"], "");
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (Some(4), "run `p`: the input holds no requests\n")
    );
}

#[test]
fn a_reader_that_leaves_costs_nothing() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 300);
    // `head` ends after one line. The other results are more than a pipe holds.
    let ran = harness.shell("nova3 run in.jsonl -j 4 | head -1");
    assert_eq!((ran.code, lines(&ran.out).len()), (Some(101), 1), "{}", ran.err);
    let done = harness.status(&[])["done"].as_u64().unwrap();
    assert_eq!(provider.calls(), done);
    let ran = harness.nova3(&["run", "in.jsonl"]);
    assert_eq!(
        (ran.code, lines(&ran.out).len(), provider.calls()),
        (Some(0), 300, 300),
        "{}",
        ran.err
    );
    let ran = harness.shell("nova3 run in.jsonl | head -1");
    assert_eq!((ran.code, provider.calls()), (Some(0), 300), "{}", ran.err);
}

#[test]
fn named_pipes_and_substitution_are_read_once() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 3);
    let ran = harness.shell("nova3 run --run a <(cat in.jsonl)");
    assert_eq!((ran.code, lines(&ran.out).len()), (Some(0), 3), "{}", ran.err);
    let ran = harness.shell("mkfifo pipe; cat in.jsonl > pipe & nova3 run --run b pipe && wait $!");
    assert_eq!(
        (ran.code, lines(&ran.out).len(), provider.calls()),
        (Some(0), 3, 6),
        "{}",
        ran.err
    );
    // The requests are known, but a pipe cannot be read twice to compare it with the last reading.
    let ran = harness.shell("cat in.jsonl > pipe & nova3 run --run b pipe && wait $!");
    assert_eq!(
        (ran.code, lines(&ran.out).len(), provider.calls()),
        (Some(0), 3, 6),
        "{}",
        ran.err
    );
}

#[test]
fn standard_output_that_cannot_be_written() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 3);
    let ran = harness.shell("nova3 run in.jsonl -j 1 > /dev/full");
    assert_eq!(ran.code, Some(110));
    let message = "nova3: writing to standard output failed: No space left on device (os error 28)";
    assert_eq!(ran.err.lines().last(), Some(message));
    assert_eq!(harness.status(&[])["done"].as_u64().unwrap(), provider.calls());
    let ran = harness.shell("nova3 run in.jsonl > /dev/null");
    assert_eq!((ran.code, provider.calls()), (Some(0), 3));
    let ran = harness.shell("nova3 results > /dev/full");
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            Some(110),
            "nova3: writing to standard output failed: No space left on device (os error 28)\n"
        )
    );
}

#[test]
fn closed_streams_do_not_stop_a_run() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 3);
    let ran = harness.shell("nova3 run in.jsonl --keep-order 2>&-");
    assert_eq!(
        (ran.code, ids(&lines(&ran.out))),
        (Some(0), vec!["q1", "q2", "q3"])
    );
    assert_eq!(harness.shell("nova3 run none 2>&-").code, Some(3));
    assert_eq!(harness.shell("nova3 check in.jsonl 2>&- <&-").code, Some(0));
    let ran = harness.shell("nova3 run in.jsonl -o out.jsonl >&- 2>&- <&-");
    assert_eq!(
        (ran.code, harness.results("out.jsonl").len(), provider.calls()),
        (Some(0), 3, 3)
    );
}
