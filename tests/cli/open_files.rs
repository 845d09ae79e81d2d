//! Each call has a connection, and a process may have only a limited number of open files.

use std::fs::File;
use std::time::Duration;

use nova3::mock::{Latency, MockConfig};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::cli::harness::{Running, errors, setup_with, sorted_ids, until};

#[test]
fn more_calls_than_open_files_are_refused_before_anything_is_made() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 1);
    let ran = harness.shell("ulimit -n 100; nova3 run in.jsonl -o out.jsonl -j 200");
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            Some(2),
            "nova3: 200 calls at once need 298 open files, and this process may have 100 \
             (raise `ulimit -n`, or lower `--concurrency`)\n"
        )
    );
    assert!(!harness.path("nova3.db").exists() && provider.calls() == 0);
    let ran = harness.shell("ulimit -n 100; nova3 run in.jsonl -o out.jsonl -j 20");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
}

#[test]
fn a_machine_without_descriptors_is_waited_for_and_fails_nobody() {
    let latency = Latency {
        first_token: Duration::from_millis(5),
        ..Latency::default()
    };
    let (harness, provider) = setup_with(MockConfig {
        latency,
        ..MockConfig::default()
    });
    // Every call opens a new connection, and a failure is final.
    harness.write(
        "nova3.toml",
        "[http]\nidle_connections = 0\n[retry]\nretries = 0\n",
    );
    harness.write_questions("in.jsonl", 300);
    let mut command = harness.command(&["run", "in.jsonl", "-o", "out.jsonl", "-j", "4", "-v"]);
    command.stderr(File::create(harness.path("err")).unwrap());
    let mut run = Running::start(command);
    until("calls are made", || provider.calls() >= 20);
    let pid = Pid::from_child(run.child());
    let before = getrlimit(Resource::Nofile);
    let none = Rlimit {
        current: Some(3),
        ..before
    };
    prlimit(Some(pid), Resource::Nofile, none).unwrap();
    until("a connection cannot be made", || {
        harness.read("err").contains("Too many open files")
    });
    prlimit(Some(pid), Resource::Nofile, before).unwrap();
    let ended = run.output();
    assert_eq!(ended.status.code(), Some(0), "{}", harness.read("err"));
    let results = harness.results("out.jsonl");
    assert_eq!((sorted_ids(&results).len(), errors(&results)), (300, vec![]));
    assert_eq!(provider.calls(), 300);
}
