use std::sync::Arc;

use secrecy::SecretString;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::config::{Config, Flags, KeyHeader};
use crate::domain::failure::{Class, Verdict};
use crate::limit::{InProcess, Limits};
use crate::llm::dialect::headers;
use crate::llm::request::{Message, OutputSchema, Role, Sampling, Tool};

fn route(dialect: Dialect, change: impl FnOnce(&mut config::RouteSettings)) -> Route {
    let env = |name: &str| (name == "OPENAI_API_KEY").then(|| "the-key-itself".to_owned());
    let config = Config::load(&Flags::default(), &env).unwrap();
    let mut settings = config.routes[0].clone();
    settings.dialect = dialect;
    settings.model = Some("m".to_owned());
    if dialect == Dialect::Anthropic {
        settings.token_field = "max_tokens".to_owned();
        settings.endpoint = "https://host/v1/messages".parse().unwrap();
        settings.key_header = KeyHeader::Named("x-api-key".parse().unwrap());
    }
    change(&mut settings);
    let changes = Arc::new(watch::Sender::new(()));
    let limiter = Arc::new(InProcess::new(Limits::default()));
    Route::new(settings, limiter, config.breaker, changes)
}

fn conversation() -> Vec<Message> {
    let message = |role, content: &str| Message {
        role,
        content: content.to_owned(),
    };
    vec![
        message(Role::System, "sei kurz"),
        message(Role::User, "你好\n\"x\""),
    ]
}

fn raw(value: &Value) -> Box<RawValue> {
    to_raw_value(value).unwrap()
}

/// Returns the body of a chat whose answer has a form or not.
fn body(route: &Route, has_form: bool, sampling: Sampling, tools: &[Tool]) -> Value {
    let (messages, schema) = (conversation(), raw(&json!({"type": "object"})));
    let request = ModelRequest::Chat(ChatRequest {
        messages: &messages,
        schema: has_form.then_some(OutputSchema {
            name: "insight",
            schema: &schema,
            instruction: "Fit this:",
        }),
        longest: 900,
        sampling,
        tools,
    });
    let call = Call::new(route, &request, false).unwrap();
    let body = call.body();
    assert_eq!(call.body_bytes(), body.len() as u64);
    serde_json::from_slice(&body).unwrap()
}

const DRAWN: Sampling = Sampling {
    temperature: Some(1.5),
    top_p: Some(0.5),
    seed: Some(-1),
};

#[test]
fn a_body_of_openai_holds_what_is_set_and_nothing_else() {
    let bare = route(Dialect::OpenAi, |settings| settings.stream = false);
    let user = json!({"role": "user", "content": "你好\n\"x\""});
    let system = json!({"role": "system", "content": "sei kurz"});
    let spoken = json!([system, user]);
    let mut expected = json!({"model": "m", "messages": spoken, "max_completion_tokens": 900});
    assert_eq!(body(&bare, false, Sampling::default(), &[]), expected);

    let full = route(Dialect::OpenAi, |settings| {
        settings.token_field = "max_tokens".to_owned();
        settings.body.insert("service_tier".to_owned(), json!("flex"));
    });
    expected = json!({
        "model": "m",
        "messages": spoken,
        "stream": true,
        "stream_options": {"include_usage": true},
        "max_tokens": 900,
        "temperature": 1.5,
        "top_p": 0.5,
        "seed": -1,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "insight", "strict": true, "schema": {"type": "object"}}
        },
        "tools": [{
            "type": "function",
            "function": {"name": "look", "description": "Looks.", "parameters": {}}
        }],
        "service_tier": "flex",
    });
    let tools = [Tool {
        name: "look".to_owned(),
        description: "Looks.".to_owned(),
        parameters: raw(&json!({})),
    }];
    assert_eq!(body(&full, true, DRAWN, &tools), expected);

    let object = route(Dialect::OpenAi, |settings| {
        settings.structured = Structured::JsonObject;
    });
    let written = body(&object, true, Sampling::default(), &[]);
    assert_eq!(written["response_format"], json!({"type": "json_object"}));
    let told = json!({"role": "system", "content": "sei kurz\n\nFit this:\n{\"type\":\"object\"}"});
    assert_eq!(written["messages"], json!([told, user]));
}

#[test]
fn a_body_of_anthropic_asks_for_its_form_in_three_ways() {
    let asked = |structured| {
        let route = route(Dialect::Anthropic, |settings| {
            settings.structured = structured;
            settings
                .body
                .insert("thinking".to_owned(), json!({"type": "disabled"}));
        });
        body(&route, true, DRAWN, &[])
    };
    let bare = json!({
        "model": "m",
        "max_tokens": 900,
        "system": "sei kurz",
        "messages": [{"role": "user", "content": "你好\n\"x\""}],
        "stream": true,
        "temperature": 1.0,
        "top_p": 0.5,
        "thinking": {"type": "disabled"},
    });
    let mut expected = bare.clone();
    expected["output_config"] = json!({"format": {"type": "json_schema", "schema": {"type": "object"}}});
    assert_eq!(asked(Structured::JsonSchema), expected);

    expected = bare.clone();
    expected["tools"] = json!([{
        "name": "nova3_answer",
        "description": "Takes the answer to the request.",
        "input_schema": {"type": "object"},
    }]);
    expected["tool_choice"] = json!({"type": "tool", "name": "nova3_answer"});
    assert_eq!(asked(Structured::JsonObject), expected);

    expected = bare;
    expected["system"] = json!("sei kurz\n\nFit this:\n{\"type\":\"object\"}");
    assert_eq!(asked(Structured::Prompt), expected);
}

#[test]
fn a_refusal_changes_the_next_body() {
    let route = route(Dialect::Anthropic, |_| {});
    let messages = conversation();
    let request = ModelRequest::Chat(ChatRequest {
        messages: &messages,
        schema: None,
        longest: 12_000,
        sampling: DRAWN,
        tools: &[],
    });
    for (said, field) in [
        (
            "max_tokens: 12000 > 8192, which is the maximum allowed number of output tokens",
            "max_tokens",
        ),
        (
            "`temperature` and `top_p` cannot both be specified for this model.",
            "temperature",
        ),
    ] {
        let call = Call::new(&route, &request, false).unwrap();
        let mut error = CallError::new(Class::BadRequest, Verdict::Final, said);
        error.status = Some(400);
        assert!(route.learns(&error, &call), "{field}");
    }
    let call = Call::new(&route, &request, false).unwrap();
    let body: Value = serde_json::from_slice(&call.body()).unwrap();
    assert_eq!(body["max_tokens"], json!(8192));
    assert_eq!(
        (&body["temperature"], &body["top_p"]),
        (&Value::Null, &json!(0.5))
    );
}

#[test]
fn a_batch_line_is_sent_as_it_stands_and_never_to_anthropic() {
    let written = r#"{"model":"a","messages":[],  "stream":true}"#;
    let line = |to_model_of_route| {
        ModelRequest::Verbatim(VerbatimRequest {
            body: written,
            endpoint: Endpoint::Chat,
            streams: true,
            to_model_of_route,
        })
    };
    let openai = route(Dialect::OpenAi, |settings| {
        settings.body.insert("service_tier".to_owned(), json!("flex"));
        settings.max_tokens = Some(7);
    });
    let of = |request: &ModelRequest<'_>, capped| {
        let call = Call::new(&openai, request, capped).unwrap();
        assert_eq!(call.body_bytes(), call.body().len() as u64);
        (
            String::from_utf8(call.body().to_vec()).unwrap(),
            call.model,
            call.streams,
        )
    };
    assert_eq!(
        of(&line(false), false),
        (written.to_owned(), "a".to_owned(), true)
    );
    let bound = r#"{"max_completion_tokens":7,"messages":[],"model":"m","stream":true}"#;
    assert_eq!(of(&line(true), true), (bound.to_owned(), "m".to_owned(), true));

    let unstreamed = route(Dialect::OpenAi, |settings| settings.stream = false);
    let request = line(false);
    let call = Call::new(&unstreamed, &request, false).unwrap();
    assert_eq!(&call.body()[..], br#"{"messages":[],"model":"a"}"#);
    assert!(!call.streams);

    let anthropic = route(Dialect::Anthropic, |_| {});
    let refused = Call::new(&anthropic, &request, false).err().unwrap();
    assert_eq!(
        (refused.class, refused.verdict),
        (Class::BadRequest, Verdict::Elsewhere)
    );
    assert!(refused.message.contains("`default`"), "{}", refused.message);
}

#[test]
fn a_route_has_its_own_headers_and_all_their_values_are_secret() {
    let anthropic = route(Dialect::Anthropic, |settings| {
        let value = SecretString::from("a-value-of-its-own");
        settings.headers.push(("x-team".parse().unwrap(), value));
    });
    let openai = route(Dialect::OpenAi, |_| {});
    let shown = |route: &Route| {
        let mut shown: Vec<(String, String, bool)> = headers(&route.settings)
            .unwrap()
            .iter()
            .map(|(name, value)| {
                let text = value.to_str().unwrap().to_owned();
                (name.to_string(), text, value.is_sensitive())
            })
            .collect();
        shown.sort();
        shown
    };
    let header = |name: &str, value: &str, secret| (name.to_owned(), value.to_owned(), secret);
    assert_eq!(
        shown(&openai),
        [
            header("authorization", "Bearer the-key-itself", true),
            header("content-type", "application/json", false),
        ]
    );
    assert_eq!(
        shown(&anthropic),
        [
            header("anthropic-version", "2023-06-01", false),
            header("content-type", "application/json", false),
            header("x-api-key", "the-key-itself", true),
            header("x-team", "a-value-of-its-own", true),
        ]
    );
    let secrets = crate::llm::dialect::secrets(&anthropic.settings);
    assert_eq!(
        secrets.mask("the-key-itself and a-value-of-its-own"),
        "[redacted] and [redacted]"
    );
}
