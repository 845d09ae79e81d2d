//! A finished answer, and what its finish reason means.

use super::error::CallError;
use super::secrets::Secrets;
use crate::domain::failure::{Class, Verdict};
use crate::domain::usage::Usage;

/// What a model answered, complete as far as the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The content of choice 0.
    pub text: String,
    /// How many characters of reasoning came beside the content; the reasoning itself is not kept.
    pub reasoning_chars: u64,
    /// The model's refusal, where it gave one in place of content.
    pub refusal: Option<String>,
    /// Why the server stopped; `stop` where an old server leaves it blank on a complete answer.
    pub finish_reason: String,
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
        match self.finish_reason.as_str() {
            "content_filter" => Err(CallError::new(
                Class::ContentFilter,
                Verdict::Elsewhere,
                "the provider's content filter stopped the answer",
            )),
            // OpenRouter, DeepSeek and vLLM, in this order, for an answer they gave up on.
            reason @ ("error" | "insufficient_system_resource" | "abort") => Err(CallError::new(
                Class::Server,
                Verdict::Retry,
                &format!("the server broke off the answer (finish reason `{reason}`)"),
            )),
            _ => Ok(()),
        }
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
