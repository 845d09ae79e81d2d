//! An answer of the Messages API: the events of a stream, or one JSON object.

use serde_json::{Value, json};

use super::answer::MockAnswer;
use super::error_object::{GARBAGE, OVERLOADED};
use super::frames::string;
use super::prompt_cache::TokenUsage;
use crate::config::Dialect;

/// The number of frames after the last piece: the end of the block, the stop reason with the usage, the end.
pub(crate) const CLOSING: usize = 3;

/// The answer tokens that the first frame of a stream reports.
const AT_START: u64 = 1;

/// The events of one answer.
pub(crate) struct Events {
    id: String,
    model: String,
    /// The forced tool. The answer is its input.
    tool: Option<String>,
    usage: TokenUsage,
}

impl Events {
    pub(crate) fn new(call: u64, model: &str, tool: Option<String>, usage: TokenUsage) -> Self {
        Self {
            id: format!("{call:020x}"),
            model: model.to_owned(),
            tool,
            usage,
        }
    }

    /// Writes the frames before the first piece: the message, its only block, a ping.
    pub(crate) fn open(&self, out: &mut Vec<u8>) {
        let usage = self.usage(AT_START.min(self.usage.answer));
        let message = self.message(&json!([]), None, &usage);
        event(out, &json!({"type": "message_start", "message": message}));
        let block = match &self.tool {
            Some(name) => json!({"type": "tool_use", "id": self.tool_id(), "name": name, "input": {}}),
            None => json!({"type": "text", "text": ""}),
        };
        event(
            out,
            &json!({"type": "content_block_start", "index": 0, "content_block": block}),
        );
        event(out, &json!({"type": "ping"}));
    }

    pub(crate) fn piece(&self, out: &mut Vec<u8>, piece: &str) {
        out.extend_from_slice(
            b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":",
        );
        out.extend_from_slice(if self.tool.is_some() {
            br#"{"type":"input_json_delta","partial_json":"#
        } else {
            br#"{"type":"text_delta","text":"#
        });
        string(out, piece);
        out.extend_from_slice(b"}}\n\n");
    }

    /// Writes frame `step`, from 0, after the last piece.
    pub(crate) fn close(&self, out: &mut Vec<u8>, step: usize, answer: &MockAnswer) {
        match step {
            0 => event(out, &json!({"type": "content_block_stop", "index": 0})),
            1 => {
                let delta = json!({"stop_reason": self.stop_reason(answer), "stop_sequence": null});
                let usage = json!({"output_tokens": self.usage.answer});
                event(
                    out,
                    &json!({"type": "message_delta", "delta": delta, "usage": usage}),
                );
            }
            _ => event(out, &json!({"type": "message_stop"})),
        }
    }

    /// Returns the JSON of an answer that is not streamed.
    pub(crate) fn whole(&self, answer: &MockAnswer) -> String {
        let block = match &self.tool {
            Some(name) => {
                // An input that was cut is not valid JSON. The API then sends an empty input.
                let input = serde_json::from_str(answer.text()).unwrap_or_else(|_| json!({}));
                json!({"type": "tool_use", "id": self.tool_id(), "name": name, "input": input})
            }
            None => json!({"type": "text", "text": answer.text()}),
        };
        let stop_reason = self.stop_reason(answer);
        self.message(&json!([block]), Some(stop_reason), &self.usage(self.usage.answer))
            .to_string()
    }

    fn message(&self, content: &Value, stop_reason: Option<&str>, usage: &Value) -> Value {
        json!({
            "id": format!("msg_{}", self.id),
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": null,
            "usage": usage,
        })
    }

    /// Returns the usage with `answer` tokens of the answer. Tokens of the cache are not part of `input_tokens`.
    fn usage(&self, answer: u64) -> Value {
        let TokenUsage {
            prompt,
            cache_read,
            cache_write,
            ..
        } = self.usage;
        json!({
            "input_tokens": prompt - cache_read - cache_write,
            "cache_creation_input_tokens": cache_write,
            "cache_read_input_tokens": cache_read,
            "output_tokens": answer,
            "service_tier": "standard",
        })
    }

    fn tool_id(&self) -> String {
        format!("toolu_{}", self.id)
    }

    fn stop_reason(&self, answer: &MockAnswer) -> &'static str {
        match (answer.is_cut(), &self.tool) {
            (true, _) => "max_tokens",
            (false, Some(_)) => "tool_use",
            (false, None) => "end_turn",
        }
    }
}

/// Writes garbage in place of an event.
pub(crate) fn garbage(out: &mut Vec<u8>) {
    raw(out, "content_block_delta", GARBAGE.as_bytes());
}

/// Writes an error inside a stream.
pub(crate) fn error(out: &mut Vec<u8>) {
    raw(out, "error", &OVERLOADED.json(Dialect::Anthropic));
}

fn event(out: &mut Vec<u8>, data: &Value) {
    let name = data["type"].as_str().unwrap_or_default();
    raw(out, name, data.to_string().as_bytes());
}

fn raw(out: &mut Vec<u8>, name: &str, data: &[u8]) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n");
}
