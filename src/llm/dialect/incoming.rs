//! A streamed answer in progress: takes bytes, gives an [`Answer`] or its failure.
//!
//! The result of a stream depends on its bytes and never on how the network cut them. Every complete event before a
//! fault is handled first. After the finish reason the text is complete and paid for. So bytes after it that cannot be
//! decoded end the stream, and only a usage count can be lost.

use std::borrow::Cow;

use serde_json::Value;

use super::draft::StreamProgress;
use super::openai::Assembly;
use super::{anthropic, openai};
use crate::config::Dialect;
use crate::llm::response::Answer;
use crate::llm::wire::error::CallError;
use crate::llm::wire::runaway::{REPETITION, Watch};
use crate::llm::wire::secrets::Secrets;
use crate::llm::wire::sse::{Decoder, Frame, StreamLimits};

/// The decoder of a dialect's frames.
#[derive(Debug)]
enum DialectCollector {
    OpenAi(openai::Collector),
    Anthropic(anthropic::Collector),
}

/// Calls a method that both decoders have.
macro_rules! each {
    ($collector:expr, $of:ident => $call:expr) => {
        match $collector {
            DialectCollector::OpenAi($of) => $call,
            DialectCollector::Anthropic($of) => $call,
        }
    };
}

impl DialectCollector {
    fn new(dialect: Dialect, max_text_bytes: usize) -> Self {
        match dialect {
            Dialect::OpenAi => Self::OpenAi(openai::Collector::new(max_text_bytes)),
            Dialect::Anthropic => Self::Anthropic(anthropic::Collector::new(max_text_bytes)),
        }
    }

    fn frame(&mut self, frame: &Frame) -> Result<StreamProgress, CallError> {
        each!(self, of => of.frame(frame))
    }

    fn text(&self) -> &str {
        each!(self, of => of.text())
    }

    fn finish(&mut self, reason: &str) {
        each!(self, of => of.finish(reason));
    }

    const fn first_token_seen(&self) -> bool {
        each!(self, of => of.first_token_seen())
    }

    const fn is_complete(&self) -> bool {
        each!(self, of => of.is_complete())
    }

    fn held_bytes(&self) -> usize {
        each!(self, of => of.held_bytes())
    }

    fn end(self) -> Result<Answer, CallError> {
        each!(self, of => of.end())
    }
}

/// A stream in progress.
#[derive(Debug)]
pub struct Incoming {
    decoder: Decoder,
    collector: DialectCollector,
    frames: Vec<Frame>,
    over: bool,
    secrets: Secrets,
    watch: Option<Watch>,
    assembly: Option<Assembly>,
}

impl Incoming {
    /// Makes a stream of this dialect within these limits, with at most `max_text_bytes` bytes of text.
    pub fn new(dialect: Dialect, limits: StreamLimits, max_text_bytes: usize) -> Self {
        Self {
            decoder: Decoder::new(limits),
            collector: DialectCollector::new(dialect, max_text_bytes),
            frames: Vec::new(),
            over: false,
            secrets: Secrets::default(),
            watch: None,
            assembly: None,
        }
    }

    /// Assembles the one object that the stream stands for, with at most `most` bytes. Only OpenAI's streams stand for
    /// such an object.
    #[must_use]
    pub fn assembling(self, most: usize) -> Self {
        let is_openai = matches!(self.collector, DialectCollector::OpenAi(_));
        Self {
            assembly: is_openai.then(|| Assembly::new(most)),
            ..self
        }
    }

    /// Ends the stream with the reason [`REPETITION`] when its text repeats itself.
    #[must_use]
    pub fn without_repetitions(self) -> Self {
        Self {
            watch: Some(Watch::default()),
            ..self
        }
    }

    /// Whether all further bytes are ignored.
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// Sets the secrets that failure messages must not show.
    #[must_use]
    pub fn hiding(self, secrets: Secrets) -> Self {
        Self { secrets, ..self }
    }

    /// Takes the next bytes. After an error the answer is unusable.
    pub fn push(&mut self, bytes: &[u8]) -> Result<StreamProgress, CallError> {
        if self.over {
            return Ok(StreamProgress::Quiet);
        }
        let fault = self.decoder.push(bytes, &mut self.frames).err();
        let mut progress = self.collect()?;
        if self.decoder.take_comment() {
            progress = progress.max(StreamProgress::Waits);
        }
        match fault {
            Some(fault) if !self.is_complete() => Err(fault.into()),
            Some(_) => {
                self.over = true;
                Ok(StreamProgress::Done)
            }
            None => Ok(progress),
        }
    }

    /// Whether the model has sent its first token, of content, reasoning or a refusal.
    pub const fn first_token_seen(&self) -> bool {
        self.collector.first_token_seen()
    }

    /// Whether the text is known to be complete. A connection that breaks after that loses nothing of the text.
    pub const fn is_complete(&self) -> bool {
        self.collector.is_complete()
    }

    /// Returns how many bytes of the stream are kept in memory.
    pub fn held_bytes(&self) -> usize {
        let whole = self.assembly.as_ref().map_or(0, Assembly::held_bytes);
        self.decoder.held_bytes() + self.collector.held_bytes() + whole
    }

    /// Ends the stream at the end of its bytes.
    pub fn end(self) -> Result<Answer, CallError> {
        self.end_with_object().map(|(answer, _)| answer)
    }

    /// Ends the stream. Also returns the assembled object, if there is one.
    pub fn end_with_object(mut self) -> Result<(Answer, Option<Value>), CallError> {
        if !self.over {
            let fault = self.decoder.finish(&mut self.frames).err();
            self.collect()?;
            if let Some(fault) = fault.filter(|_| !self.is_complete()) {
                return Err(fault.into());
            }
        }
        let answer = self.collector.end()?;
        let answer = answer.hiding(&self.secrets);
        Ok((answer, self.assembly.map(Assembly::end)))
    }

    fn collect(&mut self) -> Result<StreamProgress, CallError> {
        let Self {
            frames,
            collector,
            secrets,
            watch,
            assembly,
            over,
            ..
        } = self;
        let mut progress = StreamProgress::Quiet;
        // The list is dropped with its frames. A piece with thousands of frames must not leave its capacity behind in
        // a stream.
        for frame in std::mem::take(frames) {
            match collector.frame(&frame) {
                Ok(heard) => progress = progress.max(heard),
                Err(fault) => return Err(masked(fault, collector, frame, secrets)),
            }
            if let Some(assembly) = assembly {
                assembly.frame(&frame)?;
            }
            // The check runs after each frame, so that the end does not depend on how the network cut the bytes.
            if let Some(watch) = watch
                && !collector.is_complete()
                && watch.sees_repetition(collector.text())
            {
                collector.finish(REPETITION);
                *over = true;
                return Ok(StreamProgress::Done);
            }
        }
        Ok(progress)
    }
}

/// Returns the fault that the frame would have caused without secrets in it. In a text that was already shortened, the
/// rest of a secret would not be recognized.
fn masked(fault: CallError, collector: &mut DialectCollector, frame: Frame, secrets: &Secrets) -> CallError {
    match secrets.mask(&frame.data) {
        Cow::Borrowed(_) => fault,
        Cow::Owned(data) => collector.frame(&Frame { data, ..frame }).err().unwrap_or(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_events_in_one_piece_leave_nothing_behind() {
        let mut incoming = Incoming::new(Dialect::OpenAi, StreamLimits::default(), 1000);
        incoming.push("data: {}\n\n".repeat(10_000).as_bytes()).unwrap();
        assert_eq!((incoming.frames.capacity(), incoming.held_bytes()), (0, 0));
    }
}
