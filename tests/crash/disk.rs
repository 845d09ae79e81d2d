//! Disks that are full, read-only or broken: the run stops and reports it, and all acknowledged writes are there.

use std::process::Stdio;

use rustix::io::Errno;

use super::fault::{self, Fault};
use super::form::Form;
use super::harness::Scenario;
use super::input::{self, Line, Shape};
use super::process::Ended;

const RUN: [&str; 6] = ["run", "in.jsonl", "-o", "out.jsonl", "--events", "events.jsonl"];

const REQUESTS: usize = 160;

/// Flat lines, because a Batch line has no events.
fn lines() -> Vec<Line> {
    let flat = |line: Line| Line {
        form: Shape::Flat(None),
        ..line
    };
    input::batch(REQUESTS).into_iter().map(flat).collect()
}

fn setup(name: &'static str) -> Option<Scenario> {
    if !fault::can_be_made() {
        return None;
    }
    let scenario = Scenario::new(name, Form::get());
    scenario.input(&lines());
    Some(scenario)
}

/// Runs under the fault, to its end.
fn befall(scenario: &mut Scenario, fault: &Fault) -> Ended {
    let mark = scenario.path("fault-was-met");
    drop(std::fs::remove_file(&mark));
    let mut command = scenario.command(&RUN);
    fault.befall(&mut command, &mark);
    let stdout = scenario.path("stdout-of-the-faulty");
    let begun = std::time::Instant::now();
    let ended = scenario.spawn(command, stdout).wait();
    assert!(
        mark.exists(),
        "oracle `fault`: {fault:?} was not met: {}",
        ended.stderr
    );
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(60),
        "oracle `hangs`: {fault:?}: {:?}",
        begun.elapsed()
    );
    ended
}

/// The run stops with `code`, and its message has `words`. Without the fault it continues, and does not ask for durable
/// answers again.
fn stops(name: &'static str, fault: &Fault, code: i32, words: &[&str]) {
    let Some(mut scenario) = setup(name) else { return };
    let lines = lines();
    for _ in 0..2 {
        let ended = befall(&mut scenario, fault);
        assert_eq!(ended.code, Some(code), "oracle `exit`: {}", ended.stderr);
        for word in words {
            assert!(
                ended.stderr.contains(word),
                "oracle `says {word}`: {}",
                ended.stderr
            );
        }
        scenario.settle(&["out.jsonl"], true);
    }
    scenario.finish(&RUN, "out.jsonl", &lines, false);
    let events = scenario.nova3(&["verify", "--store", "nova3.db", "-o", "events.jsonl"]);
    assert_eq!(events.code, Some(0), "oracle `verify`: {}", events.stderr);
    scenario.report(REQUESTS);
}

const FREE: &str = "free some space and run the same command again";

#[test]
fn a_full_disk_under_the_log_of_the_store() {
    let fault = Fault {
        calls: "write",
        path: "nova3.db-wal",
        error: Errno::NOSPC,
        after: 900_001,
        times: 0,
    };
    stops("full disk, log", &fault, 1, &["nova3.db`", FREE]);
}

#[test]
fn a_full_disk_under_the_store_from_the_start() {
    for path in ["/nova3.db-wal", "/nova3.db"] {
        let Some(mut scenario) = setup("full disk, at once") else {
            return;
        };
        let fault = Fault {
            calls: "write",
            path,
            error: Errno::NOSPC,
            after: 0,
            times: 0,
        };
        let ended = befall(&mut scenario, &fault);
        assert_eq!(ended.code, Some(1), "oracle `exit`: {path}: {}", ended.stderr);
        for word in ["nova3.db`", FREE] {
            assert!(
                ended.stderr.contains(word),
                "oracle `says {word}`: {}",
                ended.stderr
            );
        }
        assert_eq!(scenario.mock.count(), 0, "oracle `nothing spent`");
        scenario.finish(&RUN, "out.jsonl", &lines(), false);
    }
}

#[test]
fn a_log_that_cannot_be_folded_in_keeps_everything() {
    let Some(mut scenario) = setup("full disk, folding") else {
        return;
    };
    let lines = lines();
    scenario.input(&lines[..10]);
    assert_eq!(scenario.nova3(&RUN).code, Some(0));
    scenario.input(&lines);
    let fault = Fault {
        calls: "write",
        path: "/nova3.db",
        error: Errno::NOSPC,
        after: 0,
        times: 0,
    };
    let ended = befall(&mut scenario, &fault);
    assert_eq!(ended.code, Some(0), "everything is in the log: {}", ended.stderr);
    scenario.settle(&["out.jsonl"], false);
    assert_eq!(scenario.durable(), REQUESTS, "oracle `durable`");
    // The log is checkpointed before any other write is acknowledged.
    let ended = befall(&mut scenario, &fault);
    assert_eq!(ended.code, Some(1), "oracle `exit`: {}", ended.stderr);
    assert!(ended.stderr.contains(FREE), "oracle `says`: {}", ended.stderr);
    scenario.finish(&RUN, "out.jsonl", &lines, false);
    scenario.report(REQUESTS);
}

#[test]
fn after_one_failed_fsync_nothing_more_is_promised() {
    for calls in ["sync", "write"] {
        let fault = Fault {
            calls,
            path: "/nova3.db-wal",
            error: Errno::IO,
            after: if calls == "sync" { 21 } else { 800_000 },
            times: 1,
        };
        stops("one failure, log", &fault, 1, &["nova3.db`", "the system's log"]);
    }
}

#[test]
fn a_broken_disk_under_the_log_of_the_store() {
    for after in [8, 25] {
        let fault = Fault {
            calls: "sync",
            path: "nova3.db-wal",
            error: Errno::IO,
            after,
            times: 0,
        };
        stops(
            "broken fsync, log",
            &fault,
            1,
            &["nova3.db`", "the system's log", "run the same command again"],
        );
    }
}

#[test]
fn a_broken_disk_under_the_writes_of_the_store() {
    let fault = Fault {
        calls: "write",
        path: "nova3.db-wal",
        error: Errno::IO,
        after: 700_000,
        times: 0,
    };
    stops("broken write, log", &fault, 1, &["nova3.db`", "the system's log"]);
}

#[test]
fn a_read_only_file_system_under_the_store() {
    let Some(mut scenario) = setup("read-only store") else {
        return;
    };
    for path in ["nova3.db.lock", "nova3.db", "nova3.db-wal"] {
        let fault = Fault {
            calls: "open",
            path,
            error: Errno::ROFS,
            after: 0,
            times: 0,
        };
        let ended = befall(&mut scenario, &fault);
        assert_eq!(ended.code, Some(1), "oracle `exit`: {path}: {}", ended.stderr);
        assert!(
            ended.stderr.contains("nova3.db`"),
            "oracle `says`: {path}: {}",
            ended.stderr
        );
        assert!(
            ended
                .stderr
                .contains("must be writable, or give another `--store`"),
            "oracle `says`: {path}: {}",
            ended.stderr
        );
        assert_eq!(scenario.mock.count(), 0, "oracle `nothing spent`");
    }
    scenario.finish(&RUN, "out.jsonl", &lines(), false);
}

#[test]
fn a_full_disk_under_the_result_file_in_the_middle_of_a_line() {
    let fault = Fault {
        calls: "write",
        path: "/out.jsonl",
        error: Errno::NOSPC,
        after: 20_011,
        times: 0,
    };
    stops("full disk, results", &fault, 110, &["out.jsonl`", FREE]);
}

#[test]
fn a_broken_disk_under_the_result_file() {
    let fault = Fault {
        calls: "sync",
        path: "/out.jsonl",
        error: Errno::IO,
        after: 2,
        times: 0,
    };
    stops(
        "broken fsync, results",
        &fault,
        110,
        &["out.jsonl`", "writing to disk failed"],
    );
}

#[test]
fn a_full_disk_under_the_events_in_the_middle_of_one() {
    let fault = Fault {
        calls: "write",
        path: "/events.jsonl",
        error: Errno::NOSPC,
        after: 9_001,
        times: 0,
    };
    stops("full disk, events", &fault, 110, &["events.jsonl`", FREE]);
}

#[test]
fn a_read_only_file_system_under_the_result_file() {
    let Some(mut scenario) = setup("read-only results") else {
        return;
    };
    let fault = Fault {
        calls: "open",
        path: "/out.jsonl",
        error: Errno::ROFS,
        after: 0,
        times: 0,
    };
    let ended = befall(&mut scenario, &fault);
    assert_eq!(ended.code, Some(110), "oracle `exit`: {}", ended.stderr);
    assert!(
        ended.stderr.contains("out.jsonl`"),
        "oracle `says`: {}",
        ended.stderr
    );
    assert_eq!(scenario.mock.count(), 0, "oracle `nothing spent`");
    scenario.finish(&RUN, "out.jsonl", &lines(), false);
}

#[test]
fn a_result_file_that_cannot_take_the_old_ones_place() {
    let Some(mut scenario) = setup("no rename") else {
        return;
    };
    let lines = lines();
    scenario.finish(&RUN, "out.jsonl", &lines, false);
    let before = scenario.bytes("out.jsonl");
    let fewer = &lines[1..];
    scenario.input(fewer);
    let faults = [
        ("rename", "/out.jsonl", Errno::IO),
        ("write", ".nova3-new", Errno::NOSPC),
    ];
    for (calls, path, error) in faults {
        let fault = Fault {
            calls,
            path,
            error,
            after: 0,
            times: 0,
        };
        let ended = befall(&mut scenario, &fault);
        assert_eq!(ended.code, Some(110), "oracle `exit`: {}", ended.stderr);
        assert!(
            ended.stderr.contains("out.jsonl"),
            "oracle `says`: {}",
            ended.stderr
        );
        assert!(scenario.bytes("out.jsonl") == before, "oracle `untouched`");
    }
    scenario.finish(&RUN, "out.jsonl", fewer, false);
}

#[test]
fn a_result_file_that_may_not_be_replaced_is_written_anew_where_it_stands() {
    let Some(mut scenario) = setup("no replacement") else {
        return;
    };
    let lines = lines();
    scenario.finish(&RUN, "out.jsonl", &lines, false);
    let faults = [
        ("rename", "/out.jsonl", Errno::BUSY),
        ("rename", "/out.jsonl", Errno::XDEV),
        ("rename", "/out.jsonl", Errno::PERM),
        ("open", ".nova3-new", Errno::ACCESS),
        ("open", ".nova3-new", Errno::ROFS),
        ("open", ".nova3-new", Errno::NAMETOOLONG),
    ];
    for (removed, (calls, path, error)) in (1..).zip(faults) {
        let fewer = &lines[removed..];
        scenario.input(fewer);
        let fault = Fault {
            calls,
            path,
            error,
            after: 0,
            times: 0,
        };
        let ended = befall(&mut scenario, &fault);
        assert_eq!(ended.code, Some(0), "oracle `exit`: {fault:?}: {}", ended.stderr);
        scenario.complete(&RUN, "out.jsonl", fewer, false, 0);
        let left = std::fs::read_dir(scenario.path("")).unwrap();
        let left = left.filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().ends_with(".nova3-new")
        });
        assert_eq!(left.count(), 0, "oracle `no litter`: {fault:?}");
    }
    scenario.finish(&RUN, "out.jsonl", &lines[faults.len()..], false);
}

#[test]
fn a_standard_output_that_takes_nothing() {
    let mut scenario = Scenario::new("full stdout", Form::get());
    let lines = lines();
    scenario.input(&lines);
    let mut command = scenario.command(&["run", "in.jsonl"]);
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("Linux has it");
    command.stdout(full).stderr(Stdio::piped());
    let ended = command.output().expect("nova3 starts");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(110), "oracle `exit`: {said}");
    assert!(said.contains("standard output"), "oracle `says`: {said}");
    assert!(said.contains("No space left on device"), "oracle `says`: {said}");
    scenario.settle(&["out.jsonl"], true);
    scenario.finish(
        &["run", "in.jsonl", "-o", "out.jsonl"],
        "out.jsonl",
        &lines,
        false,
    );
    scenario.report(REQUESTS);
}
