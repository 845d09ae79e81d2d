//! Structured answers: the errors that models make in them, and how they are repaired.

use serde_json::{Value, json};

use crate::cli::harness::{Harness, Ran, errors, lines};
use crate::cli::model::{Call, calls, cut, good, good_text, refuses, says, setup_saying};
use crate::cli::provider::Scripted;

/// A route with a price at which each scripted call costs 0.002 dollars.
fn priced(harness: &Harness, model: &Scripted) {
    let route = format!(
        "[routes.a]\nbase_url = \"{}\"\nmodel = \"m\"\nno_key = true\ninput_usd_per_million = 10\noutput_usd_per_million = 100\n",
        model.base_url()
    );
    harness.write("nova3.toml", route);
}

fn ask(harness: &Harness, query: &str, more: &[&str]) -> Ran {
    let line = json!({"custom_id": "a", "query": query, "tasks": ["insight"]});
    harness.write("in.jsonl", format!("{line}\n"));
    harness.nova3(&[&["run", "in.jsonl"][..], more].concat())
}

/// The attempts, the cost and the waste of the only result line.
fn spent(ran: &Ran) -> (Value, Value, Value) {
    let line = &lines(&ran.out)[0];
    (
        line["tasks"][0]["attempts"].clone(),
        line["cost_usd"].clone(),
        line["wasted_usd"].clone(),
    )
}

fn warnings(ran: &Ran) -> Value {
    lines(&ran.out)[0]["warnings"].clone()
}

fn number_of_items(ran: &Ran) -> usize {
    lines(&ran.out)[0]["output"].as_array().unwrap().len()
}

/// This many items that fit the schema of insights.
fn insights(count: usize) -> Value {
    let item = |nth: usize| json!({"title": "t", "content": format!("c{nth}"), "kind": "动机", "basis": "b"});
    json!({"items": (0..count).map(item).collect::<Vec<_>>()})
}

#[test]
fn json_is_taken_out_of_what_stands_around_it() {
    let ways: [fn(&str) -> String; 6] = [
        |json| format!("```json\n{json}\n```"),
        |json| format!("<think>\nmaybe {{\"items\": 3}}?\n</think>\n\n{json}"),
        |json| format!("Here you are:\n{json}\nGood luck!"),
        |json| format!("<think>hm</think>Sure.\n```\n{json}\n```\nDone."),
        |json| {
            json.strip_prefix("{\"items\":")
                .unwrap()
                .strip_suffix('}')
                .unwrap()
                .to_owned()
        },
        |json| format!("\u{feff}  {json}"),
    ];
    for way in ways {
        let (harness, model) = setup_saying(move |call| says(way(&good_text(call))));
        let ran = ask(&harness, "q", &[]);
        assert_eq!((ran.code, model.bodies().len()), (Some(0), 1), "{}", ran.out);
        let item = json!({"id": "insight1", "title": "a title", "content": "insight of q", "kind": "情绪", "basis": []});
        assert_eq!(lines(&ran.out)[0]["output"], json!([item]));
        assert_eq!(warnings(&ran), json!([]));
    }
}

#[test]
fn marks_within_the_json_are_a_part_of_it() {
    for content in [
        "先看：\n```js\nlet a = {b: [1]};\n```\n就这样",
        "一个没有结尾的 ``` 围栏",
        "<think>想</think> 是标签",
        "写一个 </think> 就够",
        "{\"items\": []} 是空的",
    ] {
        let item = json!({"title": "标题", "content": content, "kind": "动机", "basis": "b"});
        for text in [
            json!({"items": [item]}).to_string(),
            format!("```json\n{}\n```", json!({"items": [item]})),
            format!("好的：{}", json!({"items": [item]})),
        ] {
            let (harness, model) = setup_saying(move |_| says(text.clone()));
            let ran = ask(&harness, "怎么写？", &[]);
            assert_eq!(
                (ran.code, model.bodies().len()),
                (Some(0), 1),
                "{content} {}",
                ran.out
            );
            assert_eq!(lines(&ran.out)[0]["output"][0]["content"], content);
        }
    }
}

#[test]
fn a_wrong_answer_is_asked_again_and_its_call_is_waste() {
    let bad = r#"{"items":[{"title":"t"}]}"#;
    let (harness, model) = setup_saying(move |call| if call.is_repair() { good(call) } else { says(bad) });
    priced(&harness, &model);
    let ran = ask(&harness, "q", &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    assert_eq!(spent(&ran), (json!(2), json!(0.002), json!(0.002)));
    let calls = calls(&model);
    assert_eq!(calls[1].message(2), bad);
    assert!(
        calls[1]
            .message(3)
            .contains("at `/items/0`: \"content\" is a required property"),
        "{}",
        calls[1].message(3)
    );
    assert_eq!(
        calls[1].body()["response_format"],
        calls[0].body()["response_format"]
    );
}

#[test]
fn a_plan_that_was_asked_again_is_waste_too() {
    let (harness, model) = setup_saying(|call| match call.action() {
        "supervisor" if !call.is_repair() => says("a plan"),
        "supervisor" => says(r#"{"tasks":[{"action":"answer","description":"","input":"i"}]}"#),
        _ => good(call),
    });
    priced(&harness, &model);
    harness.write("in.jsonl", "{\"query\":\"q\"}\n");
    let line = &lines(&harness.nova3(&["run", "in.jsonl"]).out)[0];
    assert_eq!(
        (&line["plan"]["attempts"], &line["plan"]["cost_usd"]),
        (&json!(2), &json!(0.002))
    );
    assert_eq!(
        (&line["cost_usd"], &line["wasted_usd"]),
        (&json!(0.004), &json!(0.002))
    );
    let used =
        json!({"input_tokens": 200, "cached_input_tokens": 0, "cache_write_tokens": 0, "output_tokens": 20});
    assert_eq!(line["usage"], used);
}

#[test]
fn an_answer_that_stays_wrong_fails_and_says_why() {
    for (bad, told) in [
        (
            "I cannot do that.",
            "the answer is no JSON (expected value at line 1 column 1); it begins with `I cannot do that.`",
        ),
        (
            r#"{"items":[]}"#,
            "the JSON does not fit the schema: at `/items`: [] has less than 1 item",
        ),
        ("", "the answer is empty"),
    ] {
        let (harness, model) = setup_saying(move |_| says(bad));
        priced(&harness, &model);
        let ran = ask(&harness, "q", &[]);
        assert_eq!(ran.code, Some(100));
        let message = format!("{told}; before its one repair: {told}");
        assert_eq!(errors(&lines(&ran.out)), [("schema", message.as_str())]);
        assert_eq!(spent(&ran), (json!(2), json!(0.0), json!(0.004)));
        assert_eq!(model.bodies().len(), 2);
    }
}

#[test]
fn an_answer_that_was_cut_is_asked_for_with_more_room() {
    let (harness, model) = setup_saying(|call| {
        if call.is_repair() {
            good(call)
        } else {
            cut(r#"{"items":[{"title"#)
        }
    });
    let ran = ask(&harness, "q", &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    let room = |call: &Call| call.body()["max_completion_tokens"].as_u64().unwrap();
    let calls = calls(&model);
    assert_eq!((room(&calls[0]), room(&calls[1])), (3000, 6000));
    assert!(
        calls[1]
            .message(3)
            .contains("the answer was cut off at its longest length")
    );
    let (harness, _model) = setup_saying(|_| cut(r#"{"items":[{"title"#));
    let told = "the answer was cut off at its longest length";
    assert_eq!(
        errors(&lines(&ask(&harness, "q", &[]).out)),
        [(
            "schema",
            format!("{told}; before its one repair: {told}").as_str()
        )]
    );
}

#[test]
fn too_many_items_are_cut_to_the_limit() {
    let (harness, model) = setup_saying(|_| says(insights(10_000).to_string()));
    let told = |most: usize| {
        json!([format!(
            "`insight` gave 10000 items, the first {most} were kept (`agents.max_results`)"
        )])
    };
    let ran = ask(&harness, "q", &["--run", "default"]);
    assert_eq!((number_of_items(&ran), warnings(&ran)), (5, told(5)));
    assert!(calls(&model)[0].system().contains("最多 5 条"));

    harness.write("nova3.toml", "[agents.max_results_of]\ninsight = 2\n");
    let ran = ask(&harness, "q", &["--run", "of"]);
    assert_eq!((number_of_items(&ran), warnings(&ran)), (2, told(2)));

    harness.write("nova3.toml", "");
    let harness = harness.with("NOVA3_DEFAULT_MAX_RESULTS", "3");
    let ran = ask(&harness, "q", &["--run", "variable"]);
    assert_eq!((number_of_items(&ran), warnings(&ran)), (3, told(3)));

    let harness = harness.with("NOVA3_ENABLE_LIMITS", "false");
    let ran = ask(&harness, "q", &["--run", "off"]);
    assert_eq!((number_of_items(&ran), warnings(&ran)), (1000, told(1000)));
    assert!(!calls(&model)[3].system().contains("最多"));

    for (name, value) in [
        ("NOVA3_DEFAULT_MAX_RESULTS", "0"),
        ("NOVA3_ENABLE_LIMITS", "maybe"),
    ] {
        let harness = setup_saying(good).0.with(name, value);
        let ran = ask(&harness, "q", &[]);
        assert_eq!(ran.code, Some(2));
        assert!(
            ran.err.contains(&format!("`{name}` is `{value}`: expected ")),
            "{}",
            ran.err
        );
    }
}

#[test]
fn another_language_is_told_and_costs_no_second_call() {
    let chinese =
        json!({"items": [{"title": "标题", "content": "一段完整的中文内容", "kind": "动机", "basis": "无"}]})
            .to_string();
    let (harness, model) = setup_saying(move |_| says(chinese.clone()));
    let ran = ask(&harness, "how do I write a good post?", &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    assert_eq!(number_of_items(&ran), 1);
    let told = "the answer is not in the language of the query";
    assert_eq!((warnings(&ran), calls(&model).len()), (json!([told]), 1));
}

/// The requested response format, and whether the prompt contains the schema.
fn asked(call: &Call) -> (&str, bool) {
    let form = call.body()["response_format"]["type"].as_str().unwrap_or("-");
    (
        form,
        call.system().contains("JSON Schema") && call.system().contains("\"basis\""),
    )
}

#[test]
fn a_route_that_refuses_a_form_is_asked_in_a_simpler_way_from_then_on() {
    let (harness, model) = setup_saying(|call| match asked(call).0 {
        "-" => says(insights(1).to_string()),
        form => refuses(400, &format!("`response_format` of type {form} is not supported")),
    });
    let line = |id: &str| format!("{{\"custom_id\":\"{id}\",\"query\":\"q\",\"tasks\":[\"insight\"]}}\n");
    harness.write("in.jsonl", line("a") + &line("b"));
    let ran = harness.nova3(&["run", "in.jsonl", "-j", "1"]);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    let calls = calls(&model);
    let forms: Vec<_> = calls.iter().map(asked).collect();
    assert_eq!(
        forms,
        [
            ("json_schema", false),
            ("json_object", true),
            ("-", true),
            ("-", true)
        ]
    );
    let attempts: Vec<_> = lines(&ran.out)
        .iter()
        .map(|line| line["tasks"][0]["attempts"].clone())
        .collect();
    assert_eq!(attempts, [3, 1]);
    // A 400 about another matter does not repeat the call.
    let (harness, model) = setup_saying(|_| refuses(400, "this question is not supported"));
    assert_eq!(ask(&harness, "q", &[]).code, Some(100));
    assert_eq!(model.bodies().len(), 1);
}

#[test]
fn a_route_says_what_it_understands() {
    for (structured, expected) in [
        ("none", ("-", true)),
        ("json_object", ("json_object", true)),
        ("json_schema", ("json_schema", false)),
    ] {
        let (harness, model) = setup_saying(|_| says(insights(1).to_string()));
        let route = format!(
            "[routes.a]\nbase_url = \"{}\"\nmodel = \"m\"\nno_key = true\nstructured = \"{structured}\"\n",
            model.base_url()
        );
        harness.write("nova3.toml", route);
        assert_eq!(ask(&harness, "q", &[]).code, Some(0));
        assert_eq!(asked(&calls(&model)[0]), expected);
    }
}
