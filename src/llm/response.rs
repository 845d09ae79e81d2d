//! What a model answers, in no dialect: the text, why it ended, what it used.

use serde_json::value::RawValue;

use super::wire::error::CallError;
use super::wire::secrets::Secrets;
use super::wire::vendor::End;
use crate::domain::failure::{Class, Verdict};
use crate::domain::usage::Usage;

/// What came of a [`ModelRequest`](super::ModelRequest).
#[derive(Debug, Clone)]
pub enum ModelResponse {
    /// The answer to a chat.
    Answer(Answer),
    /// The response to a Batch line, as it came.
    Verbatim(Verbatim),
}

/// A response as it came.
#[derive(Debug, Clone)]
pub struct Verbatim {
    /// The HTTP status.
    pub status: u16,
    /// The provider's id of the request.
    pub request_id: Option<String>,
    /// The body, on one line.
    pub body: Box<RawValue>,
}

/// What a model answered, complete as far as the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The content of choice 0.
    pub text: String,
    /// How many characters of reasoning came beside the content.
    pub reasoning_chars: u64,
    /// The reasoning, where there is no content: some servers put the whole answer there.
    pub reasoning: String,
    /// The model's refusal, where it gave one in place of content.
    pub refusal: Option<String>,
    /// Why the server stopped, in the words of OpenAI where another dialect has its own: `length` for every word that
    /// means a cut, and `stop` where a server names no reason for a complete answer.
    pub finish_reason: String,
    /// Whether the server named no reason, so that only its `[DONE]` says that the answer is whole.
    pub reason_missing: bool,
    /// The tokens the server counted; the last count wins, as some servers count up in every chunk. One that cannot be
    /// true is none.
    pub usage: Option<Usage>,
    /// Why the server's count is not believed, where it gave one that cannot be true.
    pub doubt: Option<String>,
    /// The tier of service that the answer was given in, by the server's name for it.
    pub tier: Option<String>,
    /// The model that answered, which may be another than was asked for.
    pub model: Option<String>,
    /// The server's id of the answer.
    pub id: Option<String>,
    /// Whether the stream ended without its `[DONE]`, after a finish reason.
    pub done_missing: bool,
}

impl Answer {
    /// The answer without these secrets in what it tells as an error: its refusal. Its text goes to whoever asked, as it
    /// came.
    #[must_use]
    pub fn hiding(self, secrets: &Secrets) -> Self {
        let refusal = self.refusal.map(|refusal| secrets.mask(&refusal).into_owned());
        Self { refusal, ..self }
    }

    /// Whether the finish reason leaves an answer to use.
    ///
    /// `length` passes: only the caller knows whether a part of this answer is worth anything.
    pub fn verdict_of_finish(&self) -> Result<(), CallError> {
        if let Some(refusal) = &self.refusal {
            let message = format!("the model refused: {refusal}");
            return Err(CallError::new(Class::ContentFilter, Verdict::Final, &message));
        }
        let reason = &self.finish_reason;
        match End::of(reason) {
            End::Filtered => {
                let named = if reason == "content_filter" {
                    String::new()
                } else {
                    format!(" (finish reason `{reason}`)")
                };
                let message = format!("the provider's content filter stopped the answer{named}");
                Err(CallError::new(Class::ContentFilter, Verdict::Elsewhere, &message))
            }
            End::Broken => Err(CallError::new(
                Class::Server,
                Verdict::Retry,
                &format!("the server broke off the answer (finish reason `{reason}`)"),
            )),
            End::Whole | End::Cut | End::Tools | End::Unnamed | End::Unknown => Ok(()),
        }
    }

    /// Where an object is to be looked for: the content, or the reasoning where nothing else came.
    pub fn object_text(&self) -> &str {
        if self.text.trim().is_empty() {
            &self.reasoning
        } else {
            &self.text
        }
    }

    /// Whether it was cut before its text began: the model spent its tokens on thoughts.
    pub fn is_cut_before_its_text(&self) -> bool {
        self.finish_reason == "length" && strip_think(&self.text).trim().is_empty()
    }
}

/// The text without the reasoning that local models write inline in front of it.
///
/// A closing tag alone ends reasoning too: some chat templates put the opening one into the prompt. An
/// opening tag alone leaves nothing, for then the answer itself never began.
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
