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
use crate::domain::request::{BadLine, Claim, LineSplitter, RawLine, Rules, Work, read_line};
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
}

/// A part of the input, as the reader hands it on.
pub enum InputPart {
    /// The lines of one read.
    Lines(Vec<NewLine>),
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

/// The hasher of an input. The options are part of the digest, because they change what a line means.
pub(in crate::engine) fn hasher(rules: Rules, planner: &Planner) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.update(
        format!(
            "nova3 input 1;lenient={};{}\n",
            rules.lenient,
            planner.fingerprint()
        )
        .as_bytes(),
    );
    hasher
}

/// Reads the input to its end and passes each part to `each`. Stops early when `each` returns false.
pub fn read_input(
    input: &Input,
    rules: Rules,
    planner: &Planner,
    mut each: impl FnMut(InputPart) -> bool,
) -> Result<(), InputError> {
    let mut source = input.open()?;
    let mut hasher = hasher(rules, planner);
    let mut splitter = LineSplitter::new();
    let mut buffer = vec![0; BUFFER];
    let (mut bytes, mut index) = (0, 0);
    loop {
        let read = match source.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(InputError {
                    path: input.shown(),
                    reason: error.to_string(),
                });
            }
        };
        let mut lines = Vec::new();
        let mut take = |raw: RawLine<'_>| {
            lines.push(line(&raw, index, rules, planner));
            index += 1;
        };
        if read == 0 {
            splitter.finish(&mut take);
            if !lines.is_empty() && !each(InputPart::Lines(lines)) {
                return Ok(());
            }
            let digest = *hasher.finalize().as_bytes();
            each(InputPart::End(InputMark {
                digest,
                bytes,
                requests: index,
            }));
            return Ok(());
        }
        bytes += read as u64;
        hasher.update(&buffer[..read]);
        splitter.push(&buffer[..read], &mut take);
        if !lines.is_empty() && !each(InputPart::Lines(lines)) {
            return Ok(());
        }
    }
}

fn line(raw: &RawLine<'_>, index: u64, rules: Rules, planner: &Planner) -> NewLine {
    let (number, content) = match raw {
        RawLine::Line { number, bytes } => (*number, request(*number, bytes, rules, planner)),
        RawLine::TooLong {
            number,
            length,
            digest,
            claim,
        } => {
            let problem = BadLine::too_long(*length, *digest, (*claim).clone());
            (*number, bad(*number, problem))
        }
    };
    NewLine {
        line: number,
        index,
        content,
    }
}

fn request(number: u64, bytes: &[u8], rules: Rules, planner: &Planner) -> NewRequest {
    let accepted = match read_line(bytes, rules) {
        Ok(accepted) => accepted,
        Err(problem) => return bad(number, problem),
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
                    message,
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
