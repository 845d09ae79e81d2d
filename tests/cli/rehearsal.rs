//! A rehearsal with the mock server: its made-up answers pass every check and are readable.

use nova3::mock::MockConfig;
use serde_json::{Value, json};

use crate::cli::harness::setup_with;
use crate::cli::model::ACTIONS;
use crate::cli::searches::with_web;

/// The example of the README, and all agents in both languages.
fn input() -> String {
    let all = |query: &str| json!({"query": query, "tasks": ACTIONS}).to_string();
    let example = include_str!("../../fixtures/requests.jsonl");
    let (chinese, english) = (
        all("为冷萃茶写一套内容"),
        all("Write about cold brew tea for office workers"),
    );
    format!("{example}{chinese}\n{english}\n")
}

#[test]
fn made_up_answers_pass_every_check_and_can_be_read() {
    let (harness, mock) = setup_with(MockConfig::default());
    with_web(&harness, &mock.base_url(), "0");
    harness.write("in.jsonl", input());
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let lines = harness.results("out.jsonl");
    assert_eq!(lines.len(), input().lines().count());
    let mut texts = 0;
    for line in lines.iter().filter(|line| line["response"].is_null()) {
        let list = |key: &str| line[key].as_array().unwrap().clone();
        assert_eq!(list("warnings"), Vec::<Value>::new(), "{line}");
        for task in list("tasks") {
            assert!(task["attempts"].as_u64().unwrap() <= 1, "a repair: {task}");
            for item in task["result"].as_array().into_iter().flatten() {
                // Fields that a terminal shows have no placeholder text.
                for key in ["title", "content", "tags"] {
                    assert!(!item[key].to_string().contains("[mock] "), "{item}");
                }
                texts += 1;
            }
        }
    }
    assert!(texts > 60, "only {texts} items");
}
