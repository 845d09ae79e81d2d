//! A running mock server, and a client of it.

use nova3::mock::{self, Mock, MockConfig};
use serde_json::{Value, json};

/// A running server and a client of it.
pub(super) struct Harness {
    pub(super) mock: Mock,
    pub(super) client: reqwest::Client,
}

pub(super) async fn harness(config: MockConfig) -> Harness {
    // Another test of this process may have installed the provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    Harness {
        mock: mock::start(config).await.expect("the mock starts"),
        client,
    }
}

impl Harness {
    pub(super) fn post(&self, body: &Value) -> reqwest::RequestBuilder {
        let url = format!("{}/chat/completions", self.mock.base_url());
        self.client
            .post(url)
            .header("content-type", "application/json")
            .body(body.to_string())
    }

    /// The same for the Messages API.
    pub(super) fn post_message(&self, body: &Value) -> reqwest::RequestBuilder {
        let url = format!("{}/messages", self.mock.base_url());
        self.client
            .post(url)
            .header("content-type", "application/json")
            .header("anthropic-version", "2023-06-01")
            .body(body.to_string())
    }

    /// Returns the status and the whole text of an answer.
    pub(super) async fn ask(&self, body: &Value) -> (u16, String) {
        let response = self.post(body).send().await.expect("a response");
        (
            response.status().as_u16(),
            response.text().await.expect("a complete body"),
        )
    }

    pub(super) async fn json(&self, body: &Value) -> Value {
        serde_json::from_str(&self.ask(body).await.1).expect("JSON")
    }

    /// Returns the part of an answer that arrives, and whether it ends cleanly.
    pub(super) async fn ask_until_cut(&self, body: &Value) -> (String, bool) {
        let mut text = Vec::new();
        let Ok(mut response) = self.post(body).send().await else {
            return (String::new(), false);
        };
        loop {
            match response.chunk().await {
                Ok(Some(bytes)) => text.extend_from_slice(&bytes),
                end => return (String::from_utf8_lossy(&text).into_owned(), end.is_ok()),
            }
        }
    }

    /// Lets the server work until `done` holds.
    pub(super) async fn until(&self, done: impl Fn(&mock::Stats) -> bool) {
        while !done(&self.mock.stats()) {
            tokio::task::yield_now().await;
        }
    }
}

pub(super) fn prompt(text: &str) -> Value {
    json!({ "model": "mock-small", "messages": [{ "role": "user", "content": text }] })
}

pub(super) fn streamed(text: &str) -> Value {
    with(
        prompt(text),
        &json!({ "stream": true, "stream_options": { "include_usage": true } }),
    )
}

pub(super) fn with(mut body: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    body
}

/// Returns the data of all frames of a stream.
pub(super) fn frames(stream: &str) -> Vec<&str> {
    stream
        .split_terminator("\n\n")
        .map(|frame| frame.strip_prefix("data: ").expect("a data frame"))
        .collect()
}

/// Returns the content of all chunks of a stream that are JSON.
pub(super) fn content(stream: &str) -> String {
    let chunks = frames(stream)
        .into_iter()
        .filter_map(|frame| serde_json::from_str::<Value>(frame).ok());
    chunks
        .filter_map(|chunk| {
            chunk["choices"][0]["delta"]["content"]
                .as_str()
                .map(str::to_owned)
        })
        .collect()
}
