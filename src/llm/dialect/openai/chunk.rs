//! Folds the frames of a streamed answer into an [`Answer`].
//!
//! An answer counts if the server sent a finish reason; bytes that end without one are a cut connection. Exceptions
//! and details:
//!
//! * A reason in a chunk with content is provisional until the stream ends well, because some gateways put `stop` into
//!   every chunk.
//! * A blank reason counts as none, because old Ollama builds send `""`.
//! * Without any reason, `[DONE]` after some content replaces it. The reason is then `stop` or `tool_calls`, and is
//!   marked as missing.
//! * An event that is neither an object nor an error is ignored.
//! * After the finish reason a broken frame is ignored: the text is complete and paid for, and only a usage count can
//!   be missing. An error object still fails the call, because a filter may report in that way.

use serde_json::value::RawValue;

use super::shape::{Choice, Chunk, Delta, mend};
use crate::domain::failure::{Class, Verdict};
use crate::llm::dialect::draft::{Draft, StreamProgress};
use crate::llm::response::Answer;
use crate::llm::wire::error::{self, CallError};
use crate::llm::wire::sse::Frame;
use crate::llm::wire::text::Text;
use crate::llm::wire::tokens;
use crate::llm::wire::unreadable::{is_list_of_errors, malformed, not_an_answer};
use crate::llm::wire::vendor::FinishKind;

/// An answer in progress.
#[derive(Debug)]
pub struct Collector {
    draft: Draft,
    /// Whether the finish reason came with content, and no later chunk has confirmed it.
    provisional: bool,
    tools: bool,
}

impl Collector {
    /// Makes an empty answer with a limit of `max_text_bytes` bytes of text.
    pub const fn new(max_text_bytes: usize) -> Self {
        Self {
            draft: Draft::new(max_text_bytes),
            provisional: false,
            tools: false,
        }
    }

    /// Takes the next frame. After an error the answer is unusable.
    pub fn frame(&mut self, frame: &Frame) -> Result<StreamProgress, CallError> {
        if frame.event.as_deref() == Some("error") && !self.draft.done {
            return Err(error::in_band(&frame.data));
        }
        self.data(frame.data.trim())
    }

    /// Returns how many bytes of the answer are kept in memory.
    pub fn held_bytes(&self) -> usize {
        self.draft.held_bytes()
    }

    /// Returns the text so far.
    pub(in crate::llm) fn text(&self) -> &str {
        self.draft.text()
    }

    /// Ends the answer here with this reason.
    pub(in crate::llm) fn finish(&mut self, reason: &str) {
        self.draft.finish(reason);
        self.provisional = false;
    }

    /// Whether the model has sent its first token, of content, reasoning or a refusal.
    ///
    /// Until then the first-token timeout applies and not the idle timeout. A local server sends its role chunk at
    /// once and may then load a model.
    pub const fn first_token_seen(&self) -> bool {
        self.draft.token_seen
    }

    /// Whether the server has said that the answer is complete, by a finish reason or by `[DONE]`.
    pub const fn is_complete(&self) -> bool {
        (self.draft.finish_reason.is_some() && !self.provisional) || self.draft.done
    }

    /// Ends the stream. Returns the answer if the server finished one, else the error of the early end.
    pub fn end(mut self) -> Result<Answer, CallError> {
        let vouched = self.draft.done && (self.tools || !self.draft.text().is_empty());
        match self.draft.finish_reason.take() {
            Some(reason) => Ok(self.draft.into_answer(reason, true)),
            None if failpoint!("short-answer-is-good") && self.draft.token_seen => {
                Ok(self.draft.into_answer("stop".to_owned(), true))
            }
            None if vouched => {
                let reason = if self.tools { "tool_calls" } else { "stop" };
                Ok(self.draft.into_answer(reason.to_owned(), false))
            }
            None => Err(self.draft.unfinished()),
        }
    }

    /// Reads an answer that came as one JSON object without streaming. A complete object counts as finished.
    pub(in crate::llm) fn whole(mut self, json: &str) -> Result<Answer, CallError> {
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
        let reason = self.draft.finish_reason.take();
        self.draft.done = true;
        if reason.is_none() && !self.draft.token_seen {
            return Err(CallError::new(
                Class::Server,
                Verdict::Retry,
                "the answer has neither content nor a finish reason",
            ));
        }
        let reason = reason.unwrap_or_else(|| "stop".to_owned());
        Ok(self.draft.into_answer(reason, true))
    }

    fn data(&mut self, data: &str) -> Result<StreamProgress, CallError> {
        if self.draft.done || data.is_empty() {
            return Ok(StreamProgress::Quiet);
        }
        if data.starts_with("[DONE]") {
            self.draft.done = true;
            return Ok(StreamProgress::Done);
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
            // The event is a ping, a comment sent as an event, or a text of a proxy.
            _ => Ok(StreamProgress::Waits),
        }
    }

    /// Takes each line of a frame. Some gateways omit the blank line between events, so that two objects share a
    /// frame.
    fn each_line(&mut self, data: &str) -> Result<StreamProgress, CallError> {
        data.split('\n')
            .try_fold(StreamProgress::Quiet, |progress, line| {
                Ok(progress.max(self.data(line.trim())?))
            })
    }

    /// Takes a chunk; `loose` if its text may hold halves of surrogate pairs.
    fn chunk(&mut self, chunk: Chunk<'_>, json: &str, loose: bool) -> Result<StreamProgress, CallError> {
        if chunk.is_error() {
            return Err(error::in_band(json));
        }
        self.draft.id(as_str(chunk.id.as_ref()));
        self.draft.model(as_str(chunk.model.as_ref()));
        self.draft.tier(as_str(chunk.service_tier.as_ref()));
        let mut progress = self.count(chunk.usage);
        let choices = chunk.choices.unwrap_or_default();
        // A chunk with only a token count comes after the end.
        self.provisional &= !(choices.is_empty() && progress == StreamProgress::Data);
        for choice in choices {
            progress = progress.max(self.choice(choice, loose)?);
        }
        Ok(progress)
    }

    fn choice(&mut self, choice: Choice<'_>, loose: bool) -> Result<StreamProgress, CallError> {
        if let Some(fault) = choice.error() {
            return Err(error::in_band(fault.get()));
        }
        if !choice.is_first() {
            return Ok(StreamProgress::Data);
        }
        let mut progress = self.count(choice.usage);
        let before = self.draft.size();
        if let Some(delta) = choice.delta.or(choice.message) {
            progress = progress.max(self.delta(delta, loose)?);
        }
        let grown = before != self.draft.size();
        match choice.finish_reason {
            Some(Text(reason)) if FinishKind::of(&reason) != FinishKind::Unnamed => {
                self.draft.finish(&reason);
                self.provisional = grown;
                progress = StreamProgress::Data;
            }
            _ => self.provisional |= grown,
        }
        Ok(progress)
    }

    /// Takes a delta. Content counts as progress even if it is empty. Other members count if they are not empty.
    fn delta(&mut self, delta: Delta<'_>, loose: bool) -> Result<StreamProgress, CallError> {
        let mut alive = delta.role || delta.tools || delta.other;
        self.tools |= delta.tools;
        self.draft.token_seen |= delta.tools || delta.other;
        if let Some(Text(content)) = delta.content {
            alive = true;
            self.draft.append(&content, loose)?;
        }
        // Some servers send the same reasoning under both names while they migrate from one to the other.
        if let Some(Text(reasoning)) = delta.reasoning_content.or(delta.reasoning) {
            alive = true;
            self.draft.think(&reasoning, loose);
        }
        if let Some(Text(refusal)) = delta.refusal {
            alive = true;
            self.draft.refuse(&refusal)?;
        }
        Ok(if alive {
            StreamProgress::Data
        } else {
            StreamProgress::Quiet
        })
    }

    fn count(&mut self, usage: Option<&RawValue>) -> StreamProgress {
        let Some(counted) = usage.and_then(|raw| tokens::read(raw.get())) else {
            return StreamProgress::Quiet;
        };
        self.draft.counted = Some(counted);
        StreamProgress::Data
    }
}

fn as_str<'t>(text: Option<&'t Text<'_>>) -> Option<&'t str> {
    text.map(|Text(text)| &**text)
}
