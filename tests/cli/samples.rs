//! Faults of small models: placeholders, repeated items, answers without an end.

use serde_json::{Value, json};

use crate::cli::harness::{Harness, Ran, lines};
use crate::cli::model::{ACTIONS, actions, calls, cut, good, says, setup_saying};
use crate::cli::provider::Say;

fn run(harness: &Harness, line: &Value) -> Ran {
    harness.write("in.jsonl", format!("{line}\n"));
    harness.nova3(&["run", "in.jsonl"])
}

fn insight(title: &str, content: &str) -> Value {
    json!({"title": title, "content": content, "kind": "动机", "basis": "b"})
}

fn one_task(action: &str) -> Value {
    json!({"custom_id": "a", "query": "q", "tasks": [action]})
}

#[test]
fn items_without_text_are_asked_for_again() {
    for text in ["…", "...", "", "——", "【】"] {
        let bad = json!({"items": [insight(text, text)]}).to_string();
        let (harness, model) = setup_saying(move |call| {
            if call.is_repair() {
                good(call)
            } else {
                says(bad.clone())
            }
        });
        let ran = run(&harness, &one_task("insight"));
        assert_eq!(ran.code, Some(0), "{}", ran.out);
        let calls = calls(&model);
        assert_eq!(calls.len(), 2, "{text}");
        assert!(
            calls[1].message(3).contains("the items have no text"),
            "{}",
            calls[1].message(3)
        );
        assert_eq!(lines(&ran.out)[0]["output"][0]["content"], "insight of q");
    }
}

#[test]
fn an_answer_without_text_is_asked_for_again() {
    let (harness, model) = setup_saying(|call| {
        if call.is_repair() {
            good(call)
        } else {
            says("...\n")
        }
    });
    let ran = run(&harness, &one_task("answer"));
    assert_eq!((ran.code, model.bodies().len()), (Some(0), 2), "{}", ran.out);
    assert_eq!(lines(&ran.out)[0]["output"][0]["content"], "answer of q");
}

#[test]
fn an_item_without_text_among_others_is_dropped_and_told() {
    let given = json!({"items": [insight("t", "c"), insight("…", "…"), insight("t", "…")]}).to_string();
    let (harness, model) = setup_saying(move |_| says(given.clone()));
    let ran = run(&harness, &one_task("insight"));
    let line = &lines(&ran.out)[0];
    assert_eq!(
        (model.bodies().len(), line["output"].as_array().unwrap().len()),
        (1, 1)
    );
    assert_eq!(
        line["warnings"],
        json!(["`insight` gave 2 items without text, dropped"])
    );
}

#[test]
fn a_placeholder_beside_the_text_is_mended_once() {
    let given = json!({"items": [insight("…", "c")]}).to_string();
    let (harness, model) = setup_saying(move |_| says(given.clone()));
    let ran = run(&harness, &one_task("insight"));
    let line = &lines(&ran.out)[0];
    assert_eq!((ran.code, model.bodies().len()), (Some(0), 2));
    assert_eq!(
        line["warnings"],
        json!(["item 1: `title` holds no letter and no digit (after one repair)"])
    );
}

#[test]
fn equal_items_are_one_and_it_is_told() {
    let other = insight("T", " c\n");
    let given =
        json!({"items": [insight("t", "c"), insight("t", "c"), other, insight("t", "d")]}).to_string();
    let (harness, model) = setup_saying(move |_| says(given.clone()));
    let ran = run(&harness, &one_task("insight"));
    let line = &lines(&ran.out)[0];
    assert_eq!((ran.code, model.bodies().len()), (Some(0), 1));
    let contents: Vec<&Value> = line["output"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["content"])
        .collect();
    assert_eq!(contents, ["c", "d"]);
    assert_eq!(
        line["warnings"],
        json!(["`insight` gave 2 items that an earlier item says already, dropped"])
    );
}

#[test]
fn words_that_stand_twice_are_dropped_without_a_call() {
    let post = json!({"title": "t", "content": "c", "tags": ["a", "#A", "b", "…", "c", "b"], "cover": "c",
        "best_time": "b"});
    let article = json!({"title": "t", "outline": "o", "content": "c", "search_words": ["a", "b", "a", "c"],
        "pictures": "p"});
    for (action, item, list) in [
        ("xhs_writing", post, "tags"),
        ("wechat_article", article, "search_words"),
    ] {
        let given = json!({"items": [item]}).to_string();
        let (harness, model) = setup_saying(move |_| says(given.clone()));
        let ran = run(&harness, &one_task(action));
        let line = &lines(&ran.out)[0];
        assert_eq!((ran.code, model.bodies().len()), (Some(0), 1), "{}", ran.out);
        assert_eq!(
            (&line["output"][0][list], &line["warnings"]),
            (&json!(["a", "b", "c"]), &json!([]))
        );
    }
}

#[test]
fn a_plan_of_placeholders_is_no_plan() {
    let copied = r#"{"tasks":[{"action":"insight","description":"…","input":"…"}]}"#;
    let plan = r#"{"tasks":[{"action":"answer","description":"…","input":"i"}]}"#;
    let (harness, model) = setup_saying(move |call| match call.action() {
        "supervisor" => says(if call.is_repair() { plan } else { copied }),
        _ => good(call),
    });
    let ran = run(&harness, &json!({"query": "q"}));
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    assert_eq!(actions(&calls(&model)), ["supervisor", "supervisor", "answer"]);
    assert_eq!(lines(&ran.out)[0]["tasks"][0]["description"], Value::Null);
}

#[test]
fn equal_tasks_of_a_plan_are_one_and_it_is_told() {
    let task = |input: &str| json!({"action": "insight", "description": "d", "input": input});
    let plan = json!({"tasks": vec![task("i"); 11]}).to_string();
    let (harness, model) = setup_saying(move |call| match call.action() {
        "supervisor" => says(plan.clone()),
        _ => good(call),
    });
    let ran = run(&harness, &json!({"query": "q"}));
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    assert_eq!(actions(&calls(&model)), ["supervisor", "insight"]);
    assert_eq!(
        lines(&ran.out)[0]["warnings"],
        json!(["the plan had 10 tasks that an earlier one says already, dropped"])
    );
}

#[test]
fn an_answer_that_was_cut_says_so() {
    let (harness, model) = setup_saying(|_| cut("It is a long story that"));
    let ran = run(&harness, &one_task("answer"));
    let line = &lines(&ran.out)[0];
    assert_eq!((ran.code, model.bodies().len()), (Some(0), 1));
    assert_eq!(line["output"][0]["truncated"], true);
    assert_eq!(
        line["warnings"],
        json!([
            "the answer was cut off at its longest length (raise `max_tokens` of the agent `answer` or of its route)"
        ])
    );
}

#[test]
fn an_answer_that_is_empty_at_its_longest_length_gets_more_room() {
    let (harness, model) = setup_saying(|call| if call.is_repair() { good(call) } else { cut("") });
    let ran = run(&harness, &one_task("answer"));
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    let room: Vec<Value> = calls(&model)
        .iter()
        .map(|call| call.body()["max_completion_tokens"].clone())
        .collect();
    assert_eq!(room, [2048, 4096]);
}

/// A stream of these texts that never ends by itself.
fn streams(texts: &[&str]) -> Say {
    let frame = |text: &&str| {
        let chunk = json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]});
        format!("data: {chunk}\n\n")
    };
    Say {
        status: 200,
        headers: "content-type: text/event-stream\r\n",
        body: texts.iter().map(frame).collect(),
    }
}

const RUNAWAY: &str = "the answer repeated itself without end and was stopped";

/// The length that each call allowed.
fn rooms(model: &crate::cli::provider::Scripted) -> Vec<u64> {
    let room = |call: &crate::cli::model::Call| call.body()["max_completion_tokens"].as_u64().unwrap();
    calls(model).iter().map(room).collect()
}

#[test]
fn a_runaway_answer_is_stopped_and_not_asked_for_at_twice_the_length() {
    let beginning = r#"{"items":[{"title":"t","content":""#;
    let endless = vec!["and so on "; 2000];
    let streamed = [&[beginning][..], &endless].concat();
    let whole = streamed.concat();
    for nth in 0..2 {
        let (streamed, whole) = (streamed.clone(), whole.clone());
        let (harness, model) = setup_saying(move |call| {
            if call.is_repair() {
                good(call)
            } else if nth == 0 {
                streams(&streamed)
            } else {
                cut(whole.clone())
            }
        });
        let ran = run(&harness, &one_task("insight"));
        assert_eq!(ran.code, Some(0), "{}", ran.out);
        assert_eq!(rooms(&model), [3000, 3000]);
        let calls = calls(&model);
        assert!(calls[1].message(3).contains(RUNAWAY), "{}", calls[1].message(3));
        assert!(calls[1].message(2).chars().count() < 400);
        assert_eq!(lines(&ran.out)[0]["warnings"], json!([]));
    }
}

#[test]
fn what_stands_before_the_repetitions_is_kept() {
    let begun = format!("{{\"items\":[{},{{\"title\":\"", insight("t", "c"));
    for (action, beginning, kept) in [
        ("insight", begun.as_str(), "c"),
        ("answer", "The answer is 42. ", "The answer is 42."),
    ] {
        let beginning = beginning.to_owned();
        let (harness, model) =
            setup_saying(move |_| streams(&[&[beginning.as_str()][..], &vec!["so "; 2000]].concat()));
        let ran = run(&harness, &one_task(action));
        let line = &lines(&ran.out)[0];
        assert_eq!((ran.code, model.bodies().len()), (Some(0), 2), "{}", ran.out);
        let output = line["output"].as_array().unwrap();
        assert_eq!((output.len(), &output[0]["content"]), (1, &json!(kept)));
        let told = json!(format!("{RUNAWAY} (after one repair)"));
        assert!(line["warnings"].as_array().unwrap().contains(&told), "{line}");
    }
}

#[test]
fn repetitions_of_whole_items_are_equal_items() {
    let items = json!({"items": vec![insight("t", "c"); 200]}).to_string();
    let pieces: Vec<String> = items.chars().map(String::from).collect();
    for streamed in [false, true] {
        let (items, pieces) = (items.clone(), pieces.clone());
        let (harness, model) = setup_saying(move |_| {
            if streamed {
                streams(&pieces.iter().map(String::as_str).collect::<Vec<_>>())
            } else {
                says(items.clone())
            }
        });
        let ran = run(&harness, &one_task("insight"));
        let line = &lines(&ran.out)[0];
        assert_eq!((ran.code, model.bodies().len()), (Some(0), 1), "{}", ran.out);
        assert_eq!(line["output"].as_array().unwrap().len(), 1);
        let warnings = line["warnings"].as_array().unwrap();
        assert!(
            warnings[0]
                .as_str()
                .unwrap()
                .ends_with("that an earlier item says already, dropped")
        );
        assert_eq!(warnings.contains(&json!(RUNAWAY)), streamed);
    }
}

#[test]
fn a_question_is_asked_in_its_own_language() {
    let marketing = [
        "小红书",
        "抖音",
        "公众号",
        "营销",
        "品牌",
        "Xiaohongshu",
        "marketing",
    ];
    for (query, chinese) in [("What is a monad?", false), ("单子是什么？", true)] {
        let (harness, model) = setup_saying(|call| if call.is_repair() { good(call) } else { says("...") });
        run(
            &harness,
            &json!({"query": query, "interaction_type": "quick_suggestion"}),
        );
        let calls = calls(&model);
        let system = calls[0].system();
        assert_eq!(system.contains("你回答一个读者的问题"), chinese, "{system}");
        assert!(marketing.iter().all(|word| !system.contains(word)), "{system}");
        assert_eq!(calls[1].message(3).contains("上面的回答不能使用"), chinese);
    }
}

#[test]
fn a_plain_question_with_a_chinese_answer_is_asked_once_more() {
    for (query, chinese, calls_made) in [("What is a monad?", true, 2), ("单子是什么？", false, 1)] {
        let (harness, model) = setup_saying(move |call| match (call.is_repair(), chinese) {
            (false, true) => says("单子是自函子范畴上的一个幺半群。"),
            _ => says("A monad is a monoid of endofunctors."),
        });
        let ran = run(
            &harness,
            &json!({"query": query, "interaction_type": "quick_suggestion"}),
        );
        assert_eq!(calls(&model).len(), calls_made, "{}", ran.out);
        let warned = lines(&ran.out)[0]["warnings"].as_array().unwrap().len();
        assert_eq!(warned, usize::from(!chinese), "{}", ran.out);
    }
}

#[test]
fn no_prompt_holds_an_answer_that_could_be_copied() {
    let (harness, model) = setup_saying(|call| match call.action() {
        "supervisor" => says(r#"{"tasks":[{"action":"answer","description":"d","input":"i"}]}"#),
        _ => good(call),
    });
    harness.write(
        "in.jsonl",
        format!(
            "{}\n{}\n",
            json!({"query": "q", "tasks": ACTIONS}),
            json!({"query": "q"})
        ),
    );
    assert_eq!(harness.nova3(&["run", "in.jsonl"]).code, Some(0));
    let calls = calls(&model);
    assert_eq!(calls.len(), ACTIONS.len() + 2);
    for call in calls {
        assert!(!call.system().contains('{'), "{}", call.system());
    }
}
