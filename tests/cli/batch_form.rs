//! OpenAI Batch files: bodies pass through unchanged, byte by byte.

use std::io::Write as _;
use std::net::TcpListener;

use nova3::mock::{Faults, MockConfig};
use serde_json::{Value, json};

use crate::cli::harness::{Harness, errors, lines, setup, setup_with};
use crate::cli::provider::{Say, Scripted, read_request};

fn line(id: &str, body: &str) -> String {
    format!(
        "{{\"custom_id\":\"{id}\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{body}}}\n"
    )
}

const ASK: &str = r#"{"model":"gpt-x","messages":[{"role":"user","content":"hi"}]}"#;

fn setup_scripted(say: impl Fn(&str) -> Say + Send + 'static) -> (Harness, Scripted) {
    let provider = Scripted::start(say);
    (setup().with("OPENAI_BASE_URL", &provider.base_url()), provider)
}

#[rustfmt::skip]
const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x1d\x8d\x41\x0e\x42\x21\x0c\x44\xaf\xf2\xd3\xb5\x31\xba\xf5\x2a\xc6\x18\x84\x7e\xa9\x81\x96\xfc\x76\x61\x24\xdc\xdd\xc2\x6e\x5e\x67\xa6\xd3\x81\x12\xdc\x36\x88\x70\xda\x40\x5e\x1f\x8c\xb6\x30\x07\x3b\x47\xa9\xad\xa0\x91\xf0\x34\xe3\x81\xc1\x70\x86\xaf\x4e\x55\x12\x96\x99\xac\xcb\xcb\x42\x11\xd5\xf9\xde\x81\x38\xe1\xd7\xe5\x65\xc6\x50\x35\xbc\xd1\xa9\xc3\x21\x65\x0a\x08\xaa\xa4\x16\xd8\x56\x53\xd8\x90\xd7\xe6\x8f\x5a\xf3\xff\xc3\xaf\x3b\x31\x69\x7e\xfa\xa2\xfa\xb8\x7b\x6a\xd2\x60\x3c\xc6\x1f\xb2\xb4\x49\x81\xaf\x00\x00\x00";
#[rustfmt::skip]
const DEFLATE: &[u8] = b"\x78\x9c\x1d\x8d\x41\x0e\x42\x21\x0c\x44\xaf\xf2\xd3\xb5\x31\xba\xf5\x2a\xc6\x18\x84\x7e\xa9\x81\x96\xfc\x76\x61\x24\xdc\xdd\xc2\x6e\x5e\x67\xa6\xd3\x81\x12\xdc\x36\x88\x70\xda\x40\x5e\x1f\x8c\xb6\x30\x07\x3b\x47\xa9\xad\xa0\x91\xf0\x34\xe3\x81\xc1\x70\x86\xaf\x4e\x55\x12\x96\x99\xac\xcb\xcb\x42\x11\xd5\xf9\xde\x81\x38\xe1\xd7\xe5\x65\xc6\x50\x35\xbc\xd1\xa9\xc3\x21\x65\x0a\x08\xaa\xa4\x16\xd8\x56\x53\xd8\x90\xd7\xe6\x8f\x5a\xf3\xff\xc3\xaf\x3b\x31\x69\x7e\xfa\xa2\xfa\xb8\x7b\x6a\xd2\x60\x3c\xc6\x1f\x40\x73\x36\xfb";
#[rustfmt::skip]
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd\x04\x68\x05\x04\x00\xb2\x49\x1c\x18\x80\x6b\x1b\x80\x51\x8c\x0b\x69\xdc\xf3\xdb\xb6\x13\x22\x12\x53\x02\xc3\x42\x49\x9b\x90\x02\x01\x11\x11\x9d\xe1\xd7\xc7\xbc\xe3\x56\xda\x14\x49\xaf\xdb\xe3\x98\xa2\x33\x65\x98\x7d\x9c\x3e\xc7\xcf\xa9\xd7\xdb\xad\x8e\x79\x5d\xb8\x39\x84\x79\x45\x54\xb7\xb6\x63\x0a\x30\xef\x28\x73\x7b\x68\xc0\x7c\xeb\x5a\x4e\xda\x31\xbf\x28\xe3\x76\x4c\x02\xe6\x99\x3e\xa5\xcd\x3a\xa6\x3b\xde\xa7\x0b\xd3\x78\x01\x4f\x25\x6f\xa9\x62\xf0\x31\x7d\x1d\xf3\x6c\x0f\x05\x04\x04\x02\x77\xd0\xd5\x15\xd4\xcf\x52\xa6\x1d\x73\x15\x80\xec";

const JSON: &str = "content-type: application/json\r\nx-request-id: req_7\r\n";

#[test]
fn bodies_are_sent_and_returned_verbatim() {
    let odd = r#"{"z":1.50,"choices":[{"message":{"content":"a\u00e9\u001b[31m","role":"assistant"},"finish_reason":"stop","logprobs":null,"index":0}],"big":12345678901234567890123,"e":1E+2,"usage":{"total_tokens":3,"prompt_tokens":1,"completion_tokens":2},"a":-0.0}"#;
    let (harness, provider) = setup_scripted(move |_| Say {
        status: 200,
        headers: JSON,
        body: odd.to_owned(),
    });
    let body = r#"{"temperature":1.0,"model":"gpt-x","seed":18446744073709551616,"messages":[{"content":"h\u0069","role":"user"}],"x":{"y":1e3}}"#;
    harness.write("in.jsonl", line("a", body));
    let ran = harness.nova3(&["run", "in.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(provider.bodies(), [body]);
    let result = &lines(&ran.out)[0];
    let keys: Vec<&String> = result.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["custom_id", "error", "id", "nova3", "response"]);
    assert_eq!(
        (&result["custom_id"], &result["error"]),
        (&json!("a"), &Value::Null)
    );
    assert_eq!(
        (
            &result["response"]["status_code"],
            &result["response"]["request_id"]
        ),
        (&json!(200), &json!("req_7"))
    );
    assert!(ran.out.contains(&format!("\"body\":{odd}}}")), "{}", ran.out);
    assert_eq!(
        harness.nova3(&["results", "--format", "text"]).out,
        "## a\n\naé[31m\n\n"
    );
}

#[test]
fn an_odd_body_is_its_providers_to_judge() {
    let odd = [
        r#"{"model":"a","model":"b","messages":[]}"#,
        r#"{"model":5,"max_tokens":"many","messages":[],"stream":null}"#,
    ];
    let (harness, provider) = setup_scripted(|_| Say {
        status: 400,
        headers: JSON,
        body: r#"{"error":{"message":"odd","type":"invalid_request_error"}}"#.to_owned(),
    });
    harness.write("in.jsonl", line("a", odd[0]) + &line("b", odd[1]));
    assert_eq!(harness.nova3(&["check", "in.jsonl"]).code, Some(0));
    assert_eq!(harness.nova3(&["run", "in.jsonl", "-j", "1"]).code, Some(100));
    assert_eq!(provider.bodies(), odd);
}

#[test]
fn an_http_error_is_an_answer_and_not_good() {
    let refusal =
        r#"{"error":{"message":"no such parameter","type":"invalid_request_error","param":"x","code":null}}"#;
    let (harness, provider) = setup_scripted(move |body| {
        if body.contains("bad") {
            return Say {
                status: 400,
                headers: JSON,
                body: refusal.to_owned(),
            };
        }
        let body = r#"{"choices":[{"message":{"role":"assistant","content":"y"},"finish_reason":"stop"}]}"#
            .to_owned();
        Say {
            status: 200,
            headers: JSON,
            body,
        }
    });
    harness.write(
        "in.jsonl",
        line("good", ASK) + &line("bad", &ASK.replace("hi", "bad")),
    );
    let ran = harness.nova3(&["run", "in.jsonl", "--keep-order", "-o", "out.jsonl"]);
    assert_eq!((ran.code, provider.bodies().len()), (Some(100), 2), "{}", ran.err);
    let results = harness.results("out.jsonl");
    assert_eq!(results[0]["response"]["status_code"], 200);
    assert_eq!(results[1]["response"]["status_code"], 400);
    assert_eq!(results[1]["error"], Value::Null);
    assert!(
        harness
            .read("out.jsonl")
            .contains(&format!("\"body\":{refusal}}}"))
    );
    assert_eq!(harness.nova3(&["verify"]).code, Some(0));
    // A failed request is final. It is sent again only after `nova3 retry`.
    assert_eq!(
        (
            harness
                .nova3(&["run", "in.jsonl", "--keep-order", "-o", "out.jsonl"])
                .code,
            provider.bodies().len()
        ),
        (Some(100), 2)
    );
    assert_eq!(
        harness.nova3(&["retry", "--id", "bad"]).err,
        "run `in.jsonl`: 1 failed request put back; `nova3 run` runs them again\n"
    );
}

#[test]
fn everything_else_that_fails_stands_in_the_error() {
    let (harness, _provider) = setup_with(MockConfig {
        faults: Faults {
            disconnect: 1.0,
            ..Faults::default()
        },
        ..MockConfig::default()
    });
    harness.write("in.jsonl", line("a", ASK) + &line("b", "7"));
    let ran = harness.nova3(&["run", "in.jsonl", "--keep-order"]);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    let results = lines(&ran.out);
    assert_eq!(
        (&results[0]["response"], &results[0]["error"]["code"]),
        (&Value::Null, &json!("network"))
    );
    assert_eq!(errors(&results[1..])[0].0, "bad_request");
}

#[test]
fn a_streamed_body_is_answered_as_one_object() {
    let (harness, _provider) = setup_with(MockConfig::default());
    let streamed = ASK.replace("\"model\"", "\"stream\":true,\"model\"");
    harness.write("in.jsonl", line("plain", ASK) + &line("streamed", &streamed));
    let ran = harness.nova3(&["run", "in.jsonl", "--keep-order"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let results = lines(&ran.out);
    let content = |line: &Value| line["response"]["body"]["choices"][0]["message"]["content"].clone();
    assert_eq!(content(&results[0]), content(&results[1]));
    assert_eq!(results[1]["response"]["body"]["object"], "chat.completion");
    assert_eq!(
        results[1]["response"]["body"]["choices"][0]["finish_reason"],
        "stop"
    );
}

#[test]
fn a_fault_in_a_batch_line_is_tried_again() {
    let (harness, provider) = setup_with(MockConfig {
        faults: Faults {
            server_error: 0.1,
            truncate: 0.1,
            garbage: 0.1,
            error_in_stream: 0.1,
            ..Faults::default()
        },
        ..MockConfig::default()
    });
    harness.write(
        "in.jsonl",
        (0..20)
            .map(|n| line(&format!("b{n}"), &ASK.replace("hi", &format!("hi {n}"))))
            .collect::<String>(),
    );
    let args = ["run", "in.jsonl", "-o", "out.jsonl", "--retry-failed"];
    crate::cli::harness::until("every request is good", || harness.nova3(&args).code == Some(0));
    let results = harness.results("out.jsonl");
    assert_eq!(results.len(), 20);
    for line in results {
        let content = line["response"]["body"]["choices"][0]["message"]["content"]
            .as_str()
            .unwrap();
        assert!(content.ends_with(']'), "cut: {content}");
    }
    assert!(provider.calls() > 20);
}

#[test]
fn a_bad_batch_line_comes_back_in_batch_form() {
    let (harness, _provider) = setup_with(MockConfig::default());
    let bad =
        r#"{"custom_id":"bad","method":"POST","url":"/v1/chat/completions","body":{"messages":"none"}}"#;
    let twice = line("a", r#"{"model":"m","messages":[]}"#);
    harness.write("in.jsonl", format!("{bad}\n{twice}{twice}"));
    let ran = harness.nova3(&["run", "in.jsonl", "--keep-order"]);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    let results = lines(&ran.out);
    let keys = |n: usize| -> Vec<&str> {
        results[n]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect()
    };
    for result in [0, 2] {
        assert_eq!(keys(result), ["custom_id", "error", "id", "response"]);
        assert_eq!(results[result]["error"]["code"], "bad_request");
        assert_eq!(results[result]["response"], serde_json::Value::Null);
    }
    assert_eq!(
        (&results[0]["custom_id"], &results[2]["custom_id"]),
        (&"bad".into(), &serde_json::Value::Null)
    );
    let message = results[2]["error"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("line 3: `custom_id` `a` is already used on an earlier line"),
        "{message}"
    );
}

/// A compressed answer that is not streamed. The client did not ask for compression.
#[test]
fn a_compressed_body_is_read() {
    // `gzip`, `zlib` and `zstd` of the same JSON.
    for (encoding, body) in [("gzip", GZIP), ("deflate", DEFLATE), ("zstd", ZSTD)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                read_request(&stream);
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: {encoding}\r\n\
                     content-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                stream
                    .write_all(head.as_bytes())
                    .and_then(|()| stream.write_all(body))
                    .unwrap_or_default();
            }
        });
        let harness = setup().with("OPENAI_BASE_URL", &format!("http://{address}/v1"));
        harness.write("in.jsonl", line("a", ASK));
        let ran = harness.nova3(&["run", "in.jsonl"]);
        assert_eq!(ran.code, Some(0), "{encoding}: {}", ran.err);
        let content = &lines(&ran.out)[0]["response"]["body"]["choices"][0]["message"]["content"];
        assert_eq!(content, "zipped", "{encoding}");
    }
}

#[test]
fn other_endpoints_are_passed_through() {
    let (harness, provider) = setup_scripted(|body| {
        Say {
        status: 200,
        headers: JSON,
        body: if body.contains("embed") {
            r#"{"object":"list","data":[{"index":0,"embedding":[0.1]}],"usage":{"prompt_tokens":3,"total_tokens":3}}"#
        } else {
            r#"{"id":"resp_1","object":"response","status":"completed","error":null,"output":[],"usage":{"input_tokens":3,"output_tokens":4}}"#
        }
        .to_owned(),
    }
    });
    let embed = r#"{"model":"embed","input":"hi"}"#;
    let respond = r#"{"model":"m","input":"hi","stream":true}"#;
    harness.write(
        "in.jsonl",
        line("a", embed).replace("chat/completions", "embeddings")
            + &line("b", respond).replace("/v1/chat/completions", "/openai/v1/responses"),
    );
    let ran = harness.nova3(&["run", "in.jsonl", "--keep-order", "-j", "1"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let results = lines(&ran.out);
    assert_eq!(results[0]["response"]["body"]["object"], "list");
    assert_eq!(results[1]["response"]["body"]["id"], "resp_1");
    assert_eq!(provider.bodies(), [embed, r#"{"input":"hi","model":"m"}"#]);
}

/// An answer that breaks the Batch form in details is passed on as the provider sent it.
#[test]
fn odd_json_is_passed_on() {
    let (harness, _provider) = setup_scripted(|body| {
        Say {
        status: 201,
        headers: JSON,
        body: if body.contains("half") {
            r#"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"half \ud83d"},"finish_reason":"stop"}]}"#
        } else if body.contains("twice") {
            r#"{"id":"c","id":"d","choices":[{"message":{"content":{"a":[]},"content":"x"},"finish_reason":"stop"}]}"#
        } else {
            r#"{"id":"c","choices":[{"message":{"content":"x"},"finish_reason":"stop","score":NaN}]}"#
        }
        .to_owned(),
    }
    });
    let ask = |what: &str| line(what, &ASK.replace("hi", what));
    harness.write("in.jsonl", ask("half") + &ask("twice") + &ask("nan"));
    let ran = harness.nova3(&["run", "in.jsonl", "--keep-order"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.contains(r#""content":"half \ud83d""#), "{}", ran.out);
    assert!(ran.out.contains(r#"{"id":"c","id":"d","choices""#), "{}", ran.out);
    assert!(ran.out.contains(r#""score":null"#), "{}", ran.out);
}
