//! The page of errors, and the messages that name it.

use serde_json::Value;

use crate::cli::harness::setup;

#[test]
fn an_error_names_its_page_and_the_page_is_built_in() {
    let harness = setup();
    let output = harness.command(&["status"]).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.ends_with(")\nmore: nova3 explain 4\n"), "{err}");
    let page = harness.nova3(&["explain", "4"]);
    assert!(
        page.code == Some(0) && page.out.starts_with("exit 4\n"),
        "{}",
        page.out
    );
    let list = harness.nova3(&["explain"]);
    assert!(
        list.out.contains("rate_limited\n") && list.out.contains("exit 110\n"),
        "{}",
        list.out
    );
    let unknown = harness.nova3(&["explain", "nonsense"]);
    assert!(
        unknown.code == Some(4) && unknown.err.contains("there is no page `nonsense`"),
        "{}",
        unknown.err
    );
}

#[test]
fn an_error_as_json_has_the_page_as_a_field() {
    let harness = setup();
    let ran = harness.nova3(&["status", "--log-format", "json"]);
    let lines: Vec<Value> = ran
        .err
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 1, "{}", ran.err);
    assert_eq!(lines[0]["fields"]["more"], "nova3 explain 4", "{}", ran.err);
}
