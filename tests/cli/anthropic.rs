//! A route that speaks Anthropic's Messages API, alone and in a chain with one that speaks OpenAI's.

use serde_json::{Value, json};

use crate::cli::harness::{Harness, Ran, lines, setup};
use crate::cli::model::{self, Call, good, item};
use crate::cli::provider::{Say, Scripted};

const KEY: &str = "a-key-of-anthropic";
const VALUE: &str = "a-value-of-a-header";

/// A route of Anthropic's dialect, and one of OpenAI's behind it if there is one.
fn chain(claude: &Scripted, openai: Option<&Scripted>, more: &str) -> Harness {
    let mut text = format!(
        "[retry]\nbase = \"1ms\"\nlongest = \"2ms\"\n[routes.claude]\ndialect = \"anthropic\"\nbase_url = \"{}\"\n\
         model = \"m-claude\"\napi_key_env = \"CLAUDE_KEY\"\ninput_usd_per_million = 1\noutput_usd_per_million = 1\n{more}\n",
        claude.base_url()
    );
    let mut names = "\"claude\"".to_owned();
    if let Some(openai) = openai {
        text += &format!(
            "[routes.openai]\nbase_url = \"{}\"\nmodel = \"m-openai\"\nno_key = true\n",
            openai.base_url()
        );
        names += ", \"openai\"";
    }
    text += &format!("[chains]\ndefault = [{names}]\n");
    let harness = setup().with("CLAUDE_KEY", KEY);
    harness.write("nova3.toml", text);
    harness
}

fn ask(harness: &Harness) -> Ran {
    let line = json!({"custom_id": "a", "query": "How do heat pumps work?", "tasks": ["insight"]});
    harness.write("in.jsonl", format!("{line}\n"));
    harness.nova3(&["run", "in.jsonl"])
}

fn task(ran: &Ran) -> Value {
    lines(&ran.out)[0]["tasks"][0].clone()
}

/// The items that the call asks for, by whichever way.
fn items(call: &Value) -> Value {
    let schema = match &call["output_config"]["format"]["schema"] {
        Value::Null => &call["tools"][0]["input_schema"],
        schema => schema,
    };
    json!({"items": [item(schema, "how they work")]})
}

/// The events of a message.
fn streamed(block: &Value, piece: &Value, reason: &str) -> Say {
    let usage = json!({"input_tokens": 100, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 7, "output_tokens": 1});
    let events = [
        json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude-1", "usage": usage}}),
        json!({"type": "content_block_start", "index": 0, "content_block": block}),
        json!({"type": "ping"}),
        json!({"type": "content_block_delta", "index": 0, "delta": piece}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 30}}),
        json!({"type": "message_stop"}),
    ];
    let body = events.map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()));
    Say {
        status: 200,
        headers: "content-type: text/event-stream\r\n",
        body: body.concat(),
    }
}

fn says(text: &str) -> Say {
    let block = json!({"type": "text", "text": ""});
    streamed(&block, &json!({"type": "text_delta", "text": text}), "end_turn")
}

fn calls_tool(input: &Value) -> Say {
    let block = json!({"type": "tool_use", "id": "toolu_1", "name": "nova3_answer", "input": {}});
    let piece = json!({"type": "input_json_delta", "partial_json": input.to_string()});
    streamed(&block, &piece, "tool_use")
}

fn refuses(status: u16, kind: &str, message: &str) -> Say {
    Say {
        status,
        headers: "content-type: application/json\r\n",
        body: json!({"type": "error", "error": {"type": kind, "message": message}}).to_string(),
    }
}

fn read(body: &str) -> Value {
    serde_json::from_str(body).unwrap()
}

#[test]
fn an_agent_asks_and_is_billed_in_anthropics_dialect() {
    let claude = Scripted::start(|body| says(&items(&read(body)).to_string()));
    let ran = ask(&chain(
        &claude,
        None,
        "[routes.claude.headers]\nx-team = \"blue\"",
    ));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let task = task(&ran);
    assert_eq!(task["result"][0]["content"], "how they work");
    assert_eq!(task["route"], "claude");
    assert_eq!(task["model"], "claude-1");
    let usage = &task["usage"];
    assert_eq!(
        [
            &usage["input_tokens"],
            &usage["cached_input_tokens"],
            &usage["output_tokens"]
        ],
        [&json!(147), &json!(40), &json!(30)]
    );
    let head = &claude.heads()[0];
    assert!(head.starts_with("post /v1/messages http/1.1"), "{head}");
    for header in [
        &format!("x-api-key: {KEY}"),
        "anthropic-version: 2023-06-01",
        "accept: text/event-stream",
        "x-team: blue",
    ] {
        assert!(head.contains(header), "{header} in {head}");
    }
    assert!(!head.contains("authorization"), "{head}");
    let body = read(&claude.bodies()[0]);
    assert_eq!(body["model"], "m-claude");
    assert_eq!(body["messages"].as_array().unwrap().len(), 1);
    assert!(body["system"].as_str().unwrap().len() > 10);
    assert_eq!(body["output_config"]["format"]["type"], "json_schema");
}

#[test]
fn a_server_without_output_config_is_asked_by_a_tool_and_then_by_the_prompt() {
    let by_tool = Scripted::start(|body| {
        let call = read(body);
        if call["output_config"].is_null() {
            calls_tool(&items(&call))
        } else {
            refuses(
                400,
                "invalid_request_error",
                "output_config: Extra inputs are not permitted",
            )
        }
    });
    let ran = ask(&chain(&by_tool, None, ""));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(task(&ran)["result"][0]["content"], "how they work");
    let bodies: Vec<Value> = by_tool.bodies().iter().map(|body| read(body)).collect();
    assert_eq!(bodies.len(), 2);
    assert_eq!(
        bodies[1]["tool_choice"],
        json!({"type": "tool", "name": "nova3_answer"})
    );
    assert_eq!(bodies[0]["system"], bodies[1]["system"]);

    let by_prompt = Scripted::start(|body| {
        let call = read(body);
        if !call["output_config"].is_null() {
            return refuses(
                400,
                "invalid_request_error",
                "This model does not support output format.",
            );
        }
        if !call["tools"].is_null() {
            let message = "Thinking may not be enabled when tool_choice forces tool use.";
            return refuses(400, "invalid_request_error", message);
        }
        let system = call["system"].as_str().unwrap();
        let (_, schema) = system.rsplit_once("JSON Schema:\n").unwrap();
        says(&json!({"items": [item(&read(schema), "how they work")]}).to_string())
    });
    let ran = ask(&chain(&by_prompt, None, ""));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(task(&ran)["attempts"], 3);
}

#[test]
fn an_answer_that_is_not_streamed_is_read_as_one_message() {
    let claude = Scripted::start(|body| {
        let call = read(body);
        assert!(call["stream"].is_null());
        let content = json!([{"type": "text", "text": items(&call).to_string()}]);
        Say {
            status: 200,
            headers: "content-type: application/json\r\n",
            body: json!({"type": "message", "id": "msg_1", "model": "claude-1", "content": content, "stop_reason": "end_turn",
                "usage": {"input_tokens": 100, "output_tokens": 30}})
            .to_string(),
        }
    });
    let ran = ask(&chain(&claude, None, "stream = false"));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(task(&ran)["usage"]["input_tokens"], 100);
    assert!(!claude.heads()[0].contains("event-stream"));
}

#[test]
fn an_answer_of_openai_can_be_unstreamed_too() {
    let openai = Scripted::start(|body| {
        assert!(
            !body.contains("\"stream\"") && !body.contains("stream_options"),
            "{body}"
        );
        good(&Call::of(body))
    });
    let harness = setup();
    harness.write(
        "nova3.toml",
        format!(
            "[routes.a]\nbase_url = \"{}\"\nmodel = \"m\"\nno_key = true\nstream = false\n[routes.a.body]\nservice_tier = \"flex\"\n",
            openai.base_url()
        ),
    );
    let ran = ask(&harness);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(openai.bodies()[0].contains(r#""service_tier":"flex""#));
}

#[test]
fn a_chain_goes_on_in_another_dialect() {
    for (status, kind, calls) in [(529, "overloaded_error", 5), (401, "authentication_error", 1)] {
        let claude = Scripted::start(move |_| refuses(status, kind, "no"));
        let openai = Scripted::start(|body| good(&Call::of(body)));
        let ran = ask(&chain(&claude, Some(&openai), ""));
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let task = task(&ran);
        assert_eq!(
            (&task["route"], &task["fallback"]["from"]),
            (&json!("openai"), &json!("claude")),
            "{kind}"
        );
        assert!(
            claude.bodies().len() <= calls && !claude.bodies().is_empty(),
            "{kind}"
        );
        assert_eq!(openai.bodies().len(), 1, "{kind}");
    }
}

#[test]
fn a_batch_line_is_never_sent_to_anthropic() {
    let body = json!({"model": "gpt", "messages": [{"role": "user", "content": "hi"}]});
    let line = json!({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body});
    let claude = Scripted::start(|_| says("hi"));
    let openai = Scripted::start(|_| model::says("hello"));

    let harness = chain(&claude, Some(&openai), "");
    harness.write("in.jsonl", format!("{line}\n"));
    let ran = harness.nova3(&["run", "in.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(lines(&ran.out)[0]["response"]["status_code"], 200);
    assert_eq!(read(&openai.bodies()[0])["model"], "m-openai");

    let harness = chain(&claude, None, "");
    harness.write("in.jsonl", format!("{line}\n"));
    let ran = harness.nova3(&["run", "in.jsonl"]);
    let failed = &lines(&ran.out)[0];
    let error = failed.to_string();
    assert!(
        error.contains("bad_request") && error.contains("route `claude` speaks Anthropic's"),
        "{error}"
    );
    assert!(claude.bodies().is_empty());
}

#[test]
fn no_value_of_a_header_is_told() {
    let claude = Scripted::start(|_| {
        let message = format!("keys: {KEY}, {VALUE}");
        refuses(400, "invalid_request_error", &message)
    });
    let more = format!("[routes.claude.headers]\nx-team = \"{VALUE}\"");
    let ran = ask(&chain(&claude, None, &more));
    let told = format!("{}{}", ran.out, ran.err);
    assert!(told.contains("keys: [redacted], [redacted]"), "{told}");
    assert!(!told.contains(KEY) && !told.contains(VALUE), "{told}");
}
