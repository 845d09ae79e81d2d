//! The platform's rules for a finished post: one repair, then a warning. The post is kept.

use serde_json::{Value, json};

use crate::cli::harness::{Harness, Ran, lines};
use crate::cli::model::{calls, says, setup_saying};
use crate::cli::provider::Scripted;

fn post() -> Value {
    json!({"title": "油皮早八", "content": "先洗脸，再上妆。", "tags": ["护肤", "油皮", "早八"], "cover": "c", "best_time": "t"})
}

fn answer(post: &Value) -> String {
    json!({"items": [post]}).to_string()
}

/// A model whose first answer is this post. Its second answer is `mended`.
fn setup_writing(post: &Value, mended: &Value) -> (Harness, Scripted) {
    let (first, second) = (answer(post), answer(mended));
    setup_saying(move |call| says(if call.is_repair() { &second } else { &first }))
}

fn write(harness: &Harness) -> Ran {
    let line = json!({"custom_id": "a", "query": "写一篇油皮早八的笔记", "tasks": ["xhs_writing"]});
    harness.write("in.jsonl", format!("{line}\n"));
    harness.nova3(&["run", "in.jsonl"])
}

fn with(key: &str, value: Value) -> Value {
    let mut post = post();
    post[key] = value;
    post
}

const SETTINGS: &str = "[agents]\nbanned_words = [\"绝绝子\"]\n";

fn faulty() -> [(Value, &'static str); 6] {
    [
        (
            with("title", json!("长".repeat(21))),
            "`title` has 21 characters, at most 20",
        ),
        (
            with("content", json!("长".repeat(1001))),
            "`content` has 1001 characters, at most 1000",
        ),
        (
            with("tags", json!(["一"])),
            "`tags` has 1 entry, 3 to 10 are asked",
        ),
        (
            with(
                "tags",
                json!(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"]),
            ),
            "`tags` has 11 entries, 3 to 10 are asked",
        ),
        (
            with("content", json!("这款绝绝子，人人都爱用。")),
            "`content` holds the banned word `绝绝子`",
        ),
        (
            with("title", json!("最佳散粉")),
            "`title` holds the banned word `最佳`",
        ),
    ]
}

#[test]
fn a_fault_is_mended_once() {
    for (bad, told) in faulty() {
        let (harness, model) = setup_writing(&bad, &post());
        harness.write("nova3.toml", SETTINGS);
        let ran = write(&harness);
        assert_eq!(ran.code, Some(0), "{}", ran.out);
        let line = &lines(&ran.out)[0];
        assert_eq!(
            (&line["output"][0]["content"], &line["warnings"]),
            (&post()["content"], &json!([]))
        );
        let calls = calls(&model);
        assert_eq!(calls.len(), 2);
        assert!(
            calls[1].message(3).contains(&format!("item 1: {told}")),
            "{}",
            calls[1].message(3)
        );
    }
}

#[test]
fn a_fault_that_stays_is_told_and_the_post_is_kept() {
    for (bad, told) in faulty() {
        let (harness, model) = setup_writing(&bad, &bad);
        harness.write("nova3.toml", SETTINGS);
        let ran = write(&harness);
        assert_eq!(ran.code, Some(0), "{}", ran.out);
        let line = &lines(&ran.out)[0];
        let mut kept = bad.clone();
        kept["id"] = json!("xhs_post1");
        assert_eq!(line["output"], json!([kept]));
        assert_eq!(
            line["warnings"],
            json!([format!("item 1: {told} (after one repair)")])
        );
        assert_eq!(model.bodies().len(), 2);
    }
}

#[test]
fn a_repair_that_makes_it_worse_is_not_taken() {
    let bad = with("title", json!("长".repeat(21)));
    let first = answer(&bad);
    let (harness, _model) = setup_saying(move |call| says(if call.is_repair() { "sorry" } else { &first }));
    let line = &lines(&write(&harness).out)[0];
    assert_eq!(line["output"][0]["title"], bad["title"]);
    assert_eq!(
        line["warnings"],
        json!(["item 1: `title` has 21 characters, at most 20 (a repair was of no use)"])
    );
}

#[test]
fn a_post_must_carry_the_label_of_the_settings() {
    let labelled = with("content", json!("先洗脸，再上妆。\n#AI生成"));
    let (harness, model) = setup_writing(&post(), &labelled);
    harness.write("nova3.toml", "[agents]\nai_label = \"#AI生成\"\n");
    let ran = write(&harness);
    assert_eq!(lines(&ran.out)[0]["output"][0]["content"], labelled["content"]);
    let calls = calls(&model);
    assert!(calls[0].system().contains("正文最后单独一行原样写：#AI生成"));
    assert!(
        calls[1]
            .message(3)
            .contains("item 1: `content` does not carry the label `#AI生成`")
    );
    let (harness, _model) = setup_writing(&post(), &post());
    harness.write("nova3.toml", "[agents]\nai_label = \"#AI生成\"\n");
    assert_eq!(
        lines(&write(&harness).out)[0]["warnings"],
        json!(["item 1: `content` does not carry the label `#AI生成` (after one repair)"])
    );
}
