//! An answer of Chat Completions: the chunks of a stream, or one JSON object.

use serde::Serialize;
use serde_json::json;

use super::answer::MockAnswer;
use super::error_object::{GARBAGE, SERVER_ERROR};
use super::frames::{json, string};
use super::prompt_cache::TokenUsage;
use crate::config::Dialect;

/// The usage of an answer in the form of Chat Completions.
#[derive(Debug, Clone, Copy, Serialize)]
struct ChatUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

/// The number of cached tokens, always 0. Clients expect the field.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct PromptDetails {
    cached_tokens: u64,
}

/// The number of reasoning tokens, always 0. Clients expect the field.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
}

impl ChatUsage {
    fn new(usage: TokenUsage) -> Self {
        Self {
            prompt_tokens: usage.prompt,
            completion_tokens: usage.answer,
            total_tokens: usage.prompt + usage.answer,
            prompt_tokens_details: PromptDetails::default(),
            completion_tokens_details: CompletionDetails::default(),
        }
    }
}

/// The number of frames after the last piece: the finish reason and `[DONE]`.
const CLOSING: usize = 2;

/// The chunks of one answer.
pub(crate) struct Chunks {
    /// Every chunk up to the value of `choices`.
    head: String,
    usage: Option<ChatUsage>,
}

impl Chunks {
    /// `identity` is the fields that are in every chunk, without braces and without a trailing comma.
    pub(crate) fn new(identity: &str, usage: Option<TokenUsage>) -> Self {
        Self {
            head: format!("data: {{{identity},\"choices\":["),
            usage: usage.map(ChatUsage::new),
        }
    }

    /// Writes the frame before the first piece: the role.
    pub(crate) fn open(&self, out: &mut Vec<u8>) {
        self.chunk(out, |out| {
            delta(out, br#""role":"assistant","content":"","refusal":null"#, None);
        });
    }

    pub(crate) fn piece(&self, out: &mut Vec<u8>, piece: &str) {
        self.chunk(out, |out| {
            out.extend_from_slice(br#"{"index":0,"delta":{"content":"#);
            string(out, piece);
            out.extend_from_slice(br#"},"logprobs":null,"finish_reason":null}"#);
        });
    }

    /// Returns the number of frames after the last piece.
    pub(crate) fn closing(&self) -> usize {
        CLOSING + usize::from(self.usage.is_some())
    }

    /// Writes frame `step`, from 0, after the last piece.
    pub(crate) fn close(&self, out: &mut Vec<u8>, step: usize, answer: &MockAnswer) {
        match (step, self.usage) {
            (0, _) => self.chunk(out, |out| delta(out, b"", Some(finish_reason(answer)))),
            (1, Some(usage)) => {
                out.extend_from_slice(self.head.as_bytes());
                out.extend_from_slice(b"],\"usage\":");
                json(out, &usage);
                out.extend_from_slice(b"}\n\n");
            }
            _ => raw(out, b"[DONE]"),
        }
    }

    fn chunk(&self, out: &mut Vec<u8>, choice: impl FnOnce(&mut Vec<u8>)) {
        out.extend_from_slice(self.head.as_bytes());
        choice(out);
        out.extend_from_slice(if self.usage.is_some() {
            b"],\"usage\":null}\n\n"
        } else {
            b"]}\n\n"
        });
    }
}

/// Writes garbage in place of a chunk.
pub(crate) fn garbage(out: &mut Vec<u8>) {
    raw(out, GARBAGE.as_bytes());
}

/// Writes an error inside a stream.
pub(crate) fn error(out: &mut Vec<u8>) {
    raw(out, &SERVER_ERROR.json(Dialect::OpenAi));
}

/// Returns the JSON of an answer that is not streamed.
pub(crate) fn whole(identity: &str, answer: &MockAnswer, usage: TokenUsage) -> String {
    let message = json!({ "role": "assistant", "content": answer.text(), "refusal": null });
    let finish_reason = finish_reason(answer);
    let choice = json!({ "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason });
    let usage = json!(ChatUsage::new(usage));
    format!("{{{identity},\"choices\":[{choice}],\"usage\":{usage}}}")
}

fn finish_reason(answer: &MockAnswer) -> &'static str {
    if answer.is_cut() { "length" } else { "stop" }
}

fn delta(out: &mut Vec<u8>, fields: &[u8], finish_reason: Option<&str>) {
    out.extend_from_slice(br#"{"index":0,"delta":{"#);
    out.extend_from_slice(fields);
    out.extend_from_slice(br#"},"logprobs":null,"finish_reason":"#);
    json(out, &finish_reason);
    out.push(b'}');
}

fn raw(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n");
}
