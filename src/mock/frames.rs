//! A streamed answer as server-sent events, in the order and shape OpenAI sends them.

use std::time::Duration;

use serde::Serialize;

use super::answer::Answer;
use super::error_object::{GARBAGE, SERVER_ERROR};
use super::faults::Fault;

/// What an answer cost.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
    pub(crate) total_tokens: u64,
    pub(crate) prompt_tokens_details: PromptDetails,
    pub(crate) completion_tokens_details: CompletionDetails,
}

/// Nothing is ever cached here, but clients expect to find the number.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct PromptDetails {
    cached_tokens: u64,
}

/// Nothing is ever reasoned here, but clients expect to find the number.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct CompletionDetails {
    reasoning_tokens: u64,
}

impl Usage {
    pub(crate) fn new(prompt_tokens: u64, completion_tokens: u64) -> Self {
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens + completion_tokens,
            prompt_tokens_details: PromptDetails::default(),
            completion_tokens_details: CompletionDetails::default(),
        }
    }
}

/// The frames of one answer. They are rendered when they are due, so a waiting stream holds its text only.
///
/// Step 0 is the role, steps 1 to k are the k pieces, then follow the finish reason, the usage if it was
/// asked for, and `[DONE]`. A fault strikes in the middle of the pieces.
pub(crate) struct Frames {
    answer: Answer,
    /// Every chunk up to the value of `choices`.
    head: String,
    usage: Option<Usage>,
    fault: Option<Fault>,
    next: usize,
}

impl Frames {
    /// `identity` is the part of a chunk from `id` to `model`, with neither brace nor trailing comma.
    pub(crate) fn new(identity: &str, answer: Answer, usage: Option<Usage>, fault: Option<Fault>) -> Self {
        let head = format!("data: {{{identity},\"choices\":[");
        Self {
            answer,
            head,
            usage,
            fault,
            next: 0,
        }
    }

    /// The pieces rendered so far.
    pub(crate) fn pieces_sent(&self) -> u64 {
        self.next.saturating_sub(1).min(self.answer.pieces()) as u64
    }

    pub(crate) fn is_over(&self) -> bool {
        self.next >= self.end()
    }

    /// When the next frame is due, counted from the first. All that follows the last piece comes with it.
    pub(crate) fn due(&self, per_token: Duration) -> Duration {
        let step = self.next.min(self.answer.pieces());
        per_token.saturating_mul(u32::try_from(step).unwrap_or(u32::MAX))
    }

    /// Renders the next frame, if there is one.
    pub(crate) fn render(&mut self, out: &mut Vec<u8>) {
        let (step, pieces) = (self.next, self.answer.pieces());
        if self.is_over() {
            return;
        }
        self.next += 1;
        match self.fault {
            Some(Fault::Garbage) if step == self.middle() => return raw(out, GARBAGE.as_bytes()),
            Some(Fault::ErrorInStream) if step == self.middle() => return raw(out, &SERVER_ERROR.json()),
            _ => {}
        }
        if step == 0 {
            self.chunk(out, |out| {
                delta(out, br#""role":"assistant","content":"","refusal":null"#, None);
            });
        } else if step <= pieces {
            self.chunk(out, |out| {
                out.extend_from_slice(br#"{"index":0,"delta":{"content":"#);
                string(out, self.answer.piece(step - 1));
                out.extend_from_slice(br#"},"logprobs":null,"finish_reason":null}"#);
            });
        } else if step == pieces + 1 {
            self.chunk(out, |out| delta(out, b"", Some(self.answer.finish_reason())));
        } else if let (Some(usage), true) = (self.usage, step == pieces + 2) {
            out.extend_from_slice(self.head.as_bytes());
            out.extend_from_slice(b"],\"usage\":");
            json(out, &usage);
            out.extend_from_slice(b"}\n\n");
        } else {
            raw(out, b"[DONE]");
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

    /// The step a fault strikes at: after the role and half of the pieces.
    fn middle(&self) -> usize {
        1 + self.answer.pieces() / 2
    }

    /// The number of steps that are sent.
    fn end(&self) -> usize {
        match self.fault {
            Some(Fault::Truncate | Fault::Disconnect | Fault::Stall) => self.middle(),
            Some(Fault::ErrorInStream) => self.middle() + 1,
            _ => self.answer.pieces() + 3 + usize::from(self.usage.is_some()),
        }
    }
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

/// Most pieces need no escape; the check is cheaper than the serializer.
fn string(out: &mut Vec<u8>, text: &str) {
    if text
        .bytes()
        .any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\')
    {
        return json(out, &text);
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

fn json(out: &mut Vec<u8>, value: &impl Serialize) {
    // Plain values written to memory cannot fail.
    let _ = serde_json::to_writer(out, value);
}
