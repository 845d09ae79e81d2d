//! The input: bytes into lines, lines into requests.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a target fails the way a test does"
)]

use std::io::Write;

use nova3::agent::{Agents, Planner};
use nova3::config::AgentSettings;
use nova3::domain::request::{
    Accepted, BadLine, Claim, Digest, Identity, LineSplitter, RawLine, Request, Rules, read_line,
};
use nova3::engine::{Input, InputForm, InputPart, read_input};
use nova3::store::{NewLine, NewRequest};

use super::input::{choices, digest, lengths, pieces};

/// The size of a reader's buffer; lines of a file are cut at its multiples.
const BUFFER: usize = 64 << 10;

const LENIENT: Rules = Rules {
    lenient: true,
    without_query: false,
};

/// The longest message, in characters.
const LONGEST_MESSAGE: usize = 1200;

#[test]
fn any_bytes_are_the_lines_that_they_are() {
    super::campaign::Campaign {
        target: "line_reader",
        seeds: &["fixtures"],
        check,
    }
    .run();
}

pub(crate) fn check(input: &[u8]) -> Vec<u64> {
    let mut choices = choices(input);
    let limit = [0, 1, 3, 40, 400, 10_000][choices.usize(..6)];
    let expected = lines(input, limit);
    for _ in 0..3 {
        let parts = pieces(input, &mut choices);
        assert_eq!(
            split(&parts, limit),
            expected,
            "in pieces of {:?}, limit {limit}",
            lengths(&parts)
        );
    }
    assert_eq!(split(&[input], limit), expected, "limit {limit}");

    let mut kinds = Vec::new();
    for line in lines(input, usize::MAX) {
        let Found::Line { bytes, .. } = line else {
            panic!("no line is too long")
        };
        kinds.push(request(&bytes, &mut choices));
    }
    if choices.u8(..16) == 0 {
        file(input, &mut choices);
    }
    kinds
}

/// A line as a splitter hands it out.
#[derive(Debug, PartialEq)]
enum Found {
    Line {
        number: u64,
        bytes: Vec<u8>,
    },
    TooLong {
        number: u64,
        length: u64,
        digest: Digest,
        claim: Claim,
    },
}

/// Returns the lines of a whole stream, found without a splitter.
fn lines(stream: &[u8], limit: usize) -> Vec<Found> {
    let mut found = Vec::new();
    let ended = stream.strip_suffix(b"\n").unwrap_or(stream);
    if stream.is_empty() {
        return found;
    }
    for (line, number) in ended.split(|byte| *byte == b'\n').zip(1..) {
        if line.len() > limit {
            found.push(Found::TooLong {
                number,
                length: line.len() as u64,
                digest: Digest::of(line),
                claim: claim(&line[..limit]),
            });
            continue;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mark = b"\xef\xbb\xbf";
        let bytes = match line.strip_prefix(mark) {
            Some(unmarked) if number == 1 => unmarked,
            _ => line,
        };
        if !bytes.iter().all(u8::is_ascii_whitespace) {
            found.push(Found::Line {
                number,
                bytes: bytes.to_vec(),
            });
        }
    }
    found
}

/// Returns the claim read from the beginning of a line.
fn claim(beginning: &[u8]) -> Claim {
    match read_line(beginning, Rules::default()) {
        Err(bad) => bad.claim,
        Ok(accepted) => Claim {
            is_batch: matches!(accepted.request.work, nova3::domain::request::Work::Completion(_)),
            custom_id: accepted.request.custom_id,
        },
    }
}

fn split(pieces: &[&[u8]], limit: usize) -> Vec<Found> {
    let mut found = Vec::new();
    let mut take = |line: RawLine<'_>| {
        found.push(match line {
            RawLine::Line { number, bytes } => Found::Line {
                number,
                bytes: bytes.to_vec(),
            },
            RawLine::TooLong {
                number,
                length,
                digest,
                claim,
            } => Found::TooLong {
                number,
                length,
                digest,
                claim: claim.clone(),
            },
        });
    };
    let mut splitter = LineSplitter::with_limit(limit);
    for piece in pieces {
        splitter.push(piece, &mut take);
    }
    splitter.finish(&mut take);
    found
}

/// Checks the properties of each line, good or bad. Returns the kind of its result.
fn request(line: &[u8], choices: &mut fastrand::Rng) -> u64 {
    let strict = read_line(line, Rules::default());
    let lenient = read_line(line, LENIENT);
    match (&strict, &lenient) {
        (Ok(strict), Ok(lenient)) => assert_same(strict, lenient, "without unknown keys"),
        (Ok(_), Err(bad)) => panic!("good by the strict rules only: {bad}"),
        (Err(_), _) => {}
    }
    if let Ok(accepted) = &lenient {
        stored(&accepted.request);
        spaced(line, accepted, choices);
    }
    match &strict {
        Ok(accepted) => digest(&(
            matches!(accepted.identity, Identity::Custom(_)),
            accepted.request.session.is_some(),
            accepted.request.metadata.is_some(),
            accepted.request.work.stops().is_none(),
        )),
        Err(bad) => {
            judge(line, bad);
            // Text in backticks comes from the line, except for the place behind `expected`.
            let parts = bad.message.split('`').take(3);
            let own = if bad.message.starts_with("expected `") {
                3
            } else {
                1
            };
            let words: String = parts.take(own).collect();
            let words: String = words.chars().filter(|c| !c.is_ascii_digit()).collect();
            digest(&(words, lenient.is_ok()))
        }
    }
}

fn assert_same(one: &Accepted, other: &Accepted, what: &str) {
    assert_eq!(
        (&one.identity, one.content, one.notes, one.request.to_stored()),
        (
            &other.identity,
            other.content,
            other.notes,
            other.request.to_stored()
        ),
        "{what}"
    );
}

/// Checks that a request is the same after it was stored and read.
fn stored(request: &Request) {
    let stored = request.to_stored();
    assert!(
        !stored.contains(['\n', '\0']),
        "it does not fit a store: {stored:?}"
    );
    match Request::from_stored(&stored) {
        Ok(again) => assert_eq!(again.to_stored(), stored),
        Err(error) => panic!("{error}: {stored}"),
    }
}

/// Checks that white space around a line, and behind its first brace, changes nothing.
fn spaced(line: &[u8], accepted: &Accepted, choices: &mut fastrand::Rng) {
    let Some(brace) = line.iter().position(|byte| *byte == b'{') else {
        panic!("a request without a brace");
    };
    let space = [" ", "\t", "\r", "  "][choices.usize(..4)].as_bytes();
    let spaced = [space, &line[..=brace], space, &line[brace + 1..], space].concat();
    match read_line(&spaced, LENIENT) {
        Ok(again) => assert_same(&again, accepted, "with more white space"),
        Err(bad) => panic!("with more white space: {bad}"),
    }
}

fn judge(line: &[u8], bad: &BadLine) {
    assert_eq!(bad.digest, Digest::of(line));
    let length = bad.message.chars().count();
    assert!(
        length <= LONGEST_MESSAGE,
        "a message of {length} characters: {}",
        bad.message
    );
    assert!(
        !bad.message.chars().any(char::is_control),
        "it steers a terminal: {:?}",
        bad.message
    );
    if let Some(id) = &bad.claim.custom_id {
        assert!((1..=200).contains(&id.chars().count()));
    }
}

/// Checks the same bytes as a file whose lines are cut at the end of a buffer: numbers, places and lengths are right.
fn file(input: &[u8], choices: &mut fastrand::Rng) {
    let mut content = Vec::new();
    if choices.bool() {
        // The input begins a few bytes before the end of the first buffer, on its second line.
        let before = BUFFER - choices.usize(..=input.len().min(BUFFER - 1));
        content.resize(before - 1, b' ');
        content.push(b'\n');
    }
    content.extend_from_slice(input);
    let expected = lines(&content, usize::MAX);
    let (read, end) = read(&content);
    assert_eq!(end, (content.len() as u64, expected.len() as u64));
    assert_eq!(read.len(), expected.len());
    for ((line, expected), index) in read.iter().zip(&expected).zip(0..) {
        let Found::Line { number, bytes } = expected else {
            panic!("no line is too long")
        };
        assert_eq!((line.line, line.index), (*number, index));
        match &line.content {
            NewRequest::Good { content, .. } => {
                let accepted = read_line(bytes, Rules::default()).map(|accepted| accepted.content);
                assert_eq!(accepted.ok(), Some(*content));
            }
            NewRequest::Bad { failure, .. } => assert_eq!(failure.line, Some(*number)),
        }
    }
}

fn read(content: &[u8]) -> (Vec<NewLine>, (u64, u64)) {
    thread_local! {
        static PLANNER: Planner = planner();
    }
    let (mut found, mut end) = (Vec::new(), None);
    let file = written(content);
    let input = Input::File(file.path().to_path_buf());
    let result = PLANNER.with(|planner| {
        read_input(&input, &InputForm::default(), planner, |seen| {
            match seen {
                InputPart::Lines(lines) => found.extend(lines),
                InputPart::Position(_) => {}
                InputPart::End(mark) => end = Some((mark.bytes, mark.requests)),
            }
            true
        })
    });
    assert!(result.is_ok(), "{result:?}");
    (found, end.unwrap_or_default())
}

fn planner() -> Planner {
    let settings = AgentSettings {
        limits: true,
        max_results: 10,
        ..AgentSettings::default()
    };
    let agents = Agents::load(&settings).expect("the agents are good");
    Planner::new(&agents, vec!["default".to_owned()], None, None).expect("a planner")
}

fn written(content: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a place for the input");
    file.write_all(content).expect("the input is written");
    file
}
