//! A streamed answer as server-sent events, in the order and form of its dialect.

use std::time::Duration;

use serde::Serialize;

use super::answer::MockAnswer;
use super::chunks::{self, Chunks};
use super::events::{self, Events};
use super::faults::MockFault;

/// Writes the frames of a dialect.
pub(crate) enum StreamFormat {
    /// Chunks of Chat Completions.
    Chat(Chunks),
    /// Events of the Messages API.
    Messages(Events),
}

/// The frames of one answer. A frame is rendered when it is due, so that a waiting stream holds only its text.
///
/// Step 0 opens the answer, steps 1 to k are the k pieces, and the closing frames follow. A fault happens in the middle
/// of the pieces.
pub(crate) struct Frames {
    answer: MockAnswer,
    format: StreamFormat,
    fault: Option<MockFault>,
    next: usize,
}

impl Frames {
    pub(crate) fn new(format: StreamFormat, answer: MockAnswer, fault: Option<MockFault>) -> Self {
        Self {
            answer,
            format,
            fault,
            next: 0,
        }
    }

    /// Returns the number of pieces rendered so far.
    pub(crate) fn pieces_sent(&self) -> u64 {
        self.next.saturating_sub(1).min(self.answer.pieces()) as u64
    }

    pub(crate) fn is_over(&self) -> bool {
        self.next >= self.end()
    }

    /// Returns when the next frame is due, counted from the first. The closing frames are due with the last piece.
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
        match (self.fault, &self.format) {
            (Some(MockFault::Garbage), StreamFormat::Chat(_)) if step == self.middle() => {
                chunks::garbage(out);
            }
            (Some(MockFault::Garbage), StreamFormat::Messages(_)) if step == self.middle() => {
                events::garbage(out);
            }
            (Some(MockFault::ErrorInStream), StreamFormat::Chat(_)) if step == self.middle() => {
                chunks::error(out);
            }
            (Some(MockFault::ErrorInStream), StreamFormat::Messages(_)) if step == self.middle() => {
                events::error(out);
            }
            (_, StreamFormat::Chat(chunks)) => match step {
                0 => chunks.open(out),
                step if step <= pieces => chunks.piece(out, self.answer.piece(step - 1)),
                step => chunks.close(out, step - pieces - 1, &self.answer),
            },
            (_, StreamFormat::Messages(events)) => match step {
                0 => events.open(out),
                step if step <= pieces => events.piece(out, self.answer.piece(step - 1)),
                step => events.close(out, step - pieces - 1, &self.answer),
            },
        }
    }

    /// Returns the step of a fault: after the opening and half of the pieces.
    fn middle(&self) -> usize {
        1 + self.answer.pieces() / 2
    }

    /// Returns the number of steps that are sent.
    fn end(&self) -> usize {
        let closing = match &self.format {
            StreamFormat::Chat(chunks) => chunks.closing(),
            StreamFormat::Messages(_) => events::CLOSING,
        };
        match self.fault {
            Some(MockFault::Truncate | MockFault::Disconnect | MockFault::Stall) => self.middle(),
            Some(MockFault::ErrorInStream) => self.middle() + 1,
            _ => 1 + self.answer.pieces() + closing,
        }
    }
}

/// Writes a JSON string. Most pieces need no escape, and the check is cheaper than the serializer.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
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

/// Writes a value as JSON.
pub(crate) fn json(out: &mut Vec<u8>, value: &impl Serialize) {
    // Plain values written to memory cannot fail.
    let _ = serde_json::to_writer(out, value);
}
