//! The answer of a model, independent of the dialect: its text, its finish reason, its usage.

use serde_json::value::RawValue;

use super::wire::error::CallError;
use super::wire::secrets::Secrets;
use super::wire::vendor::FinishKind;
use crate::domain::failure::{Class, Verdict};
use crate::domain::usage::Usage;

/// The response to a [`ModelRequest`](super::ModelRequest).
#[derive(Debug, Clone)]
pub enum ModelResponse {
    /// The answer to a chat.
    Answer(Answer),
    /// The response to a Batch line, unchanged.
    Verbatim(Verbatim),
}

/// An unchanged response.
#[derive(Debug, Clone)]
pub struct Verbatim {
    /// The HTTP status.
    pub status: u16,
    /// The provider's id of the request.
    pub request_id: Option<String>,
    /// The body, on one line.
    pub body: Box<RawValue>,
}

/// The answer of a model, complete as far as the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The content of choice 0.
    pub text: String,
    /// Characters of reasoning beside the content.
    pub reasoning_chars: u64,
    /// The reasoning, if there is no content. Some servers put the whole answer there.
    pub reasoning: String,
    /// The model's refusal, if it sent one instead of content.
    pub refusal: Option<String>,
    /// The finish reason in OpenAI's words. Every word for a cut answer becomes `length`. A complete answer without a
    /// reason gets `stop`.
    pub finish_reason: String,
    /// Whether the server sent no reason, so that only `[DONE]` shows that the answer is complete.
    pub reason_missing: bool,
    /// The token counts of the server. The last count is kept, because some servers count up in every chunk. An
    /// impossible count is left out.
    pub usage: Option<Usage>,
    /// The reason why the server's count is impossible.
    pub doubt: Option<String>,
    /// The tier of service of the answer, in the server's words.
    pub tier: Option<String>,
    /// The model that answered. It may differ from the requested one.
    pub model: Option<String>,
    /// The server's id of the answer.
    pub id: Option<String>,
    /// Whether the stream ended without `[DONE]`, after a finish reason.
    pub done_missing: bool,
}

impl Answer {
    /// Returns the answer with these secrets masked in its refusal, which becomes an error message. The text stays
    /// unchanged for the client.
    #[must_use]
    pub fn hiding(self, secrets: &Secrets) -> Self {
        let refusal = self.refusal.map(|refusal| secrets.mask(&refusal).into_owned());
        Self { refusal, ..self }
    }

    /// Whether the finish reason allows the use of the answer.
    ///
    /// `length` is allowed, because only the caller can tell whether a cut answer is useful.
    pub fn verdict_of_finish(&self) -> Result<(), CallError> {
        if let Some(refusal) = &self.refusal {
            let message = format!("the model refused: {refusal}");
            return Err(CallError::new(Class::ContentFilter, Verdict::Final, &message));
        }
        let reason = &self.finish_reason;
        match FinishKind::of(reason) {
            FinishKind::Filtered => {
                let named = if reason == "content_filter" {
                    String::new()
                } else {
                    format!(" (finish reason `{reason}`)")
                };
                let message = format!("the provider's content filter stopped the answer{named}");
                Err(CallError::new(Class::ContentFilter, Verdict::Elsewhere, &message))
            }
            FinishKind::Broken => Err(CallError::new(
                Class::Server,
                Verdict::Retry,
                &format!("the server broke off the answer (finish reason `{reason}`)"),
            )),
            FinishKind::Whole
            | FinishKind::Cut
            | FinishKind::Tools
            | FinishKind::Unnamed
            | FinishKind::Unknown => Ok(()),
        }
    }

    /// Returns the text that may hold an object: the content, or the reasoning if there is no content.
    pub fn object_text(&self) -> &str {
        if self.text.trim().is_empty() {
            &self.reasoning
        } else {
            &self.text
        }
    }

    /// Whether the answer was cut before its text began, because the model spent its tokens on reasoning.
    pub fn is_cut_before_its_text(&self) -> bool {
        self.finish_reason == "length" && strip_think(&self.text).trim().is_empty()
    }
}

/// Returns the text without the reasoning that local models write in front of it.
///
/// A closing tag alone also ends reasoning, because some chat templates put the opening tag into the prompt. An
/// opening tag alone leaves an empty text, because the answer never began.
pub fn strip_think(text: &str) -> &str {
    const OPEN: &str = "<think>";
    const CLOSE: &str = "</think>";
    let mut rest = text;
    while let Some(thought) = rest.trim_start().strip_prefix(OPEN) {
        rest = thought.split_once(CLOSE).map_or("", |(_, after)| after);
    }
    match rest.split_once(CLOSE) {
        Some((before, after)) if !before.contains(OPEN) && rest.len() == text.len() => after.trim_start(),
        _ if rest.len() == text.len() => text,
        _ => rest.trim_start(),
    }
}
