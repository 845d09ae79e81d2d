//! Several processes, and a person who watches and stops a run.

use nova3::mock::MockConfig;
use rustix::process::Signal;
use serde_json::Value;

use crate::cli::harness::{Provider, Running, question, setup_with, slow, sorted_ids, until};

#[test]
fn two_runs_at_once_are_one_too_many() {
    let (harness, slow) = setup_with(slow());
    harness.write_questions("in.jsonl", 3);
    let mut first = Running::start(harness.command(&["run", "in.jsonl", "-o", "out.jsonl", "--grace", "0s"]));
    until("the first run works", || slow.calls() == 3);
    let pid = first.child().id();
    for args in [
        &["run", "in.jsonl", "-o", "out.jsonl"][..],
        &["retry"],
        &["run", "in.jsonl", "--run", "b", "--wait-lock", "50ms"],
    ] {
        let ran = harness.nova3(args);
        let (begin, end) = (
            format!("nova3: store `nova3.db` is in use by process {pid} since 20"),
            "Z (wait with `--wait-lock 30s`, or use another `--store`)\n",
        );
        assert_eq!((ran.code, ran.out.as_str()), (Some(107), ""));
        assert!(
            ran.err.starts_with(&begin) && ran.err.ends_with(end),
            "{}",
            ran.err
        );
    }
    // Another store does not give access to the same result file.
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl", "--store", "b.db"]);
    let message = "nova3: result file `DIR/out.jsonl` is being written by another process (wait for it, or use another `-o`)\n";
    assert_eq!((ran.code, ran.err.as_str()), (Some(110), message));

    let good = Provider::start(MockConfig::default());
    let harness = harness.with("OPENAI_BASE_URL", &good.base_url());
    let second =
        Running::start(harness.command(&["run", "in.jsonl", "-o", "out.jsonl", "--wait-lock", "10m"]));
    first.signal(Signal::TERM);
    assert_eq!(first.output().status.code(), Some(143));
    let ran = harness.ran(&second.output());
    assert_eq!((ran.code, good.calls()), (Some(0), 3), "{}", ran.err);
    assert_eq!(sorted_ids(&harness.results("out.jsonl")), ["q1", "q2", "q3"]);
}

#[test]
fn status_shows_a_run_that_goes_on() {
    let (harness, slow) = setup_with(slow());
    let in_session = |id: &str| format!("{{\"session_id\":\"s\",{}", &question(id, "q")[1..]);
    harness.write(
        "in.jsonl",
        question("a", "q") + &question("b", "q") + &in_session("c") + &in_session("d") + "bad\n",
    );
    let mut run = Running::start(harness.command(&["run", "in.jsonl", "-o", "out.jsonl", "--grace", "0s"]));
    until("three are called", || slow.calls() == 3);
    until("the bad line is written", || {
        harness.status(&[])["files"]
            .as_array()
            .is_some_and(|files| files.len() == 1)
    });
    let status = harness.status(&[]);
    let counts = ["total", "done", "failed", "paused", "running", "blocked", "left"]
        .map(|key| status[key].as_u64().unwrap());
    assert_eq!(counts, [5, 0, 1, 0, 3, 1, 4]);
    let mut watch = Running::start(harness.command(&["status", "--watch", "--json"]));
    until("results are readable", || {
        harness.nova3(&["results"]).code == Some(0)
    });
    run.signal(Signal::INT);
    let ran = harness.ran(&run.output());
    assert_eq!(ran.code, Some(130));
    let last = "run `in.jsonl`: stopped by a signal; 0 of 5 done, 1 failed, 4 left (run the same command again to go on); \
                3 calls in TIME, no price configured";
    assert!(ran.err.lines().any(|line| line == last), "{}", ran.err);
    // `--watch` goes on until everything is finished.
    assert!(watch.child().try_wait().unwrap().is_none());
    let good = Provider::start(MockConfig::default());
    let harness = harness.with("OPENAI_BASE_URL", &good.base_url());
    assert_eq!(
        harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]).code,
        Some(100)
    );
    let watched = harness.ran(&watch.output());
    assert_eq!(watched.code, Some(0));
    let last: Value = serde_json::from_str(watched.out.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["done"], &last["left"], &last["sessions"][0]["done"]),
        (&4.into(), &0.into(), &2.into())
    );
    assert_eq!(good.calls(), 4);
}

#[test]
fn a_first_signal_waits_for_what_is_paid_and_a_second_does_not() {
    let (harness, slow) = setup_with(slow());
    harness.write_questions("in.jsonl", 30);
    let mut run = Running::start(harness.command(&["run", "in.jsonl", "-j", "2"]));
    until("two are called", || slow.calls() == 2);
    run.signal(Signal::INT);
    let mut err = String::new();
    let stderr = run.child().stderr.take().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stderr));
    err.push_str(&lines.next().unwrap().unwrap());
    assert_eq!(
        err,
        "stopping: waiting for 2 calls on the way (Ctrl-C gives them up)"
    );
    run.signal(Signal::INT);
    assert_eq!(lines.next().unwrap().unwrap(), "giving up the calls on the way");
    assert_eq!(run.output().status.code(), Some(130));
    assert_eq!(slow.calls(), 2);
    let status = harness.status(&[]);
    assert_eq!((&status["left"], &status["running"]), (&30.into(), &0.into()));
}

#[test]
fn a_killed_run_leaves_nothing_in_the_way() {
    let (harness, slow) = setup_with(slow());
    harness.write_questions("in.jsonl", 3);
    let args = ["run", "in.jsonl", "-o", "out.jsonl"];
    let mut run = Running::start(harness.command(&args));
    until("three are called", || slow.calls() == 3);
    run.signal(Signal::KILL);
    run.output();
    let good = Provider::start(MockConfig::default());
    let harness = harness.with("OPENAI_BASE_URL", &good.base_url());
    let ran = harness.nova3(&args);
    assert_eq!((ran.code, good.calls()), (Some(0), 3), "{}", ran.err);
    assert_eq!(
        harness.nova3(&["verify"]).out,
        format!(
            "{}: 3 lines, each finished request exactly once\n",
            harness.path("out.jsonl").display()
        )
    );
}

#[test]
fn the_mock_is_a_process_of_its_own() {
    let (harness, _) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 5);
    let mut mock =
        Running::start(harness.command(&["mock", "--listen", "127.0.0.1:0", "--log", "calls.jsonl"]));
    let mut out = std::io::BufReader::new(mock.child().stdout.take().unwrap());
    let mut address = String::new();
    std::io::BufRead::read_line(&mut out, &mut address).unwrap();
    let harness = harness.with("OPENAI_BASE_URL", address.trim());
    assert_eq!(harness.nova3(&["run", "in.jsonl"]).code, Some(0));
    mock.signal(Signal::TERM);
    assert_eq!(mock.output().status.code(), Some(0));
    let calls = harness.results("calls.jsonl");
    let ends: Vec<_> = calls
        .iter()
        .filter(|line| line["event"] == "end")
        .map(|line| line["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(ends, ["ok"; 5]);
}
