use super::*;
use crate::domain::state::Status;

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

fn finished() -> Finished {
    Finished {
        queue_id: 7,
        finish_no: 3,
        custom_id: Some("r1".to_owned()),
        index: 0,
        line: 1,
        user_id: "default".to_owned(),
        session_id: None,
        status: Status::Completed,
        is_completion: false,
        failure: None,
        warnings: vec![],
        metadata: Some(raw(r#"{"row":17}"#)),
        created_at: 0,
        completed_at: 1000,
        is_redone: false,
        tasks: vec![TaskRecord {
            task_id: "task001".to_owned(),
            action: "answer".to_owned(),
            input: String::new(),
            needs: vec![],
            status: TaskStatus::Completed,
            result: Some(raw(r#"[{"id":"answer1","content":"好"}]"#)),
            making: Some(Provenance {
                route: "default".to_owned(),
                model: "m".to_owned(),
                attempts: 1,
                usage: Usage {
                    input_tokens: 12,
                    cached_input_tokens: 0,
                    cache_write_tokens: 0,
                    output_tokens: 3,
                },
                cost: Some(Cost(1_100_000_000)),
                wasted: Cost::ZERO,
                duration_ms: 20,
                fallback: None,
                first_token_ms: Some(4),
                degraded: false,
                warnings: vec![],
                made_from: None,
                sizes: crate::domain::usage::TextSizes::NONE,
            }),
            search: None,
            parts: vec![],
        }],
        plan: None,
    }
}

fn line(finished: &Finished) -> String {
    let mut out = Vec::new();
    write("requests.jsonl", finished, |ms| Some(format!("t{ms}")), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_completed_request() {
    assert_eq!(
        line(&finished()),
        concat!(
            r#"{"v":1,"run":"requests.jsonl","custom_id":"r1","index":0,"user_id":"default","session_id":null,"ok":true,"status":"completed","#,
            r#""output":[{"id":"answer1","content":"好"}],"tasks":[{"task_id":"task001","action":"answer","status":"completed","#,
            r#""result":[{"id":"answer1","content":"好"}],"route":"default","model":"m","fallback":null,"attempts":1,"sources":[],"degraded":false,"#,
            r#""usage":{"input_tokens":12,"cached_input_tokens":0,"cache_write_tokens":0,"output_tokens":3},"cost_usd":0.0011,"duration_ms":20,"first_token_ms":4}],"#,
            r#""usage":{"input_tokens":12,"cached_input_tokens":0,"cache_write_tokens":0,"output_tokens":3},"cost_usd":0.0011,"wasted_usd":0.0,"warnings":[],"error":null,"#,
            r#""created_at":"t0","completed_at":"t1000","metadata":{"row":17}}"#,
            "\n"
        )
    );
}

#[test]
fn a_bad_line_shows_where_it_stands_now() {
    let bad = Finished {
        custom_id: None,
        status: Status::Failed,
        failure: Some(Failure::bad_line(3, "expected a JSON object")),
        tasks: vec![],
        metadata: None,
        line: 9,
        ..finished()
    };
    let shown: serde_json::Value = serde_json::from_str(&line(&bad)).unwrap();
    assert_eq!(shown["error"]["line"], 9);
    assert_eq!(shown["error"]["class"], "bad_request");
    assert_eq!(
        (&shown["ok"], &shown["custom_id"]),
        (&false.into(), &serde_json::Value::Null)
    );
    assert_eq!(shown["metadata"], serde_json::json!({}));
}

#[test]
fn a_batch_line_answers_in_batch_form() {
    let mut batch = Finished {
        is_completion: true,
        ..finished()
    };
    batch.tasks[0].result = Some(raw(r#"{"status_code":200,"request_id":"x","body":{"a":1}}"#));
    assert_eq!(
        line(&batch),
        concat!(
            r#"{"id":"batch_req_nova3_7","custom_id":"r1","response":{"status_code":200,"request_id":"x","body":{"a":1}},"error":null"#,
            r#","nova3":{"route":"default","model":"m","attempts":1,"usage":{"input_tokens":12,"cached_input_tokens":0,"cache_write_tokens":0,"output_tokens":3},"cost_usd":0.0011,"wasted_usd":0.0,"duration_ms":20}}"#,
            "\n"
        )
    );
    batch.tasks[0].result = None;
    batch.failure = Some(Failure::new(Class::Network, "connection refused"));
    assert_eq!(
        line(&batch),
        concat!(
            r#"{"id":"batch_req_nova3_7","custom_id":"r1","response":null,"error":{"code":"network","message":"connection refused"}"#,
            r#","nova3":{"route":"default","model":"m","attempts":1,"usage":{"input_tokens":12,"cached_input_tokens":0,"cache_write_tokens":0,"output_tokens":3},"cost_usd":0.0011,"wasted_usd":0.0,"duration_ms":20}}"#,
            "\n"
        )
    );
    batch.tasks.clear();
    let shown: serde_json::Value = serde_json::from_str(&line(&batch)).unwrap();
    assert!(shown.get("nova3").is_none(), "a bad line made no call");
}
