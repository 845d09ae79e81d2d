//! Request bodies and estimates.

use serde_json::json;

use nova3::llm::wire::{
    BatchFields, ChatCall, Message, Role, batch_fields, estimate_messages, estimate_tokens,
};

#[test]
fn bodies_hold_what_is_set_and_nothing_else() {
    let messages = [
        Message {
            role: Role::System,
            content: "sei kurz".to_owned(),
        },
        Message {
            role: Role::User,
            content: "你好\n\"x\"".to_owned(),
        },
    ];
    let bare = ChatCall {
        model: "m",
        messages: &messages,
        stream: false,
        include_usage: true,
        max_tokens: None,
        max_tokens_field: "max_completion_tokens",
        temperature: None,
        top_p: None,
        seed: None,
        response_format: None,
    };
    assert_eq!(
        String::from_utf8(bare.to_body()).expect("UTF-8"),
        r#"{"model":"m","messages":[{"role":"system","content":"sei kurz"},{"role":"user","content":"你好\n\"x\""}]}"#
    );
    let format = serde_json::value::to_raw_value(&json!({"type": "json_object"})).unwrap();
    let full = ChatCall {
        stream: true,
        max_tokens: Some(9),
        max_tokens_field: "max_tokens",
        temperature: Some(0.5),
        top_p: Some(1.0),
        seed: Some(-1),
        response_format: Some(&format),
        ..bare
    };
    let body: serde_json::Value = serde_json::from_slice(&full.to_body()).expect("JSON");
    assert_eq!(
        body,
        json!({
            "model": "m",
            "messages": messages,
            "stream": true,
            "stream_options": {"include_usage": true},
            "max_tokens": 9,
            "temperature": 0.5,
            "top_p": 1.0,
            "seed": -1,
            "response_format": {"type": "json_object"},
        })
    );
}

#[test]
fn estimates_err_on_the_upper_side() {
    for (text, tokens) in [
        ("", 0),
        ("a", 1),
        ("abc", 1),
        ("abcd", 2),
        ("你", 2),
        ("一二三四五六七八九十", 11),
    ] {
        assert_eq!(estimate_tokens(text), tokens, "{text}");
    }
    let message = Message {
        role: Role::User,
        content: "abc".to_owned(),
    };
    assert_eq!(estimate_messages(&[message.clone(), message]), 13);
}

#[test]
fn batch_bodies_are_read_and_left_alone() {
    let body = r#"{"model":"m","stream":true,"max_tokens":5,"max_completion_tokens":7,"messages":[{"role":"user","content":"hi"}],"x":1}"#;
    let messages = r#"[{"role":"user","content":"hi"}]"#;
    assert_eq!(
        batch_fields(body),
        BatchFields {
            answers: 1,
            only_text: true,
            stream: true,
            max_tokens: Some(7),
            model: Some("m".to_owned()),
            prompt_tokens: estimate_tokens(messages),
        }
    );
    let empty = BatchFields {
        answers: 1,
        only_text: false,
        stream: false,
        max_tokens: None,
        model: None,
        prompt_tokens: 0,
    };
    for unknown in [
        r#"{"stream":null}"#,
        r#"[true,1,2,"m",null,null,null]"#,
        r#"{"max_tokens":"many","model":5,"messages":null}"#,
    ] {
        assert_eq!(batch_fields(unknown), empty, "{unknown}");
    }
    let twice = batch_fields(r#"{"model":"a","max_tokens":1,"model":"b","max_tokens":2}"#);
    assert_eq!((twice.model.as_deref(), twice.max_tokens), (Some("b"), Some(2)));
}
