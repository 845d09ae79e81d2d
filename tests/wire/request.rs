//! Batch bodies and estimates; the bodies of chats have tests in `llm/dialect`.

use nova3::llm::dialect::openai::{BatchFields, batch_fields};
use nova3::llm::{Message, Role, estimate_messages, estimate_tokens};

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
