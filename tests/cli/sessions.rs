//! Sessions: numbers, references, choices and rounds are kept, and none of them reaches another session.

use serde_json::{Value, json};

use crate::cli::harness::{Harness, errors, lines};
use crate::cli::model::{actions, calls, good, says, setup_saying};

/// A line of a session, with tasks unless `rest` says otherwise.
fn line(id: &str, session: &str, rest: &Value) -> String {
    let mut line = json!({"custom_id": id, "session_id": session});
    let all = line.as_object_mut().unwrap();
    all.extend(rest.as_object().unwrap().clone());
    format!("{line}\n")
}

/// Runs the lines and returns their result lines in input order. All must be good.
fn run(harness: &Harness, name: &str, input: &str) -> Vec<Value> {
    harness.write(name, input);
    let ran = harness.nova3(&["run", name, "--keep-order"]);
    assert_eq!(ran.code, Some(0), "{} {}", ran.out, ran.err);
    lines(&ran.out)
}

/// The ids of all items of all tasks.
fn items(line: &Value) -> String {
    let tasks = line["tasks"].as_array().unwrap();
    let results = tasks.iter().flat_map(|task| task["result"].as_array().unwrap());
    results
        .map(|item| item["id"].as_str().unwrap())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The text below a heading of a prompt.
fn section<'a>(user: &'a str, heading: &str) -> &'a str {
    let (_, text) = user.split_once(&format!("# {heading}\n\n")).unwrap();
    text.split("\n\n# ").next().unwrap_or_default().trim_end()
}

#[test]
fn items_are_numbered_by_session_and_type() {
    let (harness, _model) = setup_saying(good);
    let two = json!({"query": "q", "tasks": ["insight", "profile"]});
    let one = json!({"query": "q", "tasks": ["insight"]});
    let alone = json!({"custom_id": "d", "query": "q", "tasks": ["insight"]});
    let user = json!({"query": "q", "tasks": ["insight"], "user_id": "u2"});
    let first = [
        line("a", "s", &two),
        line("b", "s", &one),
        line("c", "t", &one),
        format!("{alone}\n"),
        line("e", "s", &user),
    ];
    let made: Vec<String> = run(&harness, "first.jsonl", &first.concat())
        .iter()
        .map(items)
        .collect();
    assert_eq!(
        made,
        [
            "insight1 profile1",
            "insight2",
            "insight1",
            "insight1",
            "insight1"
        ]
    );
    let made: Vec<String> = run(
        &harness,
        "second.jsonl",
        &(line("a", "s", &two) + &line("c", "t", &two)),
    )
    .iter()
    .map(items)
    .collect();
    assert_eq!(made, ["insight3 profile2", "insight2 profile1"]);
}

#[test]
fn numbers_have_no_gap_where_a_task_failed() {
    let (harness, _model) = setup_saying(|call| {
        if call.user().contains("bad") {
            says("no JSON")
        } else {
            good(call)
        }
    });
    let ask = |id: &str, query: &str| line(id, "s", &json!({"query": query, "tasks": ["insight"]}));
    harness.write(
        "in.jsonl",
        ask("a", "one") + &ask("b", "bad") + &ask("c", "three"),
    );
    let ran = harness.nova3(&["run", "in.jsonl", "--keep-order"]);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    let results = lines(&ran.out);
    assert_eq!(
        (items(&results[0]), items(&results[2])),
        ("insight1".into(), "insight2".into())
    );
}

#[test]
fn references_become_the_text_they_name() {
    let (harness, model) = setup_saying(good);
    let made = json!({"query": "made", "tasks": [{"action": "insight", "input": "one"}, {"action": "insight", "input": "two"}, {"action": "profile", "input": "three"}]});
    let refers = json!({"query": "结合@insight1写", "references": ["@profile1"], "tasks": [{"action": "hitpoint", "input": "照@insight2的意思"}]});
    let results = run(
        &harness,
        "in.jsonl",
        &(line("a", "s", &made) + &line("b", "s", &refers)),
    );
    let calls = calls(&model);
    let profile = "a title\nprofile of three\nbehaviors: a behaviors\nneeds: a needs";
    let insight = |of: &str| format!("a title\ninsight of {of}\nkind: 情绪");
    assert_eq!(
        section(calls[3].user(), "引用条目"),
        format!(
            "<<<profile1\n{profile}\nprofile1>>>\n<<<insight1\n{}\ninsight1>>>\n<<<insight2\n{}\ninsight2>>>",
            insight("one"),
            insight("two")
        )
    );
    assert_eq!(results[1]["warnings"], json!([]));
}

#[test]
fn an_unknown_reference_is_ignored_and_told() {
    let (harness, model) = setup_saying(good);
    let task = json!({"action": "answer", "input": "and @profile3, but not a@profile4.com"});
    let refers = json!({"query": "like @insight7", "references": ["@fact9"], "tasks": [task]});
    let results = run(&harness, "in.jsonl", &line("a", "s", &refers));
    let told = ["fact9", "insight7", "profile3"]
        .map(|id| format!("`@{id}` names no item that is known here, and was ignored"));
    assert_eq!(results[0]["warnings"], json!(told));
    let user = calls(&model)[0].user().to_owned();
    assert!(
        user.starts_with("# Request\n\n<<<Request\nlike @insight7\nRequest>>>\n\n# Question\n"),
        "{user}"
    );
}

#[test]
fn choices_reach_the_prompt_and_what_was_left_does_not() {
    let (harness, model) = setup_saying(|call| match call.action() {
        "supervisor" => says(
            r#"{"tasks":[{"action":"profile","description":"d","input":"i"},{"action":"answer","description":"d","input":"i"}]}"#,
        ),
        _ => good(call),
    });
    let made = json!({"query": "made", "tasks": [{"action": "insight", "input": "liked"}, {"action": "insight", "input": "secret"}]});
    let chosen = json!({"query": "接着", "interaction_type": "nova3_select", "nova3_selections": {
        "nova3_insight": [
            {"id": "insight1", "content": "as I changed it", "selected": true, "user_comment": "say more"},
            {"id": "insight2", "content": "insight of secret", "selected": false, "user_comment": "too vague"},
            {"id": "insight3", "content": "another secret", "selected": false},
        ],
        "nova3_xhs_post": [{"id": "xhs_post1", "title": "a post", "content": "its text", "selected": true}],
        "task_context": "for spring"}});
    run(
        &harness,
        "in.jsonl",
        &(line("a", "s", &made) + &line("b", "s", &chosen)),
    );
    let calls = calls(&model);
    assert_eq!(
        actions(&calls),
        ["insight", "insight", "supervisor", "profile", "answer"]
    );
    for call in &calls[2..] {
        let user = call.user();
        assert_eq!(
            section(user, "选中条目"),
            "<<<insight1\nas I changed it\ninsight1>>>\n<<<insight1.意见\nsay more\ninsight1.意见>>>\n<<<xhs_post1\na post\nits text\nxhs_post1>>>"
        );
        assert_eq!(
            section(user, "未选条目的意见"),
            "<<<insight2.意见\ntoo vague\ninsight2.意见>>>"
        );
        assert_eq!(section(user, "任务说明"), "<<<任务说明\nfor spring\n任务说明>>>");
        assert!(!user.contains("secret"), "{user}");
    }
}

#[test]
fn what_a_request_makes_itself_reaches_its_later_tasks() {
    let (harness, model) = setup_saying(good);
    // The selected items come from another system, and have the same ids as the items that the request makes.
    let asks = json!({"custom_id": "a", "query": "问", "nova3_selections": {"nova3_insight": [
            {"id": "insight1", "content": "theirs", "selected": true},
            {"id": "insight2", "content": "left", "selected": false}]},
        "tasks": [{"action": "insight", "input": "one"}, {"action": "insight", "input": "two"}, "answer"]});
    run(&harness, "in.jsonl", &format!("{asks}\n"));
    let last = &calls(&model)[2];
    let made =
        |n: u32, of: &str| format!("<<<insight{n}\na title\ninsight of {of}\nkind: 情绪\ninsight{n}>>>");
    assert_eq!(
        section(last.user(), "已有结果"),
        format!("{}\n{}", made(1, "one"), made(2, "two"))
    );
    assert_eq!(
        section(last.user(), "选中条目"),
        "<<<insight1\ntheirs\ninsight1>>>"
    );
}

#[test]
fn background_and_context_reach_the_prompt() {
    let (harness, model) = setup_saying(good);
    let asks = json!({"query": "问", "tasks": ["answer"], "interaction_context": {"b": [1, {"a": null}]}, "background": {
        "account_name": "N", "platform": "P", "target_audience": "T", "industry": "I", "brand_style": "B", "previous_content": ["x", "y"]}});
    run(&harness, "in.jsonl", &line("a", "s", &asks));
    let call = &calls(&model)[0];
    let fences = |parts: &[(&str, &str)]| {
        let fence = |(name, text): &(&str, &str)| format!("<<<{name}\n{text}\n{name}>>>");
        parts.iter().map(fence).collect::<Vec<_>>().join("\n")
    };
    let background = [
        ("背景.账号名称", "N"),
        ("背景.平台", "P"),
        ("背景.目标受众", "T"),
        ("背景.行业", "I"),
        ("背景.品牌风格", "B"),
    ];
    assert_eq!(section(call.user(), "背景"), fences(&background));
    assert_eq!(
        section(call.user(), "历史内容"),
        fences(&[("历史内容1", "x"), ("历史内容2", "y")])
    );
    assert_eq!(
        section(call.user(), "补充信息"),
        fences(&[("补充信息", r#"{"b":[1,{"a":null}]}"#)])
    );
}

#[test]
fn only_the_last_ten_rounds_are_told() {
    let (harness, model) = setup_saying(good);
    let input: String = (1..=13)
        .map(|n| {
            line(
                &format!("r{n}"),
                "s",
                &json!({"query": format!("第{n:02}轮"), "tasks": ["answer"]}),
            )
        })
        .collect();
    run(&harness, "in.jsonl", &input);
    let last = &calls(&model)[12];
    let expected: Vec<String> = (3..=12)
        .map(|n| {
            let (place, item) = (n - 2, n);
            format!("<<<前情{place}.需求\n第{n:02}轮\n前情{place}.需求>>>\n<<<answer{item}\nanswer of 第{n:02}轮\nanswer{item}>>>")
        })
        .collect();
    assert_eq!(section(last.user(), "前情"), expected.join("\n"));
}

#[test]
fn nothing_of_another_session_or_user_is_told() {
    let (harness, model) = setup_saying(good);
    let who = [("ada", "s1"), ("ada", "s2"), ("bob", "s1"), ("bob", "")];
    let mut input = String::new();
    for round in 1..=3 {
        for (user, session) in who {
            let word = format!("{user}-{session}-word");
            let mut asks = json!({"custom_id": format!("{word}{round}"), "user_id": user, "query": format!("{word} @insight1"),
                "references": ["@insight2"], "tasks": ["insight", "profile"]});
            if !session.is_empty() {
                asks["session_id"] = json!(session);
            }
            input += &format!("{asks}\n");
        }
    }
    let results = run(&harness, "in.jsonl", &input);
    assert_eq!(results.len(), 12);
    for call in calls(&model) {
        let owners: Vec<_> = who
            .iter()
            .filter(|(user, session)| call.user().contains(&format!("{user}-{session}-word")))
            .collect();
        assert_eq!(owners.len(), 1, "{}", call.user());
    }
    // A request without a session has no items, so its references name nothing.
    let alone = results.iter().filter(|line| line["session_id"] == Value::Null);
    assert!(
        alone
            .map(|line| line["warnings"].as_array().unwrap().len())
            .eq([2, 2, 2])
    );
}

#[test]
fn a_query_is_needed_only_where_nothing_else_is_given() {
    let (harness, model) = setup_saying(good);
    let selections = json!({"nova3_insight": [{"id": "insight1", "content": "c", "selected": true}]});
    let good_ones = [
        json!({"query": "q"}),
        json!({"nova3_selections": selections}),
        json!({"references": ["@insight1"]}),
        json!({"query": "", "nova3_selections": selections}),
        json!({"query": " ", "references": ["@insight1"]}),
        json!({"nova3_selections": selections, "references": ["@insight1"]}),
        json!({"query": "q", "nova3_selections": selections, "references": ["@insight1"]}),
    ];
    let input: String = (0..)
        .zip(&good_ones)
        .map(|(n, asks)| {
            let mut asks = asks.clone();
            asks["tasks"] = json!(["answer"]);
            line(&format!("r{n}"), "s", &asks)
        })
        .collect();
    assert_eq!(run(&harness, "in.jsonl", &input).len(), good_ones.len());
    let before = model.bodies().len();
    let empty = json!({"nova3_selections": {"nova3_insight": []}, "references": [], "tasks": ["answer"]});
    harness.write("bad.jsonl", line("a", "s", &empty));
    let ran = harness.nova3(&["run", "bad.jsonl"]);
    assert_eq!(
        (ran.code, errors(&lines(&ran.out)), model.bodies().len()),
        (
            Some(100),
            vec![(
                "bad_request",
                "expected `query` to have 1 to 5000 characters, got none (it may be absent only beside a selection or a reference) (in the line of `custom_id` `a`)"
            )],
            before
        )
    );
}
