//! Stores and result files in places where they are impossible or forbidden.

use std::path::PathBuf;
use std::process::Command;

use nova3::mock::MockConfig;

use crate::cli::harness::{Harness, questions, setup_with, sorted_ids};

/// Asserts that the run is refused with this code and message.
#[track_caller]
fn refuses(harness: &Harness, args: &[&str], code: i32, message: &str) {
    let ran = harness.nova3(&[&["run", "in.jsonl"], args].concat());
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (Some(code), "", format!("nova3: {message}\n").as_str())
    );
}

#[test]
fn a_result_file_never_replaces_input_or_store() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 2);
    let cure = "(give another file)";
    for _ in ["no store yet", "a store"] {
        for flags in [&["-o"][..], &["--overwrite", "-o"], &["--append", "-o"]] {
            let with = |file| [flags, &[file]].concat();
            refuses(
                &harness,
                &with("in.jsonl"),
                2,
                &format!("`-o DIR/in.jsonl` is the input itself {cure}"),
            );
            for file in ["nova3.db", "./nova3.db-wal", "nova3.db-shm", "nova3.db.lock"] {
                let name = file.trim_start_matches("./");
                let what = "the store itself, or a file beside it that it needs";
                refuses(
                    &harness,
                    &with(file),
                    2,
                    &format!("`-o DIR/{name}` is {what} {cure}"),
                );
            }
        }
        assert_eq!(
            harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]).code,
            Some(0)
        );
    }
    assert_eq!((harness.read("in.jsonl"), provider.calls()), (questions(2), 2));
    std::os::unix::fs::symlink(harness.path("in.jsonl"), harness.path("link")).unwrap();
    refuses(
        &harness,
        &["--overwrite", "-o", "link"],
        2,
        &format!("`-o DIR/in.jsonl` is the input itself {cure}"),
    );
    let store = "`in.jsonl` is not a nova3 store: it is another kind of file (give another `--store`)";
    refuses(&harness, &["--store", "in.jsonl"], 106, store);
}

#[test]
fn places_that_cannot_be_written_are_named() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 2);
    refuses(
        &harness,
        &["-o", "in.jsonl/x"],
        110,
        "result file `DIR/in.jsonl/x`: opening it failed: Not a directory (os error 20)",
    );
    refuses(
        &harness,
        &["-o", "none/x"],
        110,
        "result file `none/x`: its folder cannot be used: No such file or directory (os error 2)",
    );
    refuses(
        &harness,
        &["-o", "/proc/none"],
        110,
        "result file `/proc/none`: opening it failed: No such file or directory (os error 2)",
    );
    for device in ["/dev/null", "/dev/full", "."] {
        let shown = if device == "." { "DIR" } else { device };
        let message = format!(
            "result file `{shown}` is a folder or a device (write to standard output and redirect it)"
        );
        refuses(&harness, &["-o", device], 110, &message);
    }
    refuses(
        &harness,
        &["--store", "in.jsonl/x"],
        1,
        "store `in.jsonl/x`: opening it failed: Not a directory (os error 20)",
    );
    refuses(
        &harness,
        &["--store", "/proc/none"],
        1,
        "store `/proc/none`: opening its lock file failed: No such file or directory (os error 2)",
    );
    refuses(
        &harness,
        &["--store", "."],
        106,
        "`.` is not a nova3 store: it is a folder or a device (give another `--store`)",
    );
    assert_eq!(provider.calls(), 0);
}

#[test]
fn a_file_that_is_no_store_of_this_version_is_left_alone() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 2);
    harness.write("text", "not a database\n");
    let reason = "is not a nova3 store: it is another kind of file (give another `--store`)";
    refuses(&harness, &["--store", "text"], 106, &format!("`text` {reason}"));
    assert_eq!(harness.read("text"), "not a database\n");

    let other = rusqlite::Connection::open(harness.path("other.db")).unwrap();
    other
        .execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
        .unwrap();
    drop(other);
    let before = std::fs::read(harness.path("other.db")).unwrap();
    let reason = "is not a nova3 store: it is a database of another program (give another `--store`)";
    refuses(
        &harness,
        &["--store", "other.db"],
        106,
        &format!("`other.db` {reason}"),
    );
    assert_eq!(std::fs::read(harness.path("other.db")).unwrap(), before);

    assert_eq!(harness.nova3(&["run", "in.jsonl"]).code, Some(0));
    let store = rusqlite::Connection::open(harness.path("nova3.db")).unwrap();
    store.pragma_update(None, "user_version", 99).unwrap();
    drop(store);
    let message = "store `nova3.db` has schema version 99, but this nova3 knows only versions up to 9 (use the newer nova3, or another `--store`)";
    refuses(&harness, &[], 106, message);
    for command in ["status", "results", "verify", "retry"] {
        let ran = harness.nova3(&[command]);
        assert_eq!((ran.code, ran.err), (Some(106), format!("nova3: {message}\n")));
    }
    assert_eq!(provider.calls(), 2);
}

/// A disk that is soon full. It is unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` if this user may not mount.
    #[expect(clippy::print_stderr, reason = "a test that was skipped says so")]
    fn mount(harness: &Harness, size: &str) -> Option<Self> {
        let path = harness.path("disk");
        std::fs::create_dir(&path).unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(&path)
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(path));
        }
        eprintln!("skipped: mounting a small disk needs root");
        None
    }

    fn grow(&self, size: &str) {
        let options = format!("remount,size={size}");
        assert!(
            Command::new("mount")
                .args(["-o", &options])
                .arg(&self.0)
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg(&self.0).status().ok();
    }
}

#[test]
fn a_full_disk_under_the_result_file_costs_nothing_twice() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 200);
    let Some(disk) = SmallDisk::mount(&harness, "64k") else {
        return;
    };
    let args = ["run", "in.jsonl", "-o", "disk/out.jsonl", "-j", "4"];
    let ran = harness.nova3(&args);
    assert_eq!(ran.code, Some(110), "{}", ran.err);
    let last = ran.err.lines().last().unwrap();
    let expected = "nova3: result file `DIR/disk/out.jsonl`: writing failed \
                    (free some space and run the same command again: nothing finished is lost): \
                    No space left on device (os error 28)";
    assert_eq!(last, expected);
    let done = harness.status(&[])["done"].as_u64().unwrap();
    assert_eq!(
        provider.calls(),
        done,
        "an answer that was paid for is not in the store"
    );
    disk.grow("10m");
    let ran = harness.nova3(&args);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(provider.calls(), 200);
    assert_eq!(sorted_ids(&harness.results("disk/out.jsonl")).len(), 200);
    assert_eq!(harness.nova3(&["verify"]).code, Some(0));
}

#[test]
fn a_full_disk_under_the_store_loses_nothing_that_was_durable() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 200);
    let Some(disk) = SmallDisk::mount(&harness, "700k") else {
        return;
    };
    let args = [
        "run",
        "in.jsonl",
        "--store",
        "disk/s.db",
        "-o",
        "out.jsonl",
        "-j",
        "4",
    ];
    let ran = harness.nova3(&args);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let expected = "nova3: store `disk/s.db`: writing failed: database or disk is full \
                    (free some space and run the same command again: nothing stored is lost)";
    assert_eq!(ran.err.lines().last().unwrap(), expected);
    let paid = provider.calls();
    disk.grow("20m");
    let ran = harness.nova3(&args);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(sorted_ids(&harness.results("out.jsonl")).len(), 200);
    // Results that could not be stored were in flight: at most twice the slots are paid again.
    assert!(
        paid > 0 && provider.calls() <= 200 + 2 * 4,
        "{paid} calls, then {}",
        provider.calls()
    );
}

#[test]
fn a_limit_on_file_sizes_is_a_full_disk() {
    // The write itself fails, whether the limit's signal is ignored (as under a service manager) or not.
    for trap in ["", "trap '' XFSZ;"] {
        let (harness, provider) = setup_with(MockConfig::default());
        harness.write_questions("in.jsonl", 200);
        let ran = harness.shell(&format!(
            "{trap} ulimit -f 600; nova3 run in.jsonl -o out.jsonl -j 4"
        ));
        assert_eq!(ran.code, Some(1), "{}", ran.err);
        let expected = "nova3: store `nova3.db`: reading or writing failed: disk I/O error (a failing disk, see the \
                        system's log, or a limit on the size of files; fix the cause and run the same command again: \
                        nothing stored is lost)";
        assert_eq!(ran.err.lines().last().unwrap(), expected);
        assert_eq!(
            harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]).code,
            Some(0)
        );
        assert_eq!(sorted_ids(&harness.results("out.jsonl")).len(), 200);
        assert!(provider.calls() <= 200 + 2 * 4, "{}", provider.calls());
    }
}

#[test]
fn a_limit_on_file_sizes_under_the_results_is_named() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 5);
    let theirs = format!("{}\n", "x".repeat(600 * 1024 - 100));
    harness.write("out.jsonl", &theirs);
    let append = ["run", "in.jsonl", "-o", "out.jsonl", "--append"];
    let ran = harness.shell(&format!("ulimit -f 600; nova3 {}", append.join(" ")));
    let expected = "nova3: result file `DIR/out.jsonl`: writing failed (raise the limit on the size of files, `ulimit -f`, \
                    and run the same command again: nothing finished is lost): File too large (os error 27)";
    assert_eq!((ran.code, ran.err.lines().last().unwrap()), (Some(110), expected));
    let ran = harness.shell("ulimit -f 1; nova3 run in.jsonl --store other.db >> out.jsonl");
    assert_ne!(ran.code, None, "a signal ended it");
    let ran = harness.shell("ulimit -f 0; nova3 init new");
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains("File too large"), "{}", ran.err);
    assert_eq!(
        harness.nova3(&["init", "new"]).code,
        Some(0),
        "nothing is left of the first try"
    );
    assert_eq!(harness.nova3(&append).code, Some(0));
    assert_eq!(provider.calls(), 5);
    let all = harness.read("out.jsonl");
    let ours = all.strip_prefix(&theirs).unwrap();
    assert_eq!(ours.lines().count(), 5);
}

#[test]
fn the_default_name_belongs_to_one_path() {
    let (harness, _provider) = setup_with(MockConfig::default());
    std::fs::create_dir(harness.path("other")).unwrap();
    harness.write_questions("in.jsonl", 2);
    harness.write_questions("other/in.jsonl", 2);
    assert_eq!(harness.nova3(&["run", "in.jsonl"]).code, Some(0));
    let ran = harness.nova3(&["run", "other/in.jsonl"]);
    let message = "nova3: run `in.jsonl` in this store was made from `DIR/in.jsonl`, not from `DIR/other/in.jsonl` \
                   (if the file was moved, go on with `--run 'in.jsonl'`; if it is another file, start a new run under \
                   another name, such as `--run 'in.jsonl-2'`)\n";
    assert_eq!((ran.code, ran.err.as_str()), (Some(106), message));
    assert_eq!(
        harness.nova3(&["run", "other/in.jsonl", "--run", "other"]).code,
        Some(0)
    );
    // A name that the user gives resumes the run, wherever the input file is now.
    assert_eq!(
        harness.nova3(&["run", "in.jsonl", "--run", "other"]).code,
        Some(0)
    );
}

#[test]
fn a_result_file_has_a_name_that_can_be_remembered() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 1);
    let ran = harness.shell("nova3 run in.jsonl -o $'o\\xff.jsonl'");
    let message = "nova3: result file `DIR/o\u{fffd}.jsonl` has a name that is not UTF-8, \
                   so the store cannot keep it (give another name)\n";
    assert_eq!(
        (ran.code, ran.err.as_str(), provider.calls()),
        (Some(2), message, 0)
    );
}

#[test]
fn a_frozen_run_takes_no_changes() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 3);
    assert_eq!(
        harness
            .nova3(&["run", "in.jsonl", "--frozen", "-o", "out.jsonl"])
            .code,
        Some(0)
    );
    let before = harness.read("out.jsonl");
    harness.write("in.jsonl", questions(3).replace("question 2", "question two"));
    let ran = harness.nova3(&["run", "in.jsonl", "--frozen", "-o", "out.jsonl"]);
    let message = "nova3: line 2: request `q2` differs from the request of that name in run `in.jsonl` (run without `--frozen` to replace it)\n";
    assert_eq!((ran.code, ran.err.as_str()), (Some(106), message));
    assert_eq!((harness.read("out.jsonl"), provider.calls()), (before, 3));
    assert_eq!(
        harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]).code,
        Some(0)
    );
    assert_eq!(
        (sorted_ids(&harness.results("out.jsonl")), provider.calls()),
        (vec!["q1", "q2", "q3"], 4)
    );
}
