//! The platform's rules for a finished post: one repair, then a warning. The post is kept.

use serde_json::{Value, json};

use crate::cli::harness::{Harness, Ran, lines};
use crate::cli::model::{Call, calls, good as good_answer, item, says, setup_saying};
use crate::cli::provider::Scripted;

/// The label of the default settings.
const LABEL: &str = "内容由AI辅助生成";

fn post() -> Value {
    json!({"title": "油皮早八", "content": format!("先洗脸，再上妆。\n{LABEL}"), "tags": ["护肤", "油皮", "早八"], "cover": "c", "best_time": "t"})
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

fn faulty() -> [(Value, &'static str); 8] {
    [
        (
            with("title", json!("长".repeat(21))),
            "`title` counts as 21 characters, at most 20 (two ASCII characters count as one)",
        ),
        (
            with("content", json!(format!("{}\n{LABEL}", "长".repeat(991)))),
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
            with("content", json!(format!("这款绝绝子，人人都爱用。\n{LABEL}"))),
            "`content` holds the banned word `绝绝子`",
        ),
        (
            with("title", json!("绝绝子散粉")),
            "`title` holds the banned word `绝绝子`",
        ),
        (
            with("cover", json!("大字：全网第一")),
            "`cover` holds the banned word `全网第一`",
        ),
        (
            with("best_time", json!("周五晚，绝 绝子")),
            "`best_time` holds the banned word `绝绝子`",
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
        (kept["id"], kept["basis"]) = (json!("xhs_post1"), json!([]));
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
        json!([
            "item 1: `title` counts as 21 characters, at most 20 (two ASCII characters count as one) (a repair was of no use)"
        ])
    );
}

/// Runs one line with a model that gives these texts one after the other. Returns its result and the calls.
fn ran(settings: &str, line: &Value, first: &Value, mended: &Value) -> (Value, Vec<Call>) {
    let (harness, model) = setup_writing(first, mended);
    harness.write("nova3.toml", settings);
    harness.write("in.jsonl", format!("{line}\n"));
    let ran = harness.nova3(&["run", "in.jsonl"]);
    assert_eq!(ran.code, Some(0), "{} {}", ran.out, ran.err);
    (lines(&ran.out).remove(0), calls(&model))
}

#[test]
fn a_post_carries_the_label_without_a_second_call() {
    let line = json!({"query": "写一篇油皮早八的笔记", "tasks": ["xhs_writing"]});
    let bare = with("content", json!("先洗脸，再上妆。"));
    for (settings, label) in [
        ("", Some(LABEL)),
        ("[agents]\nai_label = \"#AI生成\"\n", Some("#AI生成")),
        ("[agents]\nai_label = \"\"\n", None),
    ] {
        let (result, calls) = ran(settings, &line, &bare, &bare);
        let expected = label.map_or("先洗脸，再上妆。".to_owned(), |label| {
            format!("先洗脸，再上妆。\n{label}")
        });
        assert_eq!(result["output"][0]["content"], json!(expected), "{settings}");
        assert_eq!((&result["warnings"], calls.len()), (&json!([]), 1), "{settings}");
        let asked = calls[0].system().split_once("正文最后单独一行原样写：");
        let asked = asked.map(|(_, after)| after.split('（').next().unwrap_or_default());
        assert_eq!(asked, label, "{settings}");
    }
    let english = json!({"query": "Write a post about oily skin", "tasks": ["xhs_writing"]});
    let (result, calls) = ran("", &english, &bare, &bare);
    assert_eq!(
        result["output"][0]["content"],
        json!(format!("先洗脸，再上妆。\n{LABEL}"))
    );
    assert_eq!(calls.len(), 1);
}

#[test]
fn a_label_is_one_short_line() {
    for label in ["a\\nb".to_owned(), "长".repeat(61)] {
        let (harness, _model) = setup_saying(good_answer);
        harness.write("nova3.toml", format!("[agents]\nai_label = \"{label}\"\n"));
        let ran = harness.nova3(&["config"]);
        assert_eq!(ran.code, Some(2), "{}", ran.out);
        assert!(
            ran.err.contains("`agents.ai_label`") && ran.err.contains("one line of at most 60 characters"),
            "{}",
            ran.err
        );
    }
}

#[test]
fn a_label_does_not_make_a_post_too_long() {
    let line = json!({"query": "写一篇油皮早八的笔记", "tasks": ["xhs_writing"]});
    let full = with("content", json!("长".repeat(1000)));
    let (result, calls) = ran("", &line, &full, &full);
    assert_eq!(result["output"][0]["content"], full["content"]);
    let told = format!("item 1: `content` does not carry the label `{LABEL}`");
    assert!(calls[1].message(3).contains(&told), "{}", calls[1].message(3));
    assert_eq!(result["warnings"], json!([format!("{told} (after one repair)")]));
}

#[test]
fn every_agent_that_writes_is_checked_in_every_text() {
    for (action, field) in [
        ("tiktok_script", "music"),
        ("wechat_article", "pictures"),
        ("hitpoint", "hook"),
    ] {
        let (harness, model) = setup_saying(move |call| {
            let schema = &call.body()["response_format"]["json_schema"]["schema"];
            let mut item = item(schema, "早上八点的地铁");
            if !call.is_repair() {
                item[field] = json!("全网第一");
            }
            says(json!({"items": [item]}).to_string())
        });
        harness.write(
            "in.jsonl",
            format!("{}\n", json!({"query": "写散粉", "tasks": [action]})),
        );
        let ran = harness.nova3(&["run", "in.jsonl"]);
        let calls = calls(&model);
        assert_eq!(calls.len(), 2, "{action}");
        let told = format!("item 1: `{field}` holds the banned word `全网第一`");
        assert!(calls[1].message(3).contains(&told), "{}", calls[1].message(3));
        let result = &lines(&ran.out)[0];
        assert_eq!(result["warnings"], json!([]));
        let is_labelled = result["output"][0]["content"].as_str().unwrap().ends_with(LABEL);
        assert_eq!(is_labelled, action != "hitpoint", "{action}");
    }
}

#[test]
fn a_post_says_what_its_product_asks_for() {
    let product =
        json!({"name": "控油散粉", "price": "89 元", "must_say": ["早八不脱妆"], "must_not_say": ["永久"]});
    let line =
        json!({"query": "写一篇散粉的笔记", "tasks": ["xhs_writing"], "background": {"product": product}});
    let silent = with("cover", json!("大字：永 久控油"));
    let good = with("title", json!("早八 不脱妆"));
    let (result, made) = ran("", &line, &silent, &good);
    for part in [
        "# 产品\n\n<<<产品.名称\n控油散粉\n产品.名称>>>",
        "<<<产品.价格\n89 元\n产品.价格>>>",
        "<<<产品.必须写1\n早八不脱妆\n产品.必须写1>>>",
        "<<<产品.不能写1\n永久\n产品.不能写1>>>",
    ] {
        assert!(made[0].user().contains(part), "{}", made[0].user());
    }
    let told = [
        "item 1: neither `title` nor `content` says `早八不脱妆` (`background.product.must_say`)",
        "item 1: `cover` says `永久` (`background.product.must_not_say`)",
    ];
    for told in told {
        assert!(made[1].message(3).contains(told), "{}", made[1].message(3));
    }
    assert_eq!(
        (&result["output"][0]["title"], &result["warnings"]),
        (&good["title"], &json!([]))
    );
    let (result, _) = ran("", &line, &silent, &silent);
    assert_eq!(
        result["warnings"],
        json!(told.map(|told| format!("{told} (after one repair)")))
    );
    // A task that writes nothing is not asked to say it.
    let (harness, model) = setup_saying(good_answer);
    let line = json!({"query": "写散粉", "tasks": ["insight"], "background": {"product": product}});
    harness.write("in.jsonl", format!("{line}\n"));
    harness.nova3(&["run", "in.jsonl"]);
    assert_eq!(model.bodies().len(), 1);
}

#[test]
fn a_basis_holds_the_names_of_the_prompt_only() {
    let line = json!({"query": "写一篇油皮早八的笔记", "tasks": ["xhs_writing"], "nova3_selections": {"nova3_hitpoint": [
        {"id": "hitpoint1", "content": "从一个小麻烦讲起", "selected": true}]}});
    for (basis, kept, told) in [
        (
            json!(["@hitpoint1", "fact9", "任务"]),
            json!(["hitpoint1", "任务"]),
            json!(["`basis` names `fact9`, which the prompt does not hold, dropped"]),
        ),
        (json!("hitpoint1"), json!([]), json!([])),
        (Value::Null, json!([]), json!([])),
    ] {
        let post = with("basis", basis);
        let (result, calls) = ran("", &line, &post, &post);
        assert_eq!(
            (&result["output"][0]["basis"], &result["warnings"]),
            (&kept, &told)
        );
        assert_eq!(calls.len(), 1);
    }
    let (_, calls) = ran("", &line, &post(), &post());
    let required = calls[0].body()["response_format"]["json_schema"]["schema"]
        .pointer("/properties/items/items/required")
        .unwrap();
    assert!(
        required.as_array().unwrap().contains(&json!("basis")),
        "{required}"
    );
}
