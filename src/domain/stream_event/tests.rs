use super::*;
use crate::domain::sentences::MAX_PIECES;

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

fn event(what: Happening) -> SettledEvent {
    SettledEvent {
        event_no: 7,
        settled_at: 1000,
        custom_id: Some("r1".to_owned()),
        user_id: "default".to_owned(),
        session_id: None,
        total_tasks: 4,
        what,
    }
}

fn completed(action: &str, result: &str) -> SettledEvent {
    event(Happening::Completed {
        task_id: "task001".to_owned(),
        action: action.to_owned(),
        result: raw(result),
    })
}

fn written(event: &SettledEvent) -> String {
    let mut out = b"before\n".to_vec();
    write("a.jsonl", event, |ms| Some(format!("t{ms}Z")), &mut out).unwrap();
    String::from_utf8(out)
        .unwrap()
        .strip_prefix("before\n")
        .unwrap()
        .to_owned()
}

/// Returns the content type, the data and the beginning of the metadata of each line.
fn parts(event: &SettledEvent) -> Vec<(String, String)> {
    let part = |line: &str| {
        let (_, rest) = line.split_once(r#""content_type":"#)?;
        let (content_type, rest) = rest.split_once(r#","data":"#)?;
        let (data, metadata) = rest.split_once(r#","metadata":{"#)?;
        let (count, _) = metadata.split_once(r#","total_tasks""#)?;
        Some((format!("{content_type} {count}"), data.to_owned()))
    };
    written(event).lines().map(|line| part(line).unwrap()).collect()
}

const REST: &str =
    r#""total_tasks":4,"run":"a.jsonl","custom_id":"r1","user_id":"default","session_id":null,"task_id":"#;

#[test]
fn a_plan_is_one_line_with_all_steps() {
    let step = |number: u8, action: &str| StepRow {
        task_id: format!("task00{number}"),
        action: action.to_owned(),
        description: "看".to_owned(),
        input: "a\n\"b\"".to_owned(),
    };
    let planned = event(Happening::Planned {
        steps: vec![step(1, "insight"), step(2, "xhs_writing")],
    });
    let expected = [
        r#"{"event_type":"llm_chunk","agent_source":"nova3_supervisor","timestamp":"t1000Z","payload":{"id":7000,"content_type":"plan_step","data":["#,
        r#"{"id":"task001","step":1,"action":"insight","description":"看","full_input":"a\n\"b\"","status":"pending","type":"plan_step"},"#,
        r#"{"id":"task002","step":2,"action":"xhs_writing","description":"看","full_input":"a\n\"b\"","status":"pending","type":"plan_step"}"#,
        r#"],"metadata":{"#,
        REST,
        "null}}}\n",
    ];
    assert_eq!(written(&planned), expected.concat());
}

#[test]
fn a_completed_task_shows_its_items_as_they_are_stored() {
    let insights = completed(
        "insight",
        concat!(
            r#"[{"id":"insight1", "z":1.50,"a":{"y":18446744073709551616,"x":[]},"type":"emotion"},"#,
            "\n {\"id\":\"insight12\",\"content\":\"一\\n\",\"list\":[1,\r\n2]}\n]"
        ),
    );
    let expected = [
        r#"{"event_type":"llm_chunk","agent_source":"insight_agent","timestamp":"t1000Z","payload":{"id":7000,"content_type":"nova3_insight","data":["#,
        r#"{"id":"insight1","z":1.50,"a":{"y":18446744073709551616,"x":[]},"type":"insight"},"#,
        r#"{"id":"insight12","content":"一\n","list":[1,  2],"type":"insight"}"#,
        r#"],"metadata":{"insight_count":2,"#,
        REST,
        r#""task001"}}}"#,
        "\n",
    ];
    assert_eq!(written(&insights), expected.concat());
}

#[test]
fn each_action_has_its_content_type_and_count() {
    for (action, result, expected) in [
        ("facts", r#"[{"id":"fact1"}]"#, r#""nova3_facts" "fact_count":1"#),
        ("facts", "[]", r#""nova3_facts" "facts_count":0"#),
        (
            "xhs_writing",
            r#"[{"id":"xhs_post4"}]"#,
            r#""nova3_xhs_post" "xhs_post_count":1"#,
        ),
        (
            "comment",
            r#"[{"id":"reply1"},{"id":"reply2"}]"#,
            r#""nova3_reply" "reply_count":2"#,
        ),
        ("comment", "[]", r#""nova3_comment" "comment_count":0"#),
    ] {
        assert_eq!(
            parts(&completed(action, result))[0].0,
            expected,
            "{action} {result}"
        );
    }
}

#[test]
fn an_answer_comes_in_sentences() {
    let answer = completed(
        "answer",
        r#"[{"id":"answer1","content":"一。\n二！三","sources":[]}]"#,
    );
    let line = |id: u16, content: &str| {
        [
            &format!(r#"{{"event_type":"llm_chunk","agent_source":"answer_agent","timestamp":"t1000Z","payload":{{"id":{id},"#),
            r#""content_type":"final_answer","data":[{"id":"answer1","content":""#,
            content,
            r#"","type":"answer"}],"metadata":{"answer_count":1,"#,
            REST,
            r#""task001"}}}"#,
            "\n",
        ]
        .concat()
    };
    assert_eq!(
        written(&answer),
        [line(7000, "一。\\n"), line(7001, "二！"), line(7002, "三")].concat()
    );
}

#[test]
fn an_answer_that_cannot_be_cut_comes_whole() {
    for (result, data) in [
        (
            r#"[{"id":"answer1","content":""}]"#,
            r#"[{"id":"answer1","content":"","type":"answer"}]"#,
        ),
        (
            r#"[{"id":"answer1","content":7}]"#,
            r#"[{"id":"answer1","content":7,"type":"answer"}]"#,
        ),
        (r#"[{"id":"answer1"}]"#, r#"[{"id":"answer1","type":"answer"}]"#),
        ("[]", "[]"),
        (
            r#"[{"id":"answer1","content":"一。二"},{"id":"answer2","content":"三"}]"#,
            r#"[{"id":"answer1","content":"一。二","type":"answer"},{"id":"answer2","content":"三","type":"answer"}]"#,
        ),
    ] {
        let shown: Vec<_> = parts(&completed("answer", result))
            .into_iter()
            .map(|(_, data)| data)
            .collect();
        assert_eq!(shown, [data], "{result}");
    }
}

#[test]
fn the_ids_of_an_event_never_reach_the_next() {
    let long = completed(
        "answer",
        &format!(r#"[{{"id":"answer1","content":"{}"}}]"#, "好。".repeat(5000)),
    );
    let last = written(&long).lines().last().unwrap().to_owned();
    assert!(
        last.contains(&format!(r#""id":{},"#, 7000 + MAX_PIECES - 1)),
        "{last}"
    );
}

#[test]
fn a_failure_is_an_error_event() {
    let failed = |task: Option<&str>, action: Option<&str>| {
        written(&event(Happening::Failed {
            task_id: task.map(str::to_owned),
            action: action.map(str::to_owned),
            class: Class::RateLimited,
            message: "refused\n{\"event_type\":\"system\"}".to_owned(),
        }))
    };
    let line = |source: &str, content_type: &str, task: &str| {
        let head = format!(
            r#"{{"event_type":"error","agent_source":"{source}","timestamp":"t1000Z","payload":{{"id":7000,"content_type":"{content_type}","#
        );
        let data = r#""data":[{"class":"rate_limited","message":"refused\n{\"event_type\":\"system\"}"}],"metadata":{"#;
        [&head, data, REST, task, "}}}\n"].concat()
    };
    assert_eq!(failed(None, None), line("nova3_supervisor", "plan_step", "null"));
    assert_eq!(
        failed(Some("task002"), Some("xhs_writing")),
        line("xhs_writing_agent", "nova3_xhs_post", r#""task002""#)
    );
    assert_eq!(
        failed(None, Some("comment")),
        line("comment_agent", "nova3_comment", "null")
    );
}

#[test]
fn pauses_and_ends_are_system_text() {
    let paused = |next: Option<&str>| {
        written(&event(Happening::Paused {
            after: "task001".to_owned(),
            next: next.map(str::to_owned),
        }))
    };
    let line = |status: &str, content: &str, task: &str| {
        let head = r#"{"event_type":"system","agent_source":"Nova3","timestamp":"t1000Z","payload":{"id":7000,"content_type":"system","#;
        let data = format!(
            r#""data":[{{"status":"{status}","content":"{content}","type":"status"}}],"metadata":{{"#
        );
        [head, &data, REST, task, "}}}\n"].concat()
    };
    assert_eq!(
        paused(Some("profile")),
        line("paused", "paused after task001; next: profile", r#""task001""#)
    );
    assert_eq!(
        paused(None),
        line("paused", "paused after task001", r#""task001""#)
    );
    let ended = event(Happening::Ended {
        status: Status::Completed,
    });
    assert_eq!(written(&ended), line("completed", "completed", "null"));
}

#[test]
fn a_result_that_is_no_list_of_items_writes_nothing() {
    for result in [
        r#"{"status_code":200}"#,
        "[1]",
        r#"[{"content":"a"}]"#,
        r#"[{"id":1}]"#,
    ] {
        let mut out = b"before\n".to_vec();
        assert!(write("a.jsonl", &completed("answer", result), |_| None, &mut out).is_err());
        assert_eq!(out, b"before\n", "{result}");
    }
}
