//! Several names of one file, and files of others: no line is written twice, and no foreign file is destroyed.

use std::io::Write;
use std::process::{Command, Stdio};

use nova3::mock::MockConfig;

use crate::cli::harness::{Harness, Running, question, setup_with, sorted_ids, until};

/// Every command that takes a store, with its other arguments.
const WITH_STORE: [&[&str]; 12] = [
    &["run", "in.jsonl"],
    &["run", "in.jsonl", "--mock"],
    &["plan", "in.jsonl"],
    &["worker"],
    &["status"],
    &["results"],
    &["retry"],
    &["verify"],
    &["session", "list"],
    &["session", "show", "s"],
    &["session", "export", "s"],
    &["session", "clear", "s"],
];

#[test]
fn names_that_only_sqlite_understands_are_refused_everywhere() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 1);
    for name in [":memory:", "file:x.db?mode=memory&cache=shared"] {
        let instead = if name == ":memory:" { "nova3.db" } else { "x.db" };
        let message = format!(
            "nova3: `run.store` is `{name}`: expected the path of a file, such as `{instead}`, or \
             `postgres://user@host/database`\n"
        );
        for command in WITH_STORE {
            let ran = harness.nova3(&[command, &["--store", name]].concat());
            assert_eq!((ran.code, &ran.err), (Some(2), &message), "{command:?}");
            let mut by_variable = harness.command(command);
            by_variable.env("NOVA3_STORE", name);
            let ran = harness.ran(&by_variable.output().unwrap());
            assert_eq!(
                (ran.code, &ran.err),
                (Some(2), &message),
                "{command:?} by variable"
            );
        }
        harness.write("other.toml", format!("[run]\nstore = \"{name}\"\n"));
        for command in WITH_STORE.iter().filter(|command| !command.contains(&"--mock")) {
            let ran = harness.nova3(&[command, &["-c", "other.toml"][..]].concat());
            assert_eq!((ran.code, &ran.err), (Some(2), &message), "{command:?} by file");
        }
    }
    for name in ["a?b.db", "a%20b.db", "a#b.db", "./file:x.db", "file:y.db"] {
        for calls in [1, 1] {
            let before = provider.calls();
            let ran = harness.nova3(&["run", "in.jsonl", "--store", name]);
            assert_eq!(ran.code, Some(0), "{name}: {}", ran.err);
            assert!(provider.calls() <= before + calls);
            let path = match name {
                "file:y.db" => "y.db",
                name => name.trim_start_matches("./"),
            };
            assert!(harness.path(path).is_file(), "{name}");
        }
    }
    assert_eq!(provider.calls(), 5);
}

/// Runs with a pipe as input: writes a line, waits for its result, calls `act`, and writes `more` lines.
fn meddled(harness: &Harness, args: &[&str], more: usize, act: &dyn Fn()) -> crate::cli::harness::Ran {
    let mut command = harness.command(&[&["run", "--run", "piped", "-o", "out.jsonl"], args].concat());
    command.stdin(Stdio::piped());
    let mut run = Running::start(command);
    let mut input = run.child().stdin.take().unwrap();
    let send = |input: &mut std::process::ChildStdin, id: &str| {
        // A run that has noticed the change may have closed its input.
        input.write_all(question(id, id).as_bytes()).unwrap_or_default();
    };
    send(&mut input, "first");
    let written = || {
        std::fs::read_to_string(harness.path("out.jsonl"))
            .unwrap_or_default()
            .ends_with('\n')
    };
    until("the first result is written", written);
    act();
    for n in 0..more {
        send(&mut input, &format!("later {n}"));
    }
    drop(input);
    harness.ran(&run.output())
}

#[test]
fn a_result_file_that_somebody_else_changes_stops_the_run() {
    type Act = fn(&Harness);
    let acts: [(Act, &str); 5] = [
        (|harness| harness.write("out.jsonl", ""), "it has 0 bytes, but"),
        (
            |harness| {
                let file = std::fs::OpenOptions::new()
                    .append(true)
                    .open(harness.path("out.jsonl"));
                file.unwrap().write_all(b"theirs\n").unwrap();
            },
            "7 bytes were added after byte",
        ),
        (
            |harness| std::fs::remove_file(harness.path("out.jsonl")).unwrap(),
            "it was removed",
        ),
        (
            |harness| std::fs::rename(harness.path("out.jsonl"), harness.path("out.1")).unwrap(),
            "it was removed",
        ),
        (
            |harness| {
                std::fs::rename(harness.path("out.jsonl"), harness.path("out.1")).unwrap();
                harness.write("out.jsonl", "theirs\n");
            },
            "another file has its name",
        ),
    ];
    for (act, reason) in acts {
        for more in [0, 3] {
            let (harness, provider) = setup_with(MockConfig::default());
            let left = std::cell::RefCell::new(None);
            let ran = meddled(&harness, &[], more, &|| {
                act(&harness);
                *left.borrow_mut() = std::fs::read(harness.path("out.jsonl")).ok();
            });
            assert_eq!(ran.code, Some(110), "{reason}, {more} more: {}", ran.err);
            let last = ran.err.lines().last().unwrap();
            let said = "nova3: result file `DIR/out.jsonl` was changed while this run wrote it: ";
            assert!(last.starts_with(&format!("{said}{reason}")), "{last}");
            let now = std::fs::read(harness.path("out.jsonl")).ok();
            assert_eq!(now, left.into_inner(), "{reason}: nothing is written over it");
            // After it was removed, the file is built from the store.
            std::fs::remove_file(harness.path("out.jsonl")).unwrap_or_default();
            let whole = ["first", "later 0", "later 1", "later 2"];
            let input: String = whole[..=more].iter().map(|id| question(id, id)).collect();
            let ran = harness.nova3_reading(&["run", "-", "--run", "piped", "-o", "out.jsonl"], input);
            assert_eq!(ran.code, Some(0), "{}", ran.err);
            assert_eq!(sorted_ids(&harness.results("out.jsonl")), whole[..=more]);
            assert_eq!(provider.calls(), more as u64 + 1, "nothing is paid twice");
        }
    }
}

#[test]
fn lines_that_somebody_else_adds_are_kept_by_the_next_start_too() {
    let (bench, _provider) = setup_with(MockConfig::default());
    let ran = meddled(&bench, &[], 3, &|| {
        let file = std::fs::OpenOptions::new()
            .append(true)
            .open(bench.path("out.jsonl"));
        file.unwrap().write_all(b"theirs\n").unwrap();
    });
    assert_eq!(ran.code, Some(110), "{}", ran.err);
    let left = bench.read("out.jsonl");
    let all = ["first", "later 0", "later 1", "later 2"];
    let input: String = all.iter().map(|id| question(id, id)).collect();
    let again = ["run", "-", "--run", "piped", "-o", "out.jsonl"];
    let ran = bench.nova3_reading(&again, input.as_str());
    assert_eq!(ran.code, Some(110), "{}", ran.err);
    assert!(ran.err.contains("7 bytes were added after byte"), "{}", ran.err);
    assert_eq!(bench.read("out.jsonl"), left);
    let ran = bench.nova3_reading(&[&again[..], &["--append"]].concat(), input);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let content = bench.read("out.jsonl");
    let ours = content.strip_prefix(&left).expect("what was there stays");
    assert_eq!(ours.lines().count(), all.len());
}

#[test]
fn events_that_somebody_else_changes_stop_the_run_too() {
    let (harness, _provider) = setup_with(MockConfig::default());
    let events = harness.path("events.jsonl");
    let ran = meddled(&harness, &["--events", "events.jsonl"], 1, &|| {
        until("events are written", || {
            std::fs::metadata(&events).is_ok_and(|data| data.len() > 0)
        });
        std::fs::remove_file(&events).unwrap();
    });
    let last = ran.err.lines().last().unwrap();
    assert_eq!(ran.code, Some(110), "{}", ran.err);
    assert!(
        last.contains("`DIR/events.jsonl` was changed while this run wrote it: it was removed"),
        "{last}"
    );
}

#[test]
fn standard_output_in_a_file_that_is_cut_stops_the_run() {
    let (harness, provider) = setup_with(MockConfig::default());
    for (more, append, code) in [(0, false, 110), (1, false, 110), (1, true, 0)] {
        harness.write("out.jsonl", "");
        let mut options = std::fs::OpenOptions::new();
        let out = options
            .write(true)
            .append(append)
            .open(harness.path("out.jsonl"))
            .unwrap();
        let mut command = harness.command(&["run", "--run", "piped"]);
        command.stdin(Stdio::piped()).stdout(out);
        let mut run = Running::start(command);
        let mut input = run.child().stdin.take().unwrap();
        input.write_all(question("first", "first").as_bytes()).unwrap();
        until("the first result is written", || {
            harness.read("out.jsonl").ends_with('\n')
        });
        harness.write("out.jsonl", "");
        if more > 0 {
            input
                .write_all(question("later", "later").as_bytes())
                .unwrap_or_default();
        }
        drop(input);
        let ran = harness.ran(&run.output());
        assert_eq!(ran.code, Some(code), "{}", ran.err);
        assert_eq!(
            harness.read("out.jsonl").lines().count(),
            usize::from(append),
            "no zeros"
        );
        assert!(
            append
                || ran
                    .err
                    .contains("was cut by another program: it has 0 bytes, but"),
            "{}",
            ran.err
        );
    }
    assert_eq!(provider.calls(), 2);
}

#[test]
fn a_result_file_with_two_names_is_written_anew_under_both() {
    let (harness, provider) = setup_with(MockConfig::default());
    let run = ["run", "in.jsonl", "-o", "out.jsonl"];
    harness.write_questions("in.jsonl", 5);
    assert_eq!(harness.nova3(&run).code, Some(0));
    std::fs::hard_link(harness.path("out.jsonl"), harness.path("second.jsonl")).unwrap();
    harness.write_questions("in.jsonl", 3);
    let ran = harness.nova3(&run);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(sorted_ids(&harness.results("out.jsonl")), ["q1", "q2", "q3"]);
    assert_eq!(harness.read("out.jsonl"), harness.read("second.jsonl"));
    assert_eq!((harness.nova3(&["verify"]).code, provider.calls()), (Some(0), 5));
}

#[test]
fn a_link_to_a_result_file_stays_a_link() {
    let (harness, provider) = setup_with(MockConfig::default());
    std::fs::create_dir(harness.path("data")).unwrap();
    let foreign = harness.path("data/real.jsonl.nova3-new");
    std::fs::write(&foreign, "precious").unwrap();
    std::os::unix::fs::symlink("data/real.jsonl", harness.path("out.jsonl")).unwrap();
    for count in [5, 3] {
        harness.write_questions("in.jsonl", count);
        assert_eq!(
            harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]).code,
            Some(0)
        );
        assert!(harness.path("out.jsonl").is_symlink() && !harness.path("data/real.jsonl").is_symlink());
        assert_eq!(harness.results("data/real.jsonl").len(), count);
    }
    assert_eq!(
        (
            std::fs::read_to_string(foreign).unwrap().as_str(),
            provider.calls()
        ),
        ("precious", 5)
    );
    assert_eq!(
        std::fs::read_dir(harness.path("data")).unwrap().count(),
        2,
        "no litter"
    );
}

/// A file that is a mount point, as containers have them. It is unmounted when dropped.
struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        Command::new("umount").arg(&self.0).status().ok();
    }
}

#[test]
fn a_result_file_that_is_a_mount_is_written_anew_where_it_stands() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write("real.jsonl", "");
    harness.write("out.jsonl", "");
    let mounted = Command::new("mount")
        .arg("--bind")
        .args([harness.path("real.jsonl"), harness.path("out.jsonl")])
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: mounting a file needs root");
        return;
    }
    let _mounted = Mounted(harness.path("out.jsonl"));
    for count in [5, 3, 4] {
        harness.write_questions("in.jsonl", count);
        let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        assert_eq!(harness.results("real.jsonl").len(), count);
        assert_eq!(harness.nova3(&["verify"]).code, Some(0));
    }
    assert_eq!(provider.calls(), 5);
    let names = std::fs::read_dir(harness.path("")).unwrap();
    let left = names.filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("nova3-new")
    });
    assert_eq!(left.count(), 0, "no litter");
}

#[test]
fn no_result_is_written_over_what_the_run_needs_under_any_name() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 2);
    std::fs::create_dir(harness.path("agents")).unwrap();
    let settings = format!("{}[agents]\nfolder = \"agents\"\n", harness.read("nova3.toml"));
    harness.write("nova3.toml", settings);
    let agent = concat!(env!("CARGO_MANIFEST_DIR"), "/agents/answer.toml");
    std::fs::copy(agent, harness.path("agents/answer.toml")).unwrap();
    assert_eq!(harness.nova3(&["run", "in.jsonl"]).code, Some(0));
    let cases = [
        ("in.jsonl", "the input itself"),
        ("nova3.db", "the store itself, or a file beside it that it needs"),
        ("nova3.toml", "the settings file in force"),
        ("agents/answer.toml", "an agent file in the agents folder"),
    ];
    for (file, what) in cases {
        let link = format!("{}.link", file.replace('/', "."));
        let hard = format!("{}.hard", file.replace('/', "."));
        std::os::unix::fs::symlink(harness.path(file), harness.path(&link)).unwrap();
        std::fs::hard_link(harness.path(file), harness.path(&hard)).unwrap();
        let before = std::fs::read(harness.path(file)).unwrap();
        for flag in ["--overwrite", "--append"] {
            for (name, shown) in [(file, file), (&link, file), (&hard, &hard)] {
                let ran = harness.nova3(&["run", "in.jsonl", "-o", name, flag]);
                let message = format!("nova3: `-o DIR/{shown}` is {what} (give another file)\n");
                assert_eq!((ran.code, ran.err), (Some(2), message), "{name}");
                let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl", "--events", name, flag]);
                let message = format!("nova3: `--events DIR/{shown}` is {what} (give another file)\n");
                assert_eq!((ran.code, ran.err), (Some(2), message), "{name}");
            }
        }
        let ran = harness.shell(&format!("nova3 run in.jsonl >> {hard}"));
        let message = format!("nova3: standard output is {what} (redirect it to another file)\n");
        assert_eq!((ran.code, ran.err), (Some(2), message), "{file}");
        assert_eq!(std::fs::read(harness.path(file)).unwrap(), before);
        std::fs::remove_file(harness.path(&hard)).unwrap();
    }
    let ran = harness.shell("nova3 run - --run r -o in.jsonl --overwrite < in.jsonl");
    let message = "nova3: `-o DIR/in.jsonl` is the input itself (give another file)\n";
    assert_eq!((ran.code, ran.err.as_str()), (Some(2), message));
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "agents/new.toml"]);
    let message =
        "nova3: `-o DIR/agents/new.toml` is an agent file in the agents folder (give another file)\n";
    assert_eq!((ran.code, ran.err.as_str()), (Some(2), message));

    harness.write("out.jsonl", "");
    std::fs::hard_link(harness.path("out.jsonl"), harness.path("events.jsonl")).unwrap();
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl", "--events", "events.jsonl"]);
    let message = "nova3: `--events` names the same place as the results (give another file)\n";
    assert_eq!((ran.code, ran.err.as_str()), (Some(2), message));
    assert_eq!(provider.calls(), 2);
}

/// Starts a run and waits until it has called its provider, which never answers.
fn waiting(harness: &Harness, provider: &crate::cli::harness::Provider, args: &[&str]) -> Running {
    let before = provider.calls();
    let run = Running::start(harness.command(&[&["run", "in.jsonl", "-j", "1"], args].concat()));
    until("a call is on its way", || provider.calls() > before);
    run
}

#[test]
fn a_store_in_use_is_in_use_under_each_of_its_names() {
    let (harness, _quick) = setup_with(MockConfig::default());
    harness.write_questions("seed.jsonl", 1);
    assert_eq!(
        harness.nova3(&["run", "seed.jsonl", "--store", "s.db"]).code,
        Some(0)
    );
    std::os::unix::fs::symlink("s.db", harness.path("link.db")).unwrap();
    std::os::unix::fs::symlink(".", harness.path("here")).unwrap();
    std::fs::hard_link(harness.path("s.db"), harness.path("hard.db")).unwrap();
    let slow = crate::cli::harness::Provider::start(crate::cli::harness::slow());
    let harness = harness.with("OPENAI_BASE_URL", &slow.base_url());
    harness.write_questions("in.jsonl", 2);
    let names = ["s.db", "link.db", "here/s.db", "here/link.db", "hard.db"];
    for first in names {
        let _run = waiting(&harness, &slow, &["--store", first]);
        let calls = slow.calls();
        std::fs::remove_file(harness.path("s.db.lock")).unwrap();
        for second in names {
            let ran = harness.nova3(&["run", "in.jsonl", "--store", second]);
            let said = format!("nova3: store `{second}` is in use by another process (");
            assert!(ran.err.starts_with(&said), "{first}, {second}: {}", ran.err);
            assert_eq!((ran.code, slow.calls()), (Some(107), calls), "{first}, {second}");
            // `status` shows rows that are not in the store file yet, by each name.
            let status = harness.status(&["--store", second]);
            assert_eq!(
                (&status["run"], &status["total"]),
                (&"in.jsonl".into(), &2.into()),
                "{first}, {second}"
            );
        }
    }
    for file in ["hard.db.lock", "hard.db-wal", "link.db.lock", "link.db-wal"] {
        assert!(!harness.path(file).exists(), "{file}");
    }
    assert!(harness.path("link.db").is_symlink());
}

#[test]
fn what_a_killed_run_stored_is_found_by_another_name() {
    let (harness, quick) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 3);
    std::fs::create_dir(harness.path("other")).unwrap();
    // The result is paid, and only in the log: the run waits for its input when it is killed.
    let mut command = harness.command(&["run", "--run", "r", "--store", "s.db", "-o", "out.jsonl"]);
    command.stdin(Stdio::piped());
    let mut run = Running::start(command);
    let mut input = run.child().stdin.take().unwrap();
    input.write_all(question("q1", "one").as_bytes()).unwrap();
    until("the first result is written", || {
        harness
            .path("out.jsonl")
            .metadata()
            .is_ok_and(|data| data.len() > 0)
    });
    drop(run);
    std::fs::hard_link(harness.path("s.db"), harness.path("other/hard.db")).unwrap();
    let again = |store: &str| {
        let args = ["run", "-", "--run", "r", "--store", store, "-o", "out.jsonl"];
        let ran = harness.nova3_reading(&args, question("q1", "one"));
        assert_eq!((ran.code, quick.calls()), (Some(0), 1), "{store}: {}", ran.err);
        assert_eq!(harness.results("out.jsonl").len(), 1);
    };
    again("other/hard.db");
    again("s.db");
    // A removed name of the store is ignored.
    std::fs::remove_file(harness.path("s.db")).unwrap();
    again("other/hard.db");
    std::fs::hard_link(harness.path("other/hard.db"), harness.path("third.db")).unwrap();
    again("third.db");
    assert!(
        !harness.path("third.db.lock").exists(),
        "the store is worked on under its other name"
    );
}

#[test]
fn files_that_have_the_names_of_the_stores_are_left_alone() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 2);
    let refuses = |file: &str, reason: &str| {
        let ran = harness.nova3(&["run", "in.jsonl", "--store", "poetry"]);
        let message = format!(
            "nova3: store `poetry` cannot be used: `DIR/{file}` {reason} (move that file away, or give another `--store`)\n"
        );
        assert_eq!((ran.code, ran.err), (Some(106), message), "{file}");
    };
    let lock = "has the name of its lock file, but nova3 did not create it";
    let beside = "has the name of a file of the store, but nova3 did not create it";
    let left = "was left by a store that was moved or removed";
    for there in [false, true] {
        for (file, reason) in [
            ("poetry.lock", lock),
            ("poetry-wal", if there { beside } else { left }),
            ("poetry-shm", if there { beside } else { left }),
            ("poetry-journal", if there { beside } else { left }),
        ] {
            harness.write(file, "precious\n");
            refuses(file, reason);
            assert_eq!(harness.read(file), "precious\n");
            std::fs::remove_file(harness.path(file)).unwrap();
            // A link is not followed, also if its target is missing.
            harness.write("victim", "");
            for target in ["victim", "nowhere"] {
                std::os::unix::fs::symlink(target, harness.path(file)).unwrap();
                refuses(file, if file == "poetry.lock" { lock } else { beside });
                assert!(harness.path(file).is_symlink() && !harness.path("nowhere").exists());
                std::fs::remove_file(harness.path(file)).unwrap();
            }
            std::fs::create_dir(harness.path(file)).unwrap();
            refuses(file, if file == "poetry.lock" { lock } else { beside });
            std::fs::remove_dir(harness.path(file)).unwrap();
            assert_eq!(harness.path("poetry").exists(), there, "{file}");
        }
        assert_eq!(
            harness.nova3(&["run", "in.jsonl", "--store", "poetry"]).code,
            Some(0)
        );
    }
    assert_eq!(provider.calls(), 2);
}

#[test]
fn a_store_that_is_taken_away_stops_the_run() {
    type Act = fn(&Harness);
    let acts: [(Act, &str); 4] = [
        (
            |harness| std::fs::remove_file(harness.path("nova3.db")).unwrap(),
            "it",
        ),
        (
            |harness| std::fs::rename(harness.path("nova3.db"), harness.path("moved.db")).unwrap(),
            "it",
        ),
        (
            |harness| {
                std::fs::copy(harness.path("nova3.db"), harness.path("copy.db")).unwrap();
                std::fs::rename(harness.path("copy.db"), harness.path("nova3.db")).unwrap();
            },
            "it",
        ),
        (
            |harness| std::fs::remove_file(harness.path("nova3.db.lock")).unwrap(),
            "its lock file",
        ),
    ];
    for (act, what) in acts {
        let (harness, provider) = setup_with(MockConfig::default());
        let ran = meddled(&harness, &[], 1, &|| act(&harness));
        let last = ran.err.lines().last().unwrap();
        let said = format!(
            "nova3: store `nova3.db`: {what} was removed, moved or replaced while this run worked on it ("
        );
        assert!(last.starts_with(&said), "{last}");
        assert_eq!((ran.code, provider.calls()), (Some(1), 1), "{what}: {}", ran.err);
        if harness.path("moved.db").exists() {
            std::fs::rename(harness.path("moved.db"), harness.path("nova3.db")).unwrap();
            let ran = harness.nova3_reading(&["run", "-", "--run", "piped"], question("first", "first"));
            assert_eq!(
                (ran.code, provider.calls()),
                (Some(0), 1),
                "nothing stored is lost: {}",
                ran.err
            );
        }
    }
}

#[test]
fn nobody_gets_to_the_log_of_a_store_that_was_replaced() {
    let (harness, _quick) = setup_with(MockConfig::default());
    harness.write_questions("seed.jsonl", 1);
    assert_eq!(harness.nova3(&["run", "seed.jsonl"]).code, Some(0));
    let slow = crate::cli::harness::Provider::start(crate::cli::harness::slow());
    let harness = harness.with("OPENAI_BASE_URL", &slow.base_url());
    harness.write_questions("in.jsonl", 1);
    let _run = waiting(&harness, &slow, &[]);
    std::fs::copy(harness.path("nova3.db"), harness.path("copy.db")).unwrap();
    std::fs::rename(harness.path("copy.db"), harness.path("nova3.db")).unwrap();
    assert_eq!(harness.nova3(&["run", "in.jsonl"]).code, Some(107));
    std::fs::remove_file(harness.path("nova3.db")).unwrap();
    assert_eq!(harness.nova3(&["run", "in.jsonl"]).code, Some(106));
    std::fs::remove_file(harness.path("nova3.db.lock")).unwrap();
    assert_eq!(harness.nova3(&["run", "in.jsonl"]).code, Some(106));
    assert_eq!(slow.calls(), 1);
}
