//! Assembles a stream into the one object that the call would have returned without streaming: every choice, tool
//! calls, probabilities, and all other members of the chunks.

use serde_json::{Map, Value};

use crate::llm::wire::error::{self, CallError};
use crate::llm::wire::loose;
use crate::llm::wire::sse::Frame;

/// Members that hold a name. A later value replaces an earlier one. Every other text grows by its pieces.
const NAMES: [&str; 10] = [
    "id",
    "object",
    "model",
    "type",
    "role",
    "name",
    "finish_reason",
    "native_finish_reason",
    "service_tier",
    "system_fingerprint",
];

/// Estimated bytes of a member in memory, beside its text.
const NODE_BYTES: usize = 64;

/// The depth limit of an answer.
const MOST_LEVELS: u8 = 100;

/// The object of a stream in progress.
#[derive(Debug)]
pub(in crate::llm) struct Assembly {
    whole: Map<String, Value>,
    held: usize,
    most: usize,
}

impl Assembly {
    /// Makes an empty object with a limit of `most` bytes.
    pub(in crate::llm) fn new(most: usize) -> Self {
        Self {
            whole: Map::new(),
            held: 0,
            most,
        }
    }

    pub(in crate::llm) const fn held_bytes(&self) -> usize {
        self.held
    }

    /// Takes a frame that the collector has accepted.
    pub(in crate::llm) fn frame(&mut self, frame: &Frame) -> Result<(), CallError> {
        let data = frame.data.trim();
        match parsed(data) {
            Some(chunk) => self.chunk(chunk)?,
            // Some gateways omit the blank line between events.
            None => {
                for chunk in data.lines().filter_map(parsed) {
                    self.chunk(chunk)?;
                }
            }
        }
        Ok(())
    }

    fn chunk(&mut self, chunk: Map<String, Value>) -> Result<(), CallError> {
        for (name, value) in chunk {
            if name != "choices" {
                let slot = self.whole.entry(name).or_insert(Value::Null);
                if !value.is_null() && !is_empty_text(&value) {
                    self.held += weight(&value);
                    *slot = value;
                }
                continue;
            }
            let Value::Array(choices) = value else { continue };
            let choices = choices.into_iter().map(renamed).collect();
            let slot = self
                .whole
                .entry("choices")
                .or_insert_with(|| Value::Array(Vec::new()));
            self.held += merge(slot, Value::Array(choices), "choices", MOST_LEVELS);
        }
        if self.held > self.most {
            let message = format!("the answer is larger than {} bytes", self.most);
            return Err(error::too_long(&message));
        }
        Ok(())
    }

    /// Returns the object with every member that the official types require.
    pub(in crate::llm) fn end(self) -> Value {
        let mut whole = self.whole;
        whole.insert("object".to_owned(), "chat.completion".into());
        for (name, missing) in [
            ("id", Value::from("")),
            ("created", 0.into()),
            ("model", "".into()),
            ("usage", Value::Null),
        ] {
            let slot = whole.entry(name).or_insert(Value::Null);
            if slot.is_null() {
                *slot = missing;
            }
        }
        let mut choices = match whole.remove("choices") {
            Some(Value::Array(choices)) => choices,
            _ => Vec::new(),
        };
        choices.sort_by_key(|choice| choice.get("index").and_then(Value::as_u64));
        for choice in &mut choices {
            complete(choice);
        }
        whole.insert("choices".to_owned(), Value::Array(choices));
        mended(Value::Object(whole))
    }
}

fn parsed(data: &str) -> Option<Map<String, Value>> {
    if !data.starts_with('{') {
        return None;
    }
    serde_json::from_str(data)
        .ok()
        .or_else(|| match loose::read(data) {
            Some(Value::Object(chunk)) => Some(chunk),
            _ => None,
        })
}

/// Renames `delta` of a chunk's choice to `message`, as in a complete answer.
fn renamed(mut choice: Value) -> Value {
    if let Some(choice) = choice.as_object_mut()
        && let Some(delta) = choice.remove("delta")
    {
        choice.insert("message".to_owned(), delta);
    }
    choice
}

/// Merges a piece into a value. Returns the added bytes in memory.
fn merge(slot: &mut Value, piece: Value, name: &str, levels: u8) -> usize {
    let Some(deeper) = levels.checked_sub(1) else {
        return 0;
    };
    match (slot, piece) {
        (_, Value::Null) => 0,
        (Value::String(text), Value::String(piece)) => {
            if NAMES.contains(&name) {
                if !piece.is_empty() {
                    *text = piece;
                }
                return 0;
            }
            text.push_str(&piece);
            piece.len()
        }
        (Value::Object(object), Value::Object(piece)) => {
            let mut held = 0;
            for (name, value) in piece {
                let slot = object.entry(name.clone()).or_insert(Value::Null);
                held += merge(slot, value, &name, deeper);
            }
            held
        }
        (Value::Array(items), Value::Array(pieces)) => {
            let mut held = 0;
            for piece in pieces {
                let index = piece.get("index").cloned();
                let same = |item: &&mut Value| index.is_some() && item.get("index") == index.as_ref();
                if let Some(item) = items.iter_mut().find(same) {
                    held += merge(item, piece, name, deeper);
                } else {
                    held += weight(&piece);
                    items.push(piece);
                }
            }
            held
        }
        (slot, piece) => {
            let held = weight(&piece);
            *slot = piece;
            held
        }
    }
}

fn weight(value: &Value) -> usize {
    NODE_BYTES
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(weight).sum(),
            Value::Object(members) => members
                .iter()
                .map(|(name, value)| name.len() + weight(value))
                .sum(),
            _ => 0,
        }
}

fn is_empty_text(value: &Value) -> bool {
    value.as_str().is_some_and(str::is_empty)
}

/// Adds the members that the official types require of a choice.
fn complete(choice: &mut Value) {
    let Some(choice) = choice.as_object_mut() else {
        return;
    };
    choice.entry("index").or_insert_with(|| 0.into());
    choice.entry("logprobs").or_insert(Value::Null);
    let message = choice
        .entry("message")
        .or_insert_with(|| Value::Object(Map::new()));
    if !message.is_object() {
        *message = Value::Object(Map::new());
    }
    let mut calls_tools = false;
    if let Some(message) = message.as_object_mut() {
        let role = message.entry("role").or_insert(Value::Null);
        if role.is_null() {
            *role = "assistant".into();
        }
        message.entry("content").or_insert(Value::Null);
        message.entry("refusal").or_insert(Value::Null);
        if let Some(calls) = message.get_mut("tool_calls").and_then(Value::as_array_mut) {
            calls_tools = !calls.is_empty();
            for call in calls.iter_mut().filter_map(Value::as_object_mut) {
                // The index only identifies the pieces of a stream.
                call.remove("index");
                call.entry("type").or_insert_with(|| "function".into());
            }
        }
        if message.get("tool_calls").is_some_and(Value::is_null) {
            message.remove("tool_calls");
        }
    }
    let reason = choice.entry("finish_reason").or_insert(Value::Null);
    if reason.is_null() || is_empty_text(reason) {
        *reason = if calls_tools { "tool_calls" } else { "stop" }.into();
    }
}

/// Joins the halves of surrogate pairs in a value, and replaces a half without a partner.
pub(in crate::llm) fn mended(value: Value) -> Value {
    match value {
        Value::String(text) if text.chars().any(|c| loose::half(c).is_some()) => {
            let mut joined = loose::JoinedText::new();
            joined.push(&text, true);
            Value::String(joined.end())
        }
        Value::Array(items) => items.into_iter().map(mended).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| (name, mended(value)))
            .collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn put_together(chunks: &[&str]) -> Value {
        let mut assembly = Assembly::new(1 << 20);
        for chunk in chunks {
            let frame = Frame {
                event: None,
                data: (*chunk).to_owned(),
            };
            assembly.frame(&frame).unwrap();
        }
        assembly.end()
    }

    #[test]
    fn every_choice_and_member_is_put_together() {
        let whole = put_together(&[
            r#"{"id":"c1","object":"chat.completion.chunk","created":17,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":null,"reasoning_content":"I "},"finish_reason":null}]}"#,
            r#"{"id":"c1","created":17,"model":"m","choices":[{"index":0,"delta":{"reasoning_content":"think","tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"get","arguments":"{\"a\":"}}]}}]}"#,
            r#"{"id":"c1","created":17,"model":"m","choices":[{"index":1,"delta":{"role":"assistant","content":"x\ud83d"},"logprobs":{"content":[{"token":"x","logprob":-1.5}]}}]}"#,
            r#"{"id":"c1","created":17,"model":"m","choices":[{"index":1,"delta":{"content":"\ude00y"},"logprobs":{"content":[{"token":"y","logprob":-2}]},"finish_reason":"length"}]}"#,
            r#"{"id":"","created":17,"model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}},{"index":1,"id":"call_2","function":{"name":"put","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}"#,
            r#"{"id":"c1","created":17,"model":"m","choices":[],"usage":{"prompt_tokens":9}}"#,
            "[DONE]",
        ]);
        assert_eq!(
            whole,
            json!({
                "id": "c1", "object": "chat.completion", "created": 17, "model": "m", "usage": {"prompt_tokens": 9},
                "choices": [
                    {"index": 0, "finish_reason": "tool_calls", "logprobs": null, "message": {
                        "role": "assistant", "content": null, "refusal": null, "reasoning_content": "I think",
                        "tool_calls": [
                            {"id": "call_1", "type": "function", "function": {"name": "get", "arguments": "{\"a\":1}"}},
                            {"id": "call_2", "type": "function", "function": {"name": "put", "arguments": "{}"}},
                        ]}},
                    {"index": 1, "finish_reason": "length",
                        "logprobs": {"content": [{"token": "x", "logprob": -1.5}, {"token": "y", "logprob": -2}]},
                        "message": {"role": "assistant", "content": "x😀y", "refusal": null}},
                ],
            })
        );
    }

    #[test]
    fn an_object_is_bounded() {
        let mut assembly = Assembly::new(1000);
        let data = format!(
            r#"{{"choices":[{{"index":0,"delta":{{"content":"{}"}}}}]}}"#,
            "a".repeat(200)
        );
        let frame = Frame { event: None, data };
        let taken = (0..10).take_while(|_| assembly.frame(&frame).is_ok()).count();
        assert!((2..5).contains(&taken), "{taken}");
    }
}
