//! Folds the events of a streamed message into an [`Answer`].
//!
//! An answer counts if the server sent a reason for its end: the `stop_reason` of `message_delta`. A stream that ends
//! without one is a failure, also after `message_stop`. After the reason a broken event is ignored, but an error still
//! fails the call.
//!
//! If a tool enforces the form of the answer, the input of that tool is the text. Other tools are ignored.

use serde_json::value::RawValue;

use super::body::ANSWER_TOOL;
use super::shape::{Block, Delta, EventParts, MessageEvent, MessageHead, UsageFields, WholeMessage, mend};
use crate::domain::failure::{Class, Verdict};
use crate::llm::dialect::draft::{Draft, StreamProgress};
use crate::llm::response::Answer;
use crate::llm::wire::error::{self, CallError};
use crate::llm::wire::sse::Frame;
use crate::llm::wire::text::{Text, is_blank};
use crate::llm::wire::tokens;
use crate::llm::wire::unreadable::{malformed, not_an_answer};
use crate::llm::wire::vendor::FinishKind;

/// The length limit of a token count, in characters.
const MOST_OF_A_NUMBER: usize = 40;

/// An answer in progress.
#[derive(Debug)]
pub struct Collector {
    draft: Draft,
    tool: ToolProgress,
    counts: RawCounts,
}

/// The state of the tool whose input is the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ToolProgress {
    /// The tool is not called.
    Uncalled,
    /// The input arrives in pieces.
    Called,
    /// The input is complete.
    Whole,
}

/// Token counts in their written form. The last value of each name is kept. `message_start` counts the prompt, and
/// `message_delta` the answer or both.
#[derive(Debug, Default)]
struct RawCounts([Option<Box<str>>; 4]);

impl RawCounts {
    const NAMES: [&str; 4] = [
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
    ];

    /// Takes a usage object. Returns whether it has any count.
    fn take(&mut self, usage: &UsageFields<'_>) -> bool {
        let named = [
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_read_input_tokens,
            usage.cache_creation_input_tokens,
        ];
        let mut counts = false;
        for (kept, named) in self.0.iter_mut().zip(named) {
            if let Some(raw) = named.filter(|raw| raw.get() != "null" && raw.get().len() <= MOST_OF_A_NUMBER)
            {
                *kept = Some(raw.get().into());
                counts = true;
            }
        }
        counts
    }

    fn read(&self) -> Option<tokens::TokenCount> {
        let named = Self::NAMES.iter().zip(&self.0);
        let members: Vec<String> = named
            .filter_map(|(name, count)| Some(format!("\"{name}\":{}", count.as_ref()?)))
            .collect();
        tokens::read(&format!("{{{}}}", members.join(",")))
    }
}

impl Collector {
    /// Makes an empty answer with a limit of `max_text_bytes` bytes of text.
    pub const fn new(max_text_bytes: usize) -> Self {
        Self {
            draft: Draft::new(max_text_bytes),
            tool: ToolProgress::Uncalled,
            counts: RawCounts([const { None }; 4]),
        }
    }

    /// Takes the next frame. After an error the answer is unusable.
    pub fn frame(&mut self, frame: &Frame) -> Result<StreamProgress, CallError> {
        if frame.event.as_deref() == Some("error") && !self.draft.done {
            return Err(error::in_band(&frame.data));
        }
        self.data(frame.data.trim(), frame.event.as_deref().unwrap_or_default())
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
    }

    /// Whether the model has sent its first token, of content or of reasoning.
    pub const fn first_token_seen(&self) -> bool {
        self.draft.token_seen
    }

    /// Whether no later event can change the answer: the server sent its finish reason or ended the stream.
    pub const fn is_complete(&self) -> bool {
        self.draft.finish_reason.is_some() || self.draft.done
    }

    /// Ends the stream. Returns the answer if the server finished one, else the error of the early end.
    pub fn end(mut self) -> Result<Answer, CallError> {
        match self.draft.finish_reason.take() {
            Some(reason) => self.into_answer(&reason),
            None => Err(self.draft.unfinished()),
        }
    }

    /// Reads an answer that came as one message without streaming. A complete message counts as finished.
    pub(in crate::llm) fn whole(self, json: &str) -> Result<Answer, CallError> {
        match WholeMessage::parse(json) {
            Ok(whole) => self.message(&whole, json, false),
            Err(fault) => {
                let mended = mend(json).ok_or_else(|| not_an_answer(&fault, json))?;
                let whole = WholeMessage::parse(&mended).map_err(|fault| not_an_answer(&fault, json))?;
                self.message(&whole, json, true)
            }
        }
    }

    fn message(mut self, whole: &WholeMessage<'_>, json: &str, loose: bool) -> Result<Answer, CallError> {
        if whole.event.is_error() {
            return Err(error::in_band(json));
        }
        let Some(blocks) = &whole.blocks else {
            return Err(error::in_band(json).of_unreadable());
        };
        self.start(&whole.message);
        for block in blocks {
            self.block(block, loose)?;
        }
        self.draft.done = true;
        let named = whole.message.stop_reason.as_ref();
        let reason = match named.filter(|Text(reason)| is_named(reason)) {
            Some(Text(reason)) => reason,
            None if self.draft.token_seen => "end_turn",
            None => {
                let message = "the answer has neither content nor a finish reason";
                return Err(CallError::new(Class::Server, Verdict::Retry, message));
            }
        };
        self.into_answer(reason)
    }

    fn into_answer(mut self, reason: &str) -> Result<Answer, CallError> {
        let is_called = self.tool != ToolProgress::Uncalled;
        if is_called && self.draft.text().is_empty() {
            // A tool call without arguments has no piece of input.
            self.draft.append("{}", false)?;
        }
        self.draft.counted = self.counts.read();
        Ok(self
            .draft
            .into_answer(translated(reason, is_called).to_owned(), true))
    }

    fn data(&mut self, data: &str, name: &str) -> Result<StreamProgress, CallError> {
        if self.draft.done || data.is_empty() {
            return Ok(StreamProgress::Quiet);
        }
        if data.starts_with("[DONE]") {
            // Some gateways add the end marker of OpenAI's streams.
            self.draft.done = true;
            return Ok(StreamProgress::Done);
        }
        let fault = match parse(data) {
            Ok((event, parts)) => return self.event(&event, &parts, data, name, false),
            Err(fault) => fault,
        };
        if let Some(mended) = mend(data)
            && let Ok((event, parts)) = parse(&mended)
        {
            return self.event(&event, &parts, data, name, true);
        }
        if data.contains('\n') {
            // Some gateways omit the blank line between events, so that two objects share a frame.
            return data
                .split('\n')
                .try_fold(StreamProgress::Quiet, |progress, line| {
                    Ok(progress.max(self.data(line.trim(), "")?))
                });
        }
        match data.as_bytes().first() {
            Some(b'{') if !self.is_complete() => Err(malformed(&fault)),
            _ => Ok(StreamProgress::Waits),
        }
    }

    /// Takes an event; `loose` if its text may hold halves of surrogate pairs.
    fn event(
        &mut self,
        event: &MessageEvent<'_>,
        parts: &EventParts<'_>,
        json: &str,
        name: &str,
        loose: bool,
    ) -> Result<StreamProgress, CallError> {
        if event.is_error() {
            return Err(error::in_band(json));
        }
        let kind = if event.kind.is_some() { event.kind() } else { name };
        match kind {
            "message_start" => self.start(&parts.message),
            "content_block_start" => self.block(&parts.block, loose)?,
            "content_block_delta" => self.delta(&parts.delta, loose)?,
            "content_block_stop" => {
                if self.tool == ToolProgress::Called {
                    self.tool = ToolProgress::Whole;
                }
            }
            "message_delta" => {
                self.count(event.usage);
                let reason = parts.delta.stop_reason.as_ref();
                if let Some(Text(reason)) = reason.filter(|Text(reason)| is_named(reason)) {
                    self.draft.finish(reason);
                }
            }
            "message_stop" => {
                self.draft.done = true;
                return Ok(StreamProgress::Done);
            }
            // The event is a ping, or belongs to a later version.
            _ => return Ok(StreamProgress::Waits),
        }
        Ok(StreamProgress::Data)
    }

    fn start(&mut self, message: &MessageHead<'_>) {
        self.draft.id(message.id.as_ref().map(|Text(id)| &**id));
        self.draft
            .model(message.model.as_ref().map(|Text(model)| &**model));
        self.count(message.usage);
    }

    fn count(&mut self, usage: Option<&RawValue>) {
        let usage = UsageFields::of(usage);
        self.counts.take(&usage);
        self.draft
            .tier(usage.service_tier.as_ref().map(|Text(tier)| &**tier));
    }

    /// Takes a block that begins, or a block of a whole message.
    fn block(&mut self, block: &Block<'_>, loose: bool) -> Result<(), CallError> {
        let kind = block.kind.as_ref().map_or("", |Text(kind)| kind);
        match kind {
            "text" => self.say(block.text.as_ref(), loose),
            "thinking" => {
                self.think(block.thinking.as_ref(), loose);
                Ok(())
            }
            "tool_use" => {
                self.draft.token_seen = true;
                let is_answer = block.name.as_ref().is_some_and(|Text(name)| name == ANSWER_TOOL);
                if !is_answer || self.tool != ToolProgress::Uncalled {
                    return Ok(());
                }
                self.tool = ToolProgress::Called;
                self.draft.restart_text();
                match block.input.filter(|input| !is_blank(input)) {
                    Some(input) => {
                        self.tool = ToolProgress::Whole;
                        self.draft.append(input.get(), loose)
                    }
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn delta(&mut self, delta: &Delta<'_>, loose: bool) -> Result<(), CallError> {
        self.say(delta.text.as_ref(), loose)?;
        self.think(delta.thinking.as_ref(), loose);
        match &delta.partial_json {
            Some(Text(piece)) if self.tool == ToolProgress::Called => self.draft.append(piece, loose),
            _ => Ok(()),
        }
    }

    /// Appends text. Text beside the tool that answers is not a part of the answer.
    fn say(&mut self, text: Option<&Text<'_>>, loose: bool) -> Result<(), CallError> {
        match text {
            Some(Text(text)) if self.tool == ToolProgress::Uncalled => self.draft.append(text, loose),
            _ => Ok(()),
        }
    }

    fn think(&mut self, thinking: Option<&Text<'_>>, loose: bool) {
        if let Some(Text(thinking)) = thinking {
            self.draft.think(thinking, loose);
        }
    }
}

fn parse(json: &str) -> serde_json::Result<(MessageEvent<'_>, EventParts<'_>)> {
    let event = MessageEvent::parse(json)?;
    let parts = event.parts()?;
    Ok((event, parts))
}

fn is_named(reason: &str) -> bool {
    FinishKind::of(reason) != FinishKind::Unnamed
}

/// Returns the finish reason in OpenAI's words. `answered` says whether the answer tool was called.
fn translated(reason: &str, answered: bool) -> &str {
    match reason {
        "end_turn" | "stop_sequence" => "stop",
        "tool_use" if answered => "stop",
        "tool_use" => "tool_calls",
        "max_tokens" | "model_context_window_exceeded" => "length",
        "refusal" => "content_filter",
        other => other,
    }
}
