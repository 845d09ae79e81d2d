//! Splits a byte stream into server-sent events.
//!
//! The line and field rules are those of the WHATWG HTML standard, section "Server-sent events". Some servers send
//! more, which is read too: a last event without its blank line (llama.cpp), an `error:` field (llama.cpp until 2025),
//! `data:` without a payload (proxies), and a bare JSON object instead of an event (gateways that fail after the
//! headers). The work is linear in the bytes for any chunking. [`StreamLimits`] bounds the memory that a peer can make us
//! use.

/// The size limits of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamLimits {
    /// The largest single event, its longest line included.
    pub event_bytes: usize,
    /// The largest stream, comments and keep-alives included.
    pub stream_bytes: usize,
}

impl Default for StreamLimits {
    /// An answer has some hundred kilobytes at most. These limits allow for long framing, and still keep one hostile
    /// stream from filling the memory.
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
    /// The name of the event, if it has one; `error` for an event that came as an `error:` field.
    pub event: Option<String>,
    /// The `data` lines, joined by line feeds; never blank.
    pub data: String,
}

/// The reason why a stream cannot be decoded further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// One event exceeds its limit.
    #[error("one event of the stream is larger than {limit} bytes")]
    EventTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The stream exceeds its limit.
    #[error("the stream is larger than {limit} bytes")]
    StreamTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// A line is not UTF-8.
    #[error("the stream is not valid UTF-8")]
    InvalidUtf8,
}

/// The largest line buffer that is kept after its line, in bytes. Thousands of streams are open at once, and one long
/// event must not leave its capacity behind in each of them.
const KEEP_BYTES: usize = 16 << 10;

/// An incremental decoder. An idle decoder uses no heap memory.
///
/// After an error the stream is unusable, and the decoder must be dropped.
#[derive(Debug)]
pub struct Decoder {
    limits: StreamLimits,
    /// The beginning of a line whose end has not arrived.
    partial: Vec<u8>,
    event: Option<String>,
    /// The joined `data` lines of the current event; `None` before the first one.
    data: Option<String>,
    taken: usize,
    after_cr: bool,
    first_line: bool,
    /// Whether the lines belong to a plain body.
    bare: bool,
    /// Whether a comment has arrived since the last check.
    commented: bool,
}

impl Decoder {
    /// Makes a decoder at the beginning of a stream.
    pub const fn new(limits: StreamLimits) -> Self {
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

    /// Returns the bytes of an incomplete event.
    pub fn held_bytes(&self) -> usize {
        let texts = [&self.event, &self.data];
        let texts: usize = texts.into_iter().flatten().map(String::capacity).sum();
        self.partial.capacity() + texts
    }

    /// Whether a comment has arrived since the last call. Some servers send comments while a request waits in their
    /// queue.
    pub const fn take_comment(&mut self) -> bool {
        std::mem::replace(&mut self.commented, false)
    }

    /// Takes the next bytes and appends each event that they complete.
    ///
    /// The same bytes give the same frames and the same error for any chunking.
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

    /// Ends the stream. An event without its blank line is delivered, which the standard would drop.
    ///
    /// A tail that ends inside a character means a cut connection and not a wrong encoding. Its event is dropped, and
    /// the missing finish reason makes the call fail.
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

    /// Handles one line without its line end.
    ///
    /// The text is decoded here, because only a whole line is valid UTF-8: a chunk may end inside a character.
    fn line(&mut self, line: &[u8], out: &mut Vec<Frame>) -> Result<(), SseError> {
        self.check_room(line.len())?;
        let mut line = std::str::from_utf8(line).map_err(|_| SseError::InvalidUtf8)?;
        if std::mem::take(&mut self.first_line) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            self.dispatch(out);
        } else if line.starts_with(['{', '[']) || self.bare && !is_field(line) {
            // No field begins like this: the server stopped its events and wrote a plain body, possibly on many lines.
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

    /// Handles a field. A comment has an empty field name and is ignored like an unknown field.
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

/// Whether a line begins with a field name, so that it is not a part of a plain body.
fn is_field(line: &str) -> bool {
    ["data:", "event:", "id:", "retry:", "error:", ":"]
        .iter()
        .any(|name| line.starts_with(name))
}

/// Returns the position of the first CR or LF.
///
/// Each block is tested as a whole, without an early exit, so that the compiler can use vector instructions. The exact
/// position is then searched in one block only.
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
