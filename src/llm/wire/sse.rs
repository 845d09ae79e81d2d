//! Cuts a byte stream into server-sent events.
//!
//! The line and field rules are those of the WHATWG HTML standard, section "Server-sent events". On top
//! of them stand what servers of this field send: a last event without its blank line (llama.cpp), an
//! `error:` field (llama.cpp until 2025), `data:` without a payload (proxies) and a bare JSON object
//! where an event was due (gateways that fail after the headers). Work is linear in the bytes however
//! they are chunked, and what a peer can make us hold is bounded by [`Limits`].

/// How much a peer may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest single event, its longest line included.
    pub event_bytes: usize,
    /// The largest stream, comments and keep-alives included.
    pub stream_bytes: usize,
}

impl Default for Limits {
    /// An answer is some hundred kilobytes at most; these leave room for chatty framing and still keep
    /// one hostile stream from filling the memory.
    fn default() -> Self {
        Self {
            event_bytes: 8 << 20,
            stream_bytes: 64 << 20,
        }
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The event's name where it has one; `error` for an event that came as an `error:` field.
    pub event: Option<String>,
    /// The `data` lines, joined by line feeds; never blank.
    pub data: String,
}

/// Why a stream cannot be decoded any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// One event outgrew its limit.
    #[error("one event of the stream is larger than {limit} bytes")]
    EventTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The stream outgrew its limit.
    #[error("the stream is larger than {limit} bytes")]
    StreamTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// A line is not UTF-8.
    #[error("the stream is not valid UTF-8")]
    InvalidUtf8,
}

/// A line buffer above this size is given back once its line is done: thousands of streams are open at
/// once, and one long event must not leave its size behind in each.
const KEEP_BYTES: usize = 16 << 10;

/// An incremental decoder; an idle one owns no heap memory.
///
/// After an error the stream is beyond use and the decoder is to be dropped.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    /// The beginning of a line whose end has not arrived.
    partial: Vec<u8>,
    event: Option<String>,
    /// The joined `data` lines of the current event; `None` before its first.
    data: Option<String>,
    taken: usize,
    after_cr: bool,
    first_line: bool,
    /// Whether the lines are those of a plain body.
    bare: bool,
    /// Whether a comment came since that was last asked.
    commented: bool,
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            partial: Vec::new(),
            event: None,
            data: None,
            taken: 0,
            after_cr: false,
            first_line: true,
            bare: false,
            commented: false,
        }
    }

    /// Bytes of an event that is not complete yet.
    pub fn held_bytes(&self) -> usize {
        let texts = [&self.event, &self.data];
        let texts: usize = texts.into_iter().flatten().map(String::capacity).sum();
        self.partial.capacity() + texts
    }

    /// Whether a comment came since this was last asked: some servers send them while a request waits its turn.
    pub const fn take_comment(&mut self) -> bool {
        std::mem::replace(&mut self.commented, false)
    }

    /// Takes the next bytes and appends each event they complete.
    ///
    /// The same bytes give the same frames and the same error however they are cut into calls.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<Frame>) -> Result<(), SseError> {
        let limit = self.limits.stream_bytes;
        let accepted = &bytes[..bytes.len().min(limit - self.taken)];
        self.taken += accepted.len();
        self.split_lines(accepted, out)?;
        if accepted.len() < bytes.len() {
            return Err(SseError::StreamTooLarge { limit });
        }
        Ok(())
    }

    /// Ends the stream: an event without its blank line is delivered, where the standard would drop it.
    ///
    /// A tail that breaks off inside a character is the mark of a cut connection, not of bad encoding:
    /// its event is dropped, and the missing finish reason tells the rest.
    pub fn finish(&mut self, out: &mut Vec<Frame>) -> Result<(), SseError> {
        let tail = std::mem::take(&mut self.partial);
        if let Err(fault) = std::str::from_utf8(&tail)
            && fault.error_len().is_none()
        {
            self.data = None;
            return Ok(());
        }
        self.line(&tail, out)?;
        self.dispatch(out);
        Ok(())
    }

    fn split_lines(&mut self, mut rest: &[u8], out: &mut Vec<Frame>) -> Result<(), SseError> {
        if let Some((first, tail)) = rest.split_first() {
            // The line feed of a CRLF that was cut between two chunks.
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                rest = tail;
            }
        }
        while let Some(end) = find_line_end(rest) {
            let (head, tail) = rest.split_at(end);
            if self.partial.is_empty() {
                self.line(head, out)?;
            } else {
                self.hold(head)?;
                let whole = std::mem::take(&mut self.partial);
                self.line(&whole, out)?;
                self.recycle(whole);
            }
            rest = match tail {
                [b'\r', b'\n', after @ ..] | [_, after @ ..] => after,
                [] => tail,
            };
            self.after_cr = tail == b"\r";
        }
        self.hold(rest)
    }

    /// Keeps the beginning of a line until the rest arrives.
    fn hold(&mut self, bytes: &[u8]) -> Result<(), SseError> {
        self.check_room(self.partial.len() + bytes.len())?;
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    fn recycle(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= KEEP_BYTES {
            buffer.clear();
            self.partial = buffer;
        }
    }

    fn check_room(&self, line_bytes: usize) -> Result<(), SseError> {
        let limit = self.limits.event_bytes;
        if self.data.as_ref().map_or(0, String::len) + line_bytes > limit {
            return Err(SseError::EventTooLarge { limit });
        }
        Ok(())
    }

    /// Works one line, its end stripped.
    ///
    /// The text is decoded here, where a line is whole: a chunk may end inside a character.
    fn line(&mut self, line: &[u8], out: &mut Vec<Frame>) -> Result<(), SseError> {
        self.check_room(line.len())?;
        let mut line = std::str::from_utf8(line).map_err(|_| SseError::InvalidUtf8)?;
        if std::mem::take(&mut self.first_line) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            self.dispatch(out);
        } else if line.starts_with(['{', '[']) || self.bare && !is_field(line) {
            // No field is named like this: the server broke off its events and wrote a plain body, maybe on many lines.
            self.bare = true;
            self.append(line);
        } else {
            self.bare = false;
            self.commented |= line.starts_with(':');
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            self.field(field, value.strip_prefix(' ').unwrap_or(value));
        }
        Ok(())
    }

    /// A comment has an empty field name and goes the way of unknown fields.
    fn field(&mut self, field: &str, value: &str) {
        match field {
            "data" => self.append(value),
            "event" => self.event = Some(value.to_owned()),
            "error" => {
                self.event = Some("error".to_owned());
                self.append(value);
            }
            _ => {}
        }
    }

    fn append(&mut self, value: &str) {
        match &mut self.data {
            Some(data) => {
                data.push('\n');
                data.push_str(value);
            }
            None => self.data = Some(value.to_owned()),
        }
    }

    fn dispatch(&mut self, out: &mut Vec<Frame>) {
        self.bare = false;
        let event = self.event.take().filter(|name| !name.is_empty());
        if let Some(data) = self.data.take()
            && !data.trim_start().is_empty()
        {
            out.push(Frame { event, data });
        }
    }
}

/// Whether a line has the name of a field, so that it is no part of a plain body.
fn is_field(line: &str) -> bool {
    ["data:", "event:", "id:", "retry:", "error:", ":"]
        .iter()
        .any(|name| line.starts_with(name))
}

/// The first CR or LF.
///
/// Blocks are tested as a whole, without leaving early, so that the compiler makes vector compares of
/// them; the exact place is then sought in one block only.
fn find_line_end(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 32;
    let is_end = |byte: &u8| *byte == b'\n' || *byte == b'\r';
    let clear = bytes
        .chunks_exact(BLOCK)
        .take_while(|block| !block.iter().fold(false, |hit, byte| hit | is_end(byte)))
        .count();
    let start = clear * BLOCK;
    bytes[start..].iter().position(is_end).map(|at| start + at)
}
