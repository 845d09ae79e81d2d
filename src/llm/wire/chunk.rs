//! Folds the frames of a streamed answer into an [`Answer`].
//!
//! The rule everything here serves: an answer counts when the server said that it ended, by a finish
//! reason; bytes that merely stop are a cut connection. A reason that comes with content is provisional until the
//! stream ends well, because some gateways put `stop` into every chunk. A blank reason counts as none, because
//! old Ollama builds put `""` there. Where no reason was named, the explicit `[DONE]` after some content stands in for
//! it: the reason is reported as `stop`, and as missing. An event that is no object and no error is passed over.
//!
//! After the finish reason a broken frame is passed over: the text is complete and paid for, and only a
//! usage count can be missing. An error object still fails the call, for a filter may report that way.

use serde_json::value::RawValue;

use super::answer::Answer;
use super::error::{self, CallError};
use super::loose::Joined;
use super::shape::{Choice, Chunk, Delta, Text};
use super::sse::Frame;
use super::tokens::{self, Counted};
use super::unreadable::{is_list_of_errors, malformed, mend, not_an_answer};
use super::vendor::End;
use crate::domain::failure::{Class, Verdict};

/// What a frame told about the life of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// Nothing of substance; a server may send such frames for as long as it likes.
    Quiet,
    /// A sign that the request waits its turn: a comment, or an event that is no chunk.
    Waits,
    /// The answer moved on: the idle timer begins anew.
    Data,
    /// The server said `[DONE]`.
    Done,
}

/// No name of a tier is longer, in characters.
const MOST_OF_A_TIER: usize = 40;

/// No id, name of a model or finish reason is longer, in characters. Servers send some dozens.
const MOST_OF_A_NAME: usize = 200;
/// Reasoning is kept up to so many bytes, for the case that nothing else comes: no object that is asked for is longer.
const MOST_OF_REASONING: usize = 256 << 10;

/// An answer in the making.
#[derive(Debug)]
pub struct Collector {
    max_text_bytes: usize,
    text: Joined,
    reasoning: Joined,
    /// Whether the reasoning is short enough to be kept.
    reasoning_kept: bool,
    reasoning_chars: u64,
    refusal: String,
    finish_reason: Option<String>,
    /// Whether the finish reason stood beside content, and nothing has confirmed it since.
    provisional: bool,
    tools: bool,
    counted: Option<Counted>,
    tier: Option<String>,
    model: Option<String>,
    id: Option<String>,
    token_seen: bool,
    done: bool,
}

impl Collector {
    /// An empty answer that may grow to so many bytes of text.
    pub const fn new(max_text_bytes: usize) -> Self {
        Self {
            max_text_bytes,
            text: Joined::new(),
            reasoning: Joined::new(),
            reasoning_kept: true,
            reasoning_chars: 0,
            refusal: String::new(),
            finish_reason: None,
            provisional: false,
            tools: false,
            counted: None,
            tier: None,
            model: None,
            id: None,
            token_seen: false,
            done: false,
        }
    }

    /// Takes the next frame; after an error the answer is beyond use.
    pub fn frame(&mut self, frame: &Frame) -> Result<Progress, CallError> {
        if frame.event.as_deref() == Some("error") && !self.done {
            return Err(error::in_band(&frame.data));
        }
        self.data(frame.data.trim())
    }

    /// Bytes of the answer that are kept.
    pub fn held_bytes(&self) -> usize {
        let names = [&self.finish_reason, &self.tier, &self.model, &self.id];
        let names: usize = names.into_iter().flatten().map(String::capacity).sum();
        self.text.capacity() + self.reasoning.capacity() + self.refusal.capacity() + names
    }

    /// The text so far.
    pub(super) fn text(&self) -> &str {
        self.text.as_str()
    }

    /// Ends the answer here, for this reason.
    pub(super) fn finish(&mut self, reason: &str) {
        self.finish_reason = Some(reason.to_owned());
        self.provisional = false;
    }

    /// Whether the model has begun to write, be it content, reasoning or a refusal.
    ///
    /// Until then the limit for the first token holds, not the one between tokens: a local server sends
    /// its role chunk at once and may then load a model.
    pub const fn first_token_seen(&self) -> bool {
        self.token_seen
    }

    /// Whether the server has said that the answer is whole: by a finish reason, or by `[DONE]`.
    pub const fn is_complete(&self) -> bool {
        (self.finish_reason.is_some() && !self.provisional) || self.done
    }

    /// Ends the stream: an answer where the server finished one, else the error that was hiding in EOF.
    pub fn end(mut self) -> Result<Answer, CallError> {
        let finished = self.finish_reason.take();
        let vouched = self.done && (self.tools || !self.text.as_str().is_empty());
        match finished {
            Some(reason) => Ok(self.into_answer(Some(reason))),
            None if failpoint!("short-answer-is-good") && self.token_seen => {
                Ok(self.into_answer(Some("stop".to_owned())))
            }
            None if vouched => Ok(self.into_answer(None)),
            None if self.done && !self.token_seen => Err(CallError::new(
                Class::Server,
                Verdict::Retry,
                "the stream was empty: `[DONE]` came before any content",
            )),
            None => Err(CallError::new(
                Class::Network,
                Verdict::Retry,
                &format!(
                    "the stream ended after {} bytes of text without a finish reason",
                    self.text.as_str().len()
                ),
            )),
        }
    }

    /// An answer that came as one JSON object instead of a stream; being whole vouches for its end.
    pub(super) fn whole(mut self, json: &str) -> Result<Answer, CallError> {
        let mended;
        let (chunk, loose) = match Chunk::parse(json) {
            Ok(chunk) => (chunk, false),
            Err(fault) => {
                mended = mend(json).ok_or_else(|| not_an_answer(&fault, json))?;
                (
                    Chunk::parse(&mended).map_err(|fault| not_an_answer(&fault, json))?,
                    true,
                )
            }
        };
        if chunk.choices.as_ref().is_none_or(Vec::is_empty) {
            let fault = error::in_band(json);
            return Err(if chunk.is_error() {
                fault
            } else {
                fault.of_unreadable()
            });
        }
        self.chunk(chunk, json, loose)?;
        let reason = self.finish_reason.take();
        self.done = true;
        if reason.is_none() && !self.token_seen {
            return Err(CallError::new(
                Class::Server,
                Verdict::Retry,
                "the answer has neither content nor a finish reason",
            ));
        }
        Ok(self.into_answer(Some(reason.unwrap_or_else(|| "stop".to_owned()))))
    }

    fn into_answer(self, reason: Option<String>) -> Answer {
        let reason_missing = reason.is_none();
        let finish_reason = match reason {
            None if self.tools => "tool_calls".to_owned(),
            None => "stop".to_owned(),
            Some(reason) if End::of(&reason) == End::Cut => "length".to_owned(),
            Some(reason) => reason,
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
            reason_missing,
            usage,
            doubt,
            tier: self.tier,
            model: self.model,
            id: self.id,
            done_missing: !self.done,
        }
    }

    fn data(&mut self, data: &str) -> Result<Progress, CallError> {
        if self.done || data.is_empty() {
            return Ok(Progress::Quiet);
        }
        if data.starts_with("[DONE]") {
            self.done = true;
            return Ok(Progress::Done);
        }
        let fault = match Chunk::parse(data) {
            Ok(chunk) => return self.chunk(chunk, data, false),
            Err(fault) => fault,
        };
        if let Some(mended) = mend(data)
            && let Ok(chunk) = Chunk::parse(&mended)
        {
            return self.chunk(chunk, data, true);
        }
        if is_list_of_errors(data) {
            return Err(error::in_band(data));
        }
        if data.contains('\n') {
            return self.each_line(data);
        }
        match data.as_bytes().first() {
            Some(b'{') if !self.is_complete() => Err(malformed(&fault)),
            // A ping, a comment in the dress of an event, a word of a proxy.
            _ => Ok(Progress::Waits),
        }
    }

    /// Some gateways forget the blank line between events, so that two objects share a frame.
    fn each_line(&mut self, data: &str) -> Result<Progress, CallError> {
        data.split('\n').try_fold(Progress::Quiet, |progress, line| {
            Ok(progress.max(self.data(line.trim())?))
        })
    }

    /// Takes a chunk; `loose` if its text may hold halves of surrogate pairs.
    fn chunk(&mut self, chunk: Chunk<'_>, json: &str, loose: bool) -> Result<Progress, CallError> {
        if chunk.is_error() {
            return Err(error::in_band(json));
        }
        keep_first(&mut self.id, chunk.id);
        keep_first(&mut self.model, chunk.model);
        // The first chunks may repeat the tier that was asked for; the last one names the one that served.
        if let Some(Text(tier)) = chunk.service_tier.filter(|Text(tier)| !tier.is_empty()) {
            self.tier = Some(beginning(&tier, MOST_OF_A_TIER));
        }
        let mut progress = self.count(chunk.usage);
        let choices = chunk.choices.unwrap_or_default();
        // A chunk with nothing but a count of tokens comes behind the end.
        self.provisional &= !(choices.is_empty() && progress == Progress::Data);
        for choice in choices {
            progress = progress.max(self.choice(choice, loose)?);
        }
        Ok(progress)
    }

    fn choice(&mut self, choice: Choice<'_>, loose: bool) -> Result<Progress, CallError> {
        if let Some(fault) = choice.error() {
            return Err(error::in_band(fault.get()));
        }
        if !choice.is_first() {
            return Ok(Progress::Data);
        }
        let mut progress = self.count(choice.usage);
        let before = (self.text.as_str().len(), self.reasoning_chars, self.refusal.len());
        if let Some(delta) = choice.delta.or(choice.message) {
            progress = progress.max(self.delta(delta, loose)?);
        }
        let grown = before != (self.text.as_str().len(), self.reasoning_chars, self.refusal.len());
        match choice.finish_reason {
            Some(Text(reason)) if End::of(&reason) != End::Unnamed => {
                self.finish_reason = Some(beginning(&reason, MOST_OF_A_NAME));
                self.provisional = grown;
                progress = Progress::Data;
            }
            _ => self.provisional |= grown,
        }
        Ok(progress)
    }

    /// A text counts where it is there, not where it is long: a lone space is a token. Anything else counts where it is
    /// not empty.
    fn delta(&mut self, delta: Delta<'_>, loose: bool) -> Result<Progress, CallError> {
        let mut alive = delta.role || delta.tools || delta.other;
        self.tools |= delta.tools;
        self.token_seen |= delta.tools || delta.other;
        if let Some(Text(content)) = delta.content {
            alive = true;
            self.token_seen |= !content.is_empty();
            self.append(&content, loose)?;
        }
        // Some servers send the same reasoning under both names while they move from one to the other.
        if let Some(Text(reasoning)) = delta.reasoning_content.or(delta.reasoning) {
            alive = true;
            self.token_seen |= !reasoning.is_empty();
            self.reasoning_chars += reasoning.chars().count() as u64;
            self.keep_reasoning(&reasoning, loose);
        }
        if let Some(Text(refusal)) = delta.refusal {
            alive = true;
            self.token_seen |= !refusal.is_empty();
            self.has_room(&refusal)?;
            self.refusal.push_str(&refusal);
        }
        Ok(if alive { Progress::Data } else { Progress::Quiet })
    }

    /// Reasoning is of use only where no content comes.
    fn keep_reasoning(&mut self, reasoning: &str, loose: bool) {
        self.reasoning_kept &= self.reasoning.as_str().len() + reasoning.len() <= MOST_OF_REASONING;
        if self.reasoning_kept && self.has_no_text() {
            self.reasoning.push(reasoning, loose);
        } else {
            self.reasoning.clear();
        }
    }

    fn has_no_text(&self) -> bool {
        self.text.as_str().trim_start().is_empty()
    }

    fn append(&mut self, content: &str, loose: bool) -> Result<(), CallError> {
        self.has_room(content)?;
        self.text.push(content, loose);
        if !self.has_no_text() {
            self.reasoning.clear();
        }
        Ok(())
    }

    fn has_room(&self, more: &str) -> Result<(), CallError> {
        if self.text.as_str().len() + self.refusal.len() + more.len() > self.max_text_bytes {
            let message = format!("the answer is larger than {} bytes", self.max_text_bytes);
            return Err(error::too_long(&message));
        }
        Ok(())
    }

    fn count(&mut self, usage: Option<&RawValue>) -> Progress {
        let Some(counted) = usage.and_then(|raw| tokens::read(raw.get())) else {
            return Progress::Quiet;
        };
        self.counted = Some(counted);
        Progress::Data
    }
}

fn keep_first(slot: &mut Option<String>, found: Option<Text<'_>>) {
    if slot.is_none() {
        *slot = found
            .filter(|Text(text)| !text.is_empty())
            .map(|Text(text)| beginning(&text, MOST_OF_A_NAME));
    }
}

/// A name as far as it is kept: an event of megabytes must not leave them behind in a name.
fn beginning(name: &str, most: usize) -> String {
    name.chars().take(most).collect()
}
