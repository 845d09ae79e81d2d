//! Input that is wrong, odd or hostile.

use nova3::mock::MockConfig;
use serde_json::json;

use crate::cli::harness::{errors, ids, lines, question, setup, setup_with};

#[test]
fn an_input_without_requests_selects_nothing() {
    let harness = setup().with("OPENAI_BASE_URL", "http://127.0.0.1:1");
    for (name, content) in [("empty", ""), ("blank", "\n\r\n  \t\n"), ("mark", "\u{feff}")] {
        harness.write(name, content);
        let ran = harness.nova3(&["run", name]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(4), ""), "{name}: {}", ran.err);
        assert_eq!(ran.err, format!("run `{name}`: the input holds no requests\n"));
        assert_eq!(harness.nova3(&["check", name]).code, Some(4), "{name}");
    }
}

#[test]
fn what_cannot_be_read_stops_before_anything_is_made() {
    let harness = setup().with("OPENAI_BASE_URL", "http://127.0.0.1:1");
    for command in ["run", "check"] {
        let ran = harness.nova3(&[command, "none.jsonl"]);
        assert_eq!(ran.code, Some(3));
        assert_eq!(
            ran.err,
            "nova3: input `DIR/none.jsonl`: No such file or directory (os error 2)\n"
        );
        let ran = harness.nova3(&[command, "."]);
        assert_eq!(ran.code, Some(3));
        assert_eq!(
            ran.err,
            "nova3: input `DIR`: it is a folder (give a file of one JSON object a line)\n"
        );
    }
    assert!(
        !harness.path("nova3.db").exists(),
        "a mistyped input left a store behind"
    );
}

#[test]
fn marks_line_ends_and_a_missing_last_newline_do_not_matter() {
    let (harness, _provider) = setup_with(MockConfig::default());
    let (one, two) = (question("a", "one"), question("b", "two"));
    harness.write(
        "in.jsonl",
        format!("\u{feff}{}\r\n\r\n{}", one.trim_end(), two.trim_end()),
    );
    let ran = harness.nova3(&["run", "in.jsonl", "--keep-order"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(ids(&lines(&ran.out)), ["a", "b"]);
    // The same requests in another notation are the same requests.
    harness.write("in.jsonl", format!("{one}{two}"));
    assert_eq!(
        harness.nova3(&["run", "in.jsonl"]).err,
        "run `in.jsonl`: finished; 2 of 2 done; 0 calls in TIME, no price configured\n"
    );
}

#[test]
fn a_bad_line_stops_nobody_and_is_named() {
    let (harness, provider) = setup_with(MockConfig::default());
    let mut input = question("a", "one").into_bytes();
    input.extend(b"{\"custom_id\":\"bad\",\"query\":\"\xff\"}\n");
    input.extend(b"{\"custom_id\":\"nul\",\"query\":\"a\0b\"}\nnot json\n[1]\n{}\n");
    input.extend(question("b", "two").bytes());
    input.extend(question("a", "other").bytes());
    input.extend(b"{\"custom_id\":\"odd\",\"query\":\"q\",\"tasks\":[\"answer\"],\"bogus\":1}\n");
    input.extend(b"{\"session_id\":\"../../etc\",\"query\":\"q\",\"tasks\":[\"answer\"]}\n");
    input.extend(b"{\"user_id\":\"a b\",\"query\":\"q\",\"tasks\":[\"answer\"]}\n");
    harness.write("in.jsonl", input);
    let ran = harness.nova3(&["run", "in.jsonl", "--keep-order"]);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    assert_eq!(
        ran.err.lines().next(),
        Some("run `in.jsonl`: finished; 2 of 11 done, 9 failed; 2 calls in TIME, no price configured")
    );
    let results = lines(&ran.out);
    assert_eq!(
        ids(&results),
        ["a", "bad", "nul", "-", "-", "-", "b", "-", "odd", "-", "-"]
    );
    assert!(errors(&results).iter().all(|(class, _)| *class == "bad_request"));
    insta::assert_snapshot!(
        errors(&results)
            .iter()
            .map(|(_, message)| *message)
            .collect::<Vec<_>>()
            .join("\n")
    );
    assert_eq!(provider.calls(), 2);
    let check = harness.nova3(&["check", "in.jsonl"]);
    assert_eq!(check.code, Some(3));
    insta::assert_snapshot!(check.err);
}

#[test]
fn unknown_keys_move_to_metadata_on_request() {
    let (harness, _provider) = setup_with(MockConfig::default());
    harness.write("in.jsonl", "{\"custom_id\":\"a\",\"query\":\"q\",\"tasks\":[\"answer\"],\"bogus\":{\"x\":[1.50]},\"metadata\":{\"k\":1e2}}\n");
    assert_eq!(harness.nova3(&["run", "in.jsonl"]).code, Some(100));
    let ran = harness.nova3(&["run", "in.jsonl", "--lenient"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let results = lines(&ran.out);
    assert_eq!(results[0]["metadata"], json!({"k": 100.0, "bogus": {"x": [1.5]}}));
    assert_eq!(harness.nova3(&["check", "in.jsonl", "--lenient"]).code, Some(0));
}

#[test]
fn equal_lines_without_an_id_are_requests_of_their_own() {
    let (harness, provider) = setup_with(MockConfig::default());
    let line = "{\"query\":\"same\",\"tasks\":[\"answer\"]}\n";
    harness.write("in.jsonl", line.repeat(3));
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    assert_eq!(
        (ran.code, harness.results("out.jsonl").len(), provider.calls()),
        (Some(0), 3, 3),
        "{}",
        ran.err
    );
    harness.write("in.jsonl", line.repeat(2));
    assert_eq!(
        harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]).code,
        Some(0)
    );
    assert_eq!((harness.results("out.jsonl").len(), provider.calls()), (2, 3));
}

#[test]
fn a_huge_line_is_refused_in_small_memory() {
    let (harness, _provider) = setup_with(MockConfig::default());
    let mut input = question("a", "one");
    input.push_str("{\"query\":\"");
    input.push_str(&"x".repeat(100 << 20));
    input.push_str("\"}\n");
    input.push_str(&question("b", "two"));
    harness.write("in.jsonl", &input);
    drop(input);
    // A gigabyte of address space has room for the program and its threads, but not for ten copies of the line as well.
    let ran = harness.shell("export MALLOC_ARENA_MAX=2; ulimit -v 1000000; nova3 run in.jsonl --keep-order");
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    let results = lines(&ran.out);
    assert_eq!(ids(&results), ["a", "-", "b"]);
    insta::assert_snapshot!(errors(&results)[0].1);
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    let (harness, _provider) = setup_with(MockConfig::default());
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(200_000), close.repeat(200_000));
    let input = format!(
        "{}\n{{\"query\":\"q\",\"metadata\":{}}}\n{{\"custom_id\":\"c\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{{\"model\":\"m\",\"messages\":{}}}}}\n",
        deep("[", "]"),
        deep("{\"a\":[", "]}"),
        deep("[", "]")
    );
    harness.write("in.jsonl", input);
    let ran = harness.nova3(&["run", "in.jsonl", "--keep-order"]);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    assert_eq!(lines(&ran.out).len(), 3);
    let results = lines(&ran.out);
    insta::assert_snapshot!(
        errors(&results)
            .iter()
            .map(|(_, message)| *message)
            .collect::<Vec<_>>()
            .join("\n")
    );
}

#[test]
fn the_bounds_of_a_query_are_kept() {
    let (harness, _provider) = setup_with(MockConfig::default());
    let input = [5000, 5001, 0]
        .map(|length| question(&format!("n{length}"), &"好".repeat(length)))
        .concat();
    harness.write("in.jsonl", input + &question("spaces", "  \t "));
    let ran = harness.nova3(&["run", "in.jsonl", "--keep-order"]);
    let results = lines(&ran.out);
    assert_eq!(ids(&results)[0], "n5000");
    insta::assert_snapshot!(
        errors(&results)
            .iter()
            .map(|(_, message)| *message)
            .collect::<Vec<_>>()
            .join("\n")
    );
}

#[test]
fn strict_runs_nothing_when_a_line_is_bad() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write("in.jsonl", question("a", "one") + "oops\n");
    let expected = "line 2: expected a JSON object, got `oops` (each line must be one whole object)\n\
                    nova3: 1 bad line; nothing was run (`--strict`)\n";
    let ran = harness.nova3(&["run", "in.jsonl", "--strict"]);
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (Some(3), "", expected)
    );
    let ran = harness.nova3_reading(
        &["run", "--strict", "--run", "s"],
        question("a", "one") + "oops\n",
    );
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (Some(3), "", expected)
    );
    assert_eq!(provider.calls(), 0);
    assert!(!harness.path("nova3.db").exists());
    let ran = harness.nova3_reading(&["run", "--strict", "--run", "s"], question("a", "one"));
    assert_eq!((ran.code, lines(&ran.out).len()), (Some(0), 1), "{}", ran.err);
}
