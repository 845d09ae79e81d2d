//! The answer that a decoder assembles: its text and its metadata. All dialects fill the same draft.

use crate::domain::failure::{Class, Verdict};
use crate::llm::response::Answer;
use crate::llm::wire::error::{CallError, too_long};
use crate::llm::wire::loose::JoinedText;
use crate::llm::wire::tokens::TokenCount;
use crate::llm::wire::vendor::FinishKind;

/// The length limit of a tier name, in characters.
const MOST_OF_A_TIER: usize = 40;

/// The length limit of an id, a model name or a finish reason, in characters. Servers send a few dozen.
const MOST_OF_A_NAME: usize = 200;

/// The size limit of the kept reasoning, in bytes. The reasoning is used if no content follows, and no requested
/// object is longer.
const MOST_OF_REASONING: usize = 256 << 10;

/// The progress that a frame brings to the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamProgress {
    /// No progress. A server may send such frames for any time.
    Quiet,
    /// The request waits in the server's queue: a comment, a ping, or an event outside of the answer.
    Waits,
    /// The answer has grown, so the idle timer restarts.
    Data,
    /// The server has ended the stream.
    Done,
}

/// An answer in progress.
#[derive(Debug)]
pub(super) struct Draft {
    max_text_bytes: usize,
    text: JoinedText,
    reasoning: JoinedText,
    /// Whether the reasoning is short enough to be kept.
    reasoning_kept: bool,
    reasoning_chars: u64,
    refusal: String,
    pub(super) finish_reason: Option<String>,
    pub(super) counted: Option<TokenCount>,
    tier: Option<String>,
    model: Option<String>,
    id: Option<String>,
    /// Whether the model has sent its first token, of content, reasoning or a refusal.
    pub(super) token_seen: bool,
    /// Whether the server has ended the stream.
    pub(super) done: bool,
}

impl Draft {
    /// Makes an empty answer with a limit of `max_text_bytes` bytes of text.
    pub(super) const fn new(max_text_bytes: usize) -> Self {
        Self {
            max_text_bytes,
            text: JoinedText::new(),
            reasoning: JoinedText::new(),
            reasoning_kept: true,
            reasoning_chars: 0,
            refusal: String::new(),
            finish_reason: None,
            counted: None,
            tier: None,
            model: None,
            id: None,
            token_seen: false,
            done: false,
        }
    }

    /// Returns the text so far.
    pub(super) fn text(&self) -> &str {
        self.text.as_str()
    }

    /// Returns the sizes of text, reasoning and refusal.
    pub(super) fn size(&self) -> (usize, u64, usize) {
        (self.text.as_str().len(), self.reasoning_chars, self.refusal.len())
    }

    /// Returns how many bytes of the answer are kept in memory.
    pub(super) fn held_bytes(&self) -> usize {
        let names = [&self.finish_reason, &self.tier, &self.model, &self.id];
        let names: usize = names.into_iter().flatten().map(String::capacity).sum();
        self.text.capacity() + self.reasoning.capacity() + self.refusal.capacity() + names
    }

    /// Sets the server's id of the answer. The first one is kept.
    pub(super) fn id(&mut self, id: Option<&str>) {
        keep_first(&mut self.id, id);
    }

    /// Sets the model that answers. The first one is kept.
    pub(super) fn model(&mut self, model: Option<&str>) {
        keep_first(&mut self.model, model);
    }

    /// Sets the tier of service. The first chunks may repeat the requested tier; the last chunk names the actual tier.
    pub(super) fn tier(&mut self, tier: Option<&str>) {
        if let Some(tier) = tier.filter(|tier| !tier.is_empty()) {
            self.tier = Some(beginning(tier, MOST_OF_A_TIER));
        }
    }

    /// Sets the finish reason. A later reason replaces an earlier one.
    pub(super) fn finish(&mut self, reason: &str) {
        self.finish_reason = Some(beginning(reason, MOST_OF_A_NAME));
    }

    /// Appends to the text; `loose` if the piece may hold halves of surrogate pairs.
    pub(super) fn append(&mut self, content: &str, loose: bool) -> Result<(), CallError> {
        self.token_seen |= !content.is_empty();
        self.has_room(content)?;
        self.text.push(content, loose);
        if !self.has_no_text() {
            self.reasoning.clear();
        }
        Ok(())
    }

    /// Drops the text, because the answer follows.
    pub(super) fn restart_text(&mut self) {
        self.text.clear();
    }

    /// Appends to the reasoning, which is kept only while no content has arrived.
    pub(super) fn think(&mut self, reasoning: &str, loose: bool) {
        self.token_seen |= !reasoning.is_empty();
        self.reasoning_chars += reasoning.chars().count() as u64;
        self.reasoning_kept &= self.reasoning.as_str().len() + reasoning.len() <= MOST_OF_REASONING;
        if self.reasoning_kept && self.has_no_text() {
            self.reasoning.push(reasoning, loose);
        } else {
            self.reasoning.clear();
        }
    }

    /// Appends to the refusal.
    pub(super) fn refuse(&mut self, refusal: &str) -> Result<(), CallError> {
        self.token_seen |= !refusal.is_empty();
        self.has_room(refusal)?;
        self.refusal.push_str(refusal);
        Ok(())
    }

    fn has_no_text(&self) -> bool {
        self.text.as_str().trim_start().is_empty()
    }

    fn has_room(&self, more: &str) -> Result<(), CallError> {
        if self.text.as_str().len() + self.refusal.len() + more.len() > self.max_text_bytes {
            let message = format!("the answer is larger than {} bytes", self.max_text_bytes);
            return Err(too_long(&message));
        }
        Ok(())
    }

    /// Returns the error of a stream that ended without a finish reason.
    pub(super) fn unfinished(&self) -> CallError {
        if self.done && !self.token_seen {
            let message = "the stream was empty: its end came before any content";
            return CallError::new(Class::Server, Verdict::Retry, message);
        }
        let message = format!(
            "the stream ended after {} bytes of text without a finish reason",
            self.text.as_str().len()
        );
        CallError::new(Class::Network, Verdict::Retry, &message)
    }

    /// Returns the answer with its finish reason. `named` says whether the server sent the reason.
    pub(super) fn into_answer(self, reason: String, named: bool) -> Answer {
        let finish_reason = if FinishKind::of(&reason) == FinishKind::Cut {
            "length".to_owned()
        } else {
            reason
        };
        let (usage, doubt) = match self.counted {
            Some(TokenCount::Tokens(usage)) => match usage.doubt(self.token_seen) {
                None => (Some(usage), None),
                Some(doubt) => (None, Some(doubt.to_owned())),
            },
            Some(TokenCount::Absurd(doubt)) => (None, Some(doubt)),
            None => (None, None),
        };
        Answer {
            text: self.text.end(),
            reasoning_chars: self.reasoning_chars,
            reasoning: self.reasoning.end(),
            refusal: Some(self.refusal).filter(|refusal| !refusal.trim().is_empty()),
            finish_reason,
            reason_missing: !named,
            usage,
            doubt,
            tier: self.tier,
            model: self.model,
            id: self.id,
            done_missing: !self.done,
        }
    }
}

fn keep_first(slot: &mut Option<String>, found: Option<&str>) {
    if slot.is_none() {
        *slot = found
            .filter(|text| !text.is_empty())
            .map(|text| beginning(text, MOST_OF_A_NAME));
    }
}

/// Returns the beginning of a name. An event of megabytes must not stay in memory as a name.
fn beginning(name: &str, most: usize) -> String {
    name.chars().take(most).collect()
}
