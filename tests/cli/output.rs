//! The result file: it holds exactly the finished requests of this input, also if files or inputs change between two
//! runs.

use nova3::mock::MockConfig;
use serde_json::json;

use crate::cli::harness::{Harness, Provider, ids, lines, question, questions, setup_with, sorted_ids};

const RUN: [&str; 4] = ["run", "in.jsonl", "-o", "out.jsonl"];

fn finished(count: usize) -> (Harness, Provider) {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", count);
    let ran = harness.nova3(&RUN);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    (harness, provider)
}

#[test]
fn results_come_in_input_order_on_request() {
    let (harness, provider) = finished(40);
    let wanted: Vec<String> = (1..=40).map(|n| format!("q{n}")).collect();
    let ran = harness.nova3(&["run", "in.jsonl", "--keep-order"]);
    assert_eq!(
        (ids(&lines(&ran.out)), ran.code),
        (wanted.iter().map(String::as_str).collect(), Some(0))
    );
    assert_eq!(
        harness.nova3(&[&RUN[..], &["--keep-order"]].concat()).code,
        Some(0)
    );
    assert_eq!(ids(&harness.results("out.jsonl")), wanted);
    let ran = harness.nova3(&["results", "--order", "input"]);
    assert_eq!(ran.out, harness.read("out.jsonl"));
    assert_eq!((harness.nova3(&["verify"]).code, provider.calls()), (Some(0), 40));
}

#[test]
fn a_foreign_file_is_kept_added_to_or_replaced() {
    let (harness, provider) = finished(2);
    harness.write("mine.jsonl", "mine");
    let into = |flags: &[&str]| harness.nova3(&[&["run", "in.jsonl", "-o", "mine.jsonl"], flags].concat());
    let ran = into(&[]);
    let message = "nova3: result file `DIR/mine.jsonl` does not hold what this run wrote: it existed before this run \
                   (use `--append` to keep it and add to it, `--overwrite` to replace it, or another `-o`)\n";
    assert_eq!(
        (ran.code, ran.err.as_str(), harness.read("mine.jsonl").as_str()),
        (Some(110), message, "mine")
    );
    assert_eq!(into(&["--append"]).code, Some(0));
    let kept = harness.read("mine.jsonl");
    assert_eq!(kept.strip_prefix("mine\n").map(|rest| lines(rest).len()), Some(2));
    assert_eq!(
        (into(&["--append"]).code, harness.read("mine.jsonl")),
        (Some(0), kept)
    );
    harness.write(
        "mine.jsonl",
        "mine again, and longer than it was before, by far, so that nothing fits any more",
    );
    assert_eq!(into(&["--overwrite"]).code, Some(0));
    assert_eq!(harness.results("mine.jsonl"), harness.results("out.jsonl"));
    assert_eq!(into(&["--append", "--overwrite"]).code, Some(2));
    assert_eq!(provider.calls(), 2);
}

#[test]
fn what_was_kept_goes_when_it_is_to_be_replaced() {
    let (harness, provider) = finished(2);
    harness.write("mine.jsonl", "torn");
    let into = |flag: &str| harness.nova3(&["run", "in.jsonl", "-o", "mine.jsonl", flag]).code;
    assert_eq!(into("--append"), Some(0));
    let verified = harness.nova3(&["verify", "-o", "mine.jsonl"]);
    assert_eq!(
        (verified.code, verified.out.as_str()),
        (
            Some(0),
            format!(
                "{}: 2 lines, each finished request exactly once, after 5 bytes that this run did not write\n",
                harness.path("mine.jsonl").display()
            )
            .as_str()
        )
    );
    for _ in 0..2 {
        assert_eq!(into("--overwrite"), Some(0));
        assert_eq!(harness.read("mine.jsonl"), harness.read("out.jsonl"));
    }
    assert_eq!((harness.nova3(&["verify"]).code, provider.calls()), (Some(0), 2));
}

#[test]
fn a_link_is_followed_to_a_file_that_is_still_to_be_made() {
    let (harness, provider) = finished(2);
    std::fs::create_dir(harness.path("there")).unwrap();
    std::os::unix::fs::symlink("there/second.jsonl", harness.path("first")).unwrap();
    std::os::unix::fs::symlink("first", harness.path("link")).unwrap();
    let into = |path: &str| harness.nova3(&["run", "in.jsonl", "-o", path]);
    for path in ["link", "link", "there/second.jsonl"] {
        let ran = into(path);
        assert_eq!(ran.code, Some(0), "{path}: {}", ran.err);
        assert_eq!(harness.read("there/second.jsonl"), harness.read("out.jsonl"));
        assert_eq!(harness.nova3(&["verify", "-o", path]).code, Some(0));
    }
    assert!(harness.path("link").is_symlink() && provider.calls() == 2);
    // A link to itself has no target.
    std::os::unix::fs::symlink("loop", harness.path("loop")).unwrap();
    assert_eq!(into("loop").code, Some(110));
}

#[test]
fn a_lost_file_is_made_again_for_nothing() {
    let (harness, provider) = finished(5);
    let before = harness.read("out.jsonl");
    std::fs::remove_file(harness.path("out.jsonl")).unwrap();
    assert_eq!(
        (harness.nova3(&RUN).code, harness.read("out.jsonl")),
        (Some(0), before.clone())
    );
    assert_eq!(
        harness.nova3(&["run", "in.jsonl", "-o", "second.jsonl"]).code,
        Some(0)
    );
    assert_eq!((harness.read("second.jsonl"), provider.calls()), (before, 5));
}

#[test]
fn a_new_version_takes_the_place_of_the_old_and_a_removed_line_leaves() {
    let (harness, provider) = finished(4);
    let edited = question("q1", "question 1") + &question("q3", "another question") + &question("new", "new");
    harness.write("in.jsonl", edited);
    assert_eq!(harness.nova3(&RUN).code, Some(0));
    let results = harness.results("out.jsonl");
    assert_eq!(
        (sorted_ids(&results), provider.calls()),
        (vec!["new", "q1", "q3"], 6)
    );
    let third = results.iter().find(|line| line["custom_id"] == "q3").unwrap();
    assert!(
        third["output"][0]["content"]
            .as_str()
            .unwrap()
            .contains("another question")
    );
    assert_eq!(harness.nova3(&["verify"]).code, Some(0));
    // The store keeps all results: lines and versions that come back are not paid again.
    harness.write("in.jsonl", questions(4));
    assert_eq!(harness.nova3(&RUN).code, Some(0));
    assert_eq!(
        sorted_ids(&harness.results("out.jsonl")),
        ["q1", "q2", "q3", "q4"]
    );
    let results = harness.results("out.jsonl");
    for line in &results {
        let question = line["custom_id"].as_str().unwrap().replace('q', "question ");
        assert!(
            line["output"][0]["content"].as_str().unwrap().contains(&question),
            "{line}"
        );
    }
    assert_eq!((harness.nova3(&["verify"]).code, provider.calls()), (Some(0), 6));
}

#[test]
fn a_file_that_is_added_to_begins_with_the_present_input_and_keeps_what_it_has() {
    let (harness, provider) = finished(4);
    let ids = |file: &str| {
        let results = harness.results(file);
        sorted_ids(&results)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let add = |file: &str| {
        let ran = harness.nova3(&["run", "in.jsonl", "--append", "-o", file]);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let proof = harness.nova3(&["verify", "-o", file]);
        assert_eq!(proof.code, Some(0), "{}{}", proof.out, harness.read(file));
    };
    // `q4` leaves the input in the same invocation that begins one of the files.
    harness.write("in.jsonl", questions(3));
    add("new.jsonl");
    assert_eq!(ids("new.jsonl"), ["q1", "q2", "q3"]);
    harness.write("in.jsonl", questions(2));
    add("new.jsonl");
    assert_eq!(ids("new.jsonl"), ["q1", "q2", "q3"], "what it has stays");
    add("newer.jsonl");
    assert_eq!(ids("newer.jsonl"), ["q1", "q2"]);
    // A file that was written without `--append` holds the lines of its input. From now on it keeps them.
    add("out.jsonl");
    assert_eq!(ids("out.jsonl"), ["q1", "q2"]);
    harness.write("in.jsonl", questions(1));
    add("out.jsonl");
    assert_eq!(ids("out.jsonl"), ["q1", "q2"]);
    assert_eq!(harness.nova3(&RUN).code, Some(0));
    assert_eq!((ids("out.jsonl"), provider.calls()), (vec!["q1".to_owned()], 4));
}

#[test]
fn metadata_is_returned_as_it_came_and_changes_for_nothing() {
    let (harness, provider) = setup_with(MockConfig::default());
    let with = |metadata: &str| {
        harness.write(
            "in.jsonl",
            format!(
                "{{\"custom_id\":\"a\",\"query\":\"q\",\"tasks\":[\"answer\"],\"metadata\":{metadata}}}\n"
            ),
        );
        assert_eq!(harness.nova3(&RUN).code, Some(0));
        harness.read("out.jsonl")
    };
    let odd = r#"{"z":1.50,"a":1E5,"big":12345678901234567890123,"t":"\u00e9\u001b[31m","n":null,"l":[{}]}"#;
    assert!(with(odd).ends_with(&format!("\"metadata\":{odd}}}\n")));
    let changed = with(r#"{"owner":"b"}"#);
    assert_eq!(lines(&changed).len(), 1);
    assert_eq!(lines(&changed)[0]["metadata"], json!({"owner": "b"}));
    assert_eq!((harness.nova3(&["verify"]).code, provider.calls()), (Some(0), 1));
}

#[test]
fn verify_sees_every_difference() {
    let (harness, _provider) = finished(5);
    let good = harness.read("out.jsonl");
    let all: Vec<&str> = good.split_inclusive('\n').collect();
    let shown = harness.path("out.jsonl").display().to_string();
    assert_eq!(
        harness.nova3(&["verify", "-o", "out.jsonl"]).out,
        format!("{shown}: 5 lines, each finished request exactly once\n")
    );
    let cases = [
        (
            "a changed byte",
            good.replacen("question 3", "question 8", 1),
            "line 3 of this run differs",
        ),
        (
            "a missing line",
            [all[0], all[1], all[3], all[4]].concat(),
            "line 3 of this run differs",
        ),
        (
            "a missing last line",
            all[..4].concat(),
            "line 5 of this run differs",
        ),
        (
            "a torn line",
            good[..good.len() - 9].to_owned(),
            "line 5 of this run differs",
        ),
        (
            "an extra line",
            format!("{good}{{}}\n"),
            "something follows line 5",
        ),
        (
            "a duplicated line",
            format!("{good}{}", all[0]),
            "something follows line 5",
        ),
        (
            "a line twice in the middle",
            [all[0], all[0], all[1], all[2], all[3], all[4]].concat(),
            "line 2 of this run differs",
        ),
        (
            "two lines swapped",
            [all[1], all[0], all[2], all[3], all[4]].concat(),
            "line 1 of this run differs",
        ),
        ("nothing", String::new(), "line 1 of this run differs"),
    ];
    for (what, content, expected) in cases {
        // It is not known beforehand which line finished third.
        let position = all.iter().position(|line| line.contains("question 3")).unwrap() + 1;
        let expected = if what == "a changed byte" {
            format!("line {position} of this run differs")
        } else {
            expected.to_owned()
        };
        harness.write("out.jsonl", &content);
        let ran = harness.nova3(&["verify"]);
        assert_eq!(ran.code, Some(110), "{what}: {}", ran.out);
        assert!(
            ran.out
                .starts_with(&format!("{shown}: NOT as the store says: {expected}")),
            "{what}: {}",
            ran.out
        );
        assert_eq!(harness.read("out.jsonl"), content, "verify wrote");
    }
    std::fs::remove_file(harness.path("out.jsonl")).unwrap();
    assert_eq!(harness.nova3(&["verify"]).code, Some(110));
    harness.write("out.jsonl", good);
    assert_eq!(harness.nova3(&["verify"]).code, Some(0));
    let ran = harness.nova3(&["verify", "-o", "other.jsonl"]);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            Some(4),
            format!(
                "nova3: run `in.jsonl` has written no file `DIR/other.jsonl` on host `{host}` (it has written `DIR/out.jsonl`)\n"
            )
            .as_str()
        )
    );
}

#[test]
fn a_damaged_file_is_refused_and_not_mended_by_guessing() {
    let (harness, _provider) = finished(5);
    let good = harness.read("out.jsonl");
    for (content, reason) in [
        (
            format!("{good}extra\n"),
            format!("6 bytes were added after byte {}", good.len()),
        ),
        (
            good[..good.len() - 9].to_owned(),
            format!("it has {} bytes, but {} were written", good.len() - 9, good.len()),
        ),
    ] {
        harness.write("out.jsonl", &content);
        let ran = harness.nova3(&RUN);
        assert_eq!(ran.code, Some(110));
        let expected = format!(
            "nova3: result file `DIR/out.jsonl` does not hold what this run wrote: {reason} (use `--append`"
        );
        assert!(ran.err.starts_with(&expected), "{}", ran.err);
        assert_eq!(harness.read("out.jsonl"), content);
    }
    assert_eq!(
        harness.nova3(&[&RUN[..], &["--overwrite"]].concat()).code,
        Some(0)
    );
    assert_eq!(harness.read("out.jsonl"), good);
}
