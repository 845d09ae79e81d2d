//! The answer that a decoder puts together: its text, and what is known beside it. Every dialect fills the same draft.

use crate::domain::failure::{Class, Verdict};
use crate::llm::response::Answer;
use crate::llm::wire::error::{CallError, too_long};
use crate::llm::wire::loose::Joined;
use crate::llm::wire::tokens::Counted;
use crate::llm::wire::vendor::End;

/// No name of a tier is longer, in characters.
const MOST_OF_A_TIER: usize = 40;

/// No id, name of a model or finish reason is longer, in characters. Servers send some dozens.
const MOST_OF_A_NAME: usize = 200;

/// Reasoning is kept up to so many bytes, for the case that nothing else comes: no object that is asked for is longer.
const MOST_OF_REASONING: usize = 256 << 10;

/// What a frame told about the life of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// Nothing of substance; a server may send such frames for as long as it likes.
    Quiet,
    /// A sign that the request waits its turn: a comment, a ping, or an event that is no part of an answer.
    Waits,
    /// The answer moved on: the idle timer begins anew.
    Data,
    /// The server said that the stream is over.
    Done,
}

/// An answer in the making.
#[derive(Debug)]
pub(super) struct Draft {
    max_text_bytes: usize,
    text: Joined,
    reasoning: Joined,
    /// Whether the reasoning is short enough to be kept.
    reasoning_kept: bool,
    reasoning_chars: u64,
    refusal: String,
    pub(super) finish_reason: Option<String>,
    pub(super) counted: Option<Counted>,
    tier: Option<String>,
    model: Option<String>,
    id: Option<String>,
    /// Whether the model has begun to write, be it content, reasoning or a refusal.
    pub(super) token_seen: bool,
    /// Whether the server said that the stream is over.
    pub(super) done: bool,
}

impl Draft {
    /// An empty answer that may grow to so many bytes of text.
    pub(super) const fn new(max_text_bytes: usize) -> Self {
        Self {
            max_text_bytes,
            text: Joined::new(),
            reasoning: Joined::new(),
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

    /// The text so far.
    pub(super) fn text(&self) -> &str {
        self.text.as_str()
    }

    /// How much there is of text, reasoning and refusal.
    pub(super) fn size(&self) -> (usize, u64, usize) {
        (self.text.as_str().len(), self.reasoning_chars, self.refusal.len())
    }

    /// Bytes of the answer that are kept.
    pub(super) fn held_bytes(&self) -> usize {
        let names = [&self.finish_reason, &self.tier, &self.model, &self.id];
        let names: usize = names.into_iter().flatten().map(String::capacity).sum();
        self.text.capacity() + self.reasoning.capacity() + self.refusal.capacity() + names
    }

    /// The server's id of the answer; the first one is kept.
    pub(super) fn id(&mut self, id: Option<&str>) {
        keep_first(&mut self.id, id);
    }

    /// The model that answers; the first one is kept.
    pub(super) fn model(&mut self, model: Option<&str>) {
        keep_first(&mut self.model, model);
    }

    /// The tier of service. The first chunks may repeat the tier that was asked for; the last one names the one that
    /// served.
    pub(super) fn tier(&mut self, tier: Option<&str>) {
        if let Some(tier) = tier.filter(|tier| !tier.is_empty()) {
            self.tier = Some(beginning(tier, MOST_OF_A_TIER));
        }
    }

    /// Why the answer ended; a later reason replaces an earlier one.
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

    /// Drops the text: what follows is the answer.
    pub(super) fn restart_text(&mut self) {
        self.text.clear();
    }

    /// Appends to the reasoning, which is kept only as long as no content comes.
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

    /// The error of a stream that ended without a finish reason.
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

    /// The answer, with its finish reason; `named` is whether the server gave that.
    pub(super) fn into_answer(self, reason: String, named: bool) -> Answer {
        let finish_reason = if End::of(&reason) == End::Cut {
            "length".to_owned()
        } else {
            reason
        };
        let (usage, doubt) = match self.counted {
            Some(Counted::Tokens(usage)) => match usage.doubt(self.token_seen) {
                None => (Some(usage), None),
                Some(doubt) => (None, Some(doubt.to_owned())),
            },
            Some(Counted::Absurd(doubt)) => (None, Some(doubt)),
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

/// A name as far as it is kept: an event of megabytes must not leave them behind in a name.
fn beginning(name: &str, most: usize) -> String {
    name.chars().take(most).collect()
}
