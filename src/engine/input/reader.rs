//! Reads the input as a stream of checked lines, on a thread of its own.
//!
//! Lines are handed on at the end of every read. A line from a slow pipe is therefore worked on as soon as it arrives,
//! and a file is stored in chunks of one buffer.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use crate::agent::Planner;
use crate::domain::failure::Failure;
use crate::domain::ids::shortened;
use crate::domain::request::{BadLine, Claim, RawLine, Rules, Work, read_line};
use crate::engine::input::bytes::ByteSource;
use crate::engine::input::encoding::TextDecoder;
use crate::engine::input::form::InputForm;
use crate::engine::input::table::{InputRow, RowCutter, TableError};
use crate::engine::job::Input;
use crate::store::{InputMark, NewLine, NewRequest};

/// Bytes of one read. Large enough that a file needs few system calls, small enough that a chunk of long lines uses
/// little memory.
const BUFFER: usize = 64 * 1024;

/// An input that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("input `{}`: {reason}", path.display())]
pub struct InputError {
    /// The file; `-` for standard input.
    pub path: PathBuf,
    /// The reason.
    pub reason: String,
    /// Whether the columns of a table do not fit to the flags, the settings or the agents.
    pub is_of_columns: bool,
}

impl InputError {
    fn unreadable(input: &Input, reason: String) -> Self {
        Self {
            path: input.shown(),
            reason,
            is_of_columns: false,
        }
    }
}

/// A part of the input, as the reader hands it on.
pub enum InputPart {
    /// The lines of one read.
    Lines(Vec<NewLine>),
    /// After lines: how many stored bytes of the input were read so far.
    Position(u64),
    /// The end of the input.
    End(InputMark),
}

impl Input {
    /// The input's name in messages.
    pub fn shown(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Stdin | Self::Spooled(_) => PathBuf::from("-"),
        }
    }

    /// Opens the input, or explains why it cannot be read.
    pub fn open(&self) -> Result<Box<dyn Read + Send>, InputError> {
        match self {
            Self::Stdin => Ok(Box::new(std::io::stdin())),
            Self::File(path) | Self::Spooled(path) => {
                let problem = |reason: String| InputError {
                    path: path.clone(),
                    reason,
                    is_of_columns: false,
                };
                let file = File::open(path).map_err(|error| problem(error.to_string()))?;
                let data = file.metadata().map_err(|error| problem(error.to_string()))?;
                if data.is_dir() {
                    return Err(problem(
                        "it is a folder (give a file of one JSON object a line)".to_owned(),
                    ));
                }
                Ok(Box::new(file))
            }
        }
    }

    /// Whether the input is a regular file. A pipe may go on for long.
    pub(in crate::engine) fn is_whole(&self) -> bool {
        match self {
            Self::Stdin => false,
            Self::File(path) | Self::Spooled(path) => {
                std::fs::metadata(path).is_ok_and(|data| data.is_file())
            }
        }
    }

    /// The length in bytes, if the input is a regular file.
    pub(in crate::engine) fn length(&self) -> Option<u64> {
        let (Self::File(path) | Self::Spooled(path)) = self else {
            return None;
        };
        let data = std::fs::metadata(path).ok()?;
        data.is_file().then_some(data.len())
    }

    /// Whether the input is a file of whitespace only. A pipe is not opened.
    pub fn is_empty(&self) -> Result<bool, InputError> {
        if !self.is_whole() {
            return Ok(false);
        }
        let mut source = self.open()?;
        let mut buffer = vec![0; BUFFER];
        loop {
            match source.read(&mut buffer) {
                Ok(0) => return Ok(true),
                Ok(read) if buffer[..read].iter().all(u8::is_ascii_whitespace) => {}
                // An error counts as not empty: the reading that follows reports it.
                Ok(_) | Err(_) => return Ok(false),
            }
        }
    }

    /// Checks that the input can be opened, before anything is created for it. A pipe is not opened: its writer would
    /// take an open and a close for a reader that has gone.
    pub fn probe(&self) -> Result<(), InputError> {
        let (Self::File(path) | Self::Spooled(path)) = self else {
            return Ok(());
        };
        match std::fs::metadata(path) {
            Ok(data) if !data.is_file() && !data.is_dir() => Ok(()),
            _ => self.open().map(drop),
        }
    }
}

/// Reads the input to its end and passes each part to `each`. Stops early when `each` returns false.
pub fn read_input(
    input: &Input,
    form: &InputForm,
    planner: &Planner,
    mut each: impl FnMut(InputPart) -> bool,
) -> Result<(), InputError> {
    let mut index = 0;
    let mut lines = Vec::new();
    let mut reading = InputReading::open(input, form, planner)?;
    loop {
        let is_open = reading.read(&mut |row| {
            lines.push(line(&row, index, form.rules, planner));
            index += 1;
        })?;
        if !lines.is_empty() {
            let taken = std::mem::take(&mut lines);
            if !each(InputPart::Lines(taken)) || !each(InputPart::Position(reading.source.position())) {
                return Ok(());
            }
        }
        if !is_open {
            let (digest, bytes) = reading.source.mark();
            each(InputPart::End(InputMark {
                digest,
                bytes,
                requests: index,
            }));
            return Ok(());
        }
    }
}

/// Checks the header of a table, before anything is spent. Other inputs and pipes are not opened.
pub fn check_columns(input: &Input, form: &InputForm, planner: &Planner) -> Result<(), InputError> {
    if !input.is_whole() || !form.is_table(input) {
        return Ok(());
    }
    let mut reading = InputReading::open(input, form, planner)?;
    while !reading.has_columns() && reading.read(&mut |_| {})? {}
    Ok(())
}

/// An input that is being read.
struct InputReading<'f> {
    input: &'f Input,
    source: ByteSource,
    /// Decodes tables. Lines of JSON that are requests as they stand have to be UTF-8.
    decoder: Option<TextDecoder>,
    /// `None` after the end.
    cutter: Option<RowCutter<'f>>,
    buffer: Vec<u8>,
}

impl<'f> InputReading<'f> {
    fn open(input: &'f Input, form: &'f InputForm, planner: &Planner) -> Result<Self, InputError> {
        let source = ByteSource::open(input.open()?, form.hasher(input, planner))
            .map_err(|error| InputError::unreadable(input, error.to_string()))?;
        Ok(Self {
            input,
            source,
            decoder: form.is_table(input).then(|| TextDecoder::new(form.encoding)),
            cutter: Some(RowCutter::new(input, form)),
            buffer: vec![0; BUFFER],
        })
    }

    fn has_columns(&self) -> bool {
        self.cutter.as_ref().is_none_or(RowCutter::has_columns)
    }

    /// Reads the next bytes and hands out their requests. Returns false at the end of the input.
    fn read(&mut self, f: &mut impl FnMut(InputRow<'_>)) -> Result<bool, InputError> {
        let read = loop {
            match self.source.read(&mut self.buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let read = read.map_err(|error| InputError::unreadable(self.input, error.to_string()))?;
        let chunk = self.buffer.get(..read).unwrap_or_default();
        let text = match &mut self.decoder {
            Some(decoder) => decoder.push(chunk, read == 0),
            None => chunk,
        };
        let Some(mut cutter) = self.cutter.take() else {
            return Ok(false);
        };
        let mut cut = cutter.push(text, f);
        if read > 0 {
            self.cutter = Some(cutter);
        } else if cut.is_ok() {
            cut = cutter.finish(f);
        }
        cut.map_err(|TableError(reason)| InputError {
            path: self.input.shown(),
            reason,
            is_of_columns: true,
        })?;
        Ok(read > 0)
    }
}

fn line(row: &InputRow<'_>, index: u64, rules: Rules, planner: &Planner) -> NewLine {
    let (number, content) = match row {
        InputRow::Line(RawLine::Line { number, bytes }) => {
            (*number, request(*number, bytes, rules, planner, &str::to_owned))
        }
        InputRow::Line(RawLine::TooLong {
            number,
            length,
            digest,
            claim,
        }) => {
            let problem = BadLine::too_long(*length, *digest, (*claim).clone());
            (*number, bad(*number, problem))
        }
        InputRow::Made {
            number,
            bytes,
            explain,
        } => (*number, request(*number, bytes, rules, planner, explain)),
        InputRow::Bad { number, problem } => (*number, bad(*number, problem.clone())),
    };
    NewLine {
        line: number,
        index,
        content,
    }
}

/// Checks one line. `explain` adds the place to the message of a bad one.
fn request(
    number: u64,
    bytes: &[u8],
    rules: Rules,
    planner: &Planner,
    explain: &dyn Fn(&str) -> String,
) -> NewRequest {
    let accepted = match read_line(bytes, rules) {
        Ok(accepted) => accepted,
        Err(mut problem) => {
            problem.message = explain(&problem.message);
            return bad(number, problem);
        }
    };
    match planner.plan(&accepted.request) {
        Ok(work) => NewRequest::Good {
            request: Box::new(accepted.request),
            identity: accepted.identity,
            content: accepted.content,
            notes: accepted.notes,
            plan: work.tasks,
            stops: work.stops,
        },
        Err(message) => {
            let claim = Claim {
                is_batch: matches!(accepted.request.work, Work::Completion(_)),
                custom_id: accepted.request.custom_id,
            };
            bad(
                number,
                BadLine {
                    message: explain(&message),
                    claim,
                    digest: accepted.content,
                },
            )
        }
    }
}

fn bad(number: u64, problem: BadLine) -> NewRequest {
    let message = match &problem.claim.custom_id {
        Some(id) => format!(
            "{} (in the line of `custom_id` `{}`)",
            problem.message,
            shortened(id, 60)
        ),
        None => problem.message,
    };
    NewRequest::Bad {
        digest: problem.digest,
        claim: problem.claim,
        failure: Failure::bad_line(number, message),
    }
}
