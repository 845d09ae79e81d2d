//! Streams cut in pieces, streams cut short, and peers that send too much.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::wire::harness::{arrived, arrived_within, decode, dialect_of, fixture, streams};
use nova3::config::Dialect;
use nova3::domain::failure::{Class, Verdict};
use nova3::llm::wire::StreamLimits;
use nova3::llm::{Answer, CallError};

/// Cuts `bytes` at these places.
fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// Tests every stream in two pieces, cut at every byte, and byte by byte.
#[test]
fn a_recorded_stream_in_two_pieces_is_the_same() {
    for name in streams() {
        let bytes = fixture(&name);
        let frames = decode(StreamLimits::default(), [&bytes[..]]);
        let whole = arrived(&name, [&bytes[..]]);
        for cut in 0..=bytes.len() {
            let parts = [&bytes[..cut], &bytes[cut..]];
            assert_eq!(
                decode(StreamLimits::default(), parts),
                frames,
                "{name} parted at {cut}"
            );
            assert_eq!(arrived(&name, parts), whole, "{name} parted at {cut}");
        }
        assert_eq!(decode(StreamLimits::default(), bytes.chunks(1)), frames, "{name}");
        assert_eq!(arrived(&name, bytes.chunks(1)), whole, "{name}");
    }
}

proptest! {
    // Each case goes through all streams.
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_recorded_stream_in_any_pieces_is_the_same(cuts in vec(any::<Index>(), 0..12)) {
        for name in streams() {
            let bytes = fixture(&name);
            let parts = pieces(&bytes, &cuts);
            prop_assert_eq!(
                decode(StreamLimits::default(), parts.iter().copied()),
                decode(StreamLimits::default(), [&bytes[..]]),
                "{}", name
            );
            prop_assert_eq!(arrived(&name, parts), arrived(&name, [&bytes[..]]), "{}", name);
        }
    }
}

/// Returns how many bytes of a stream hold the event with the finish reason, up to the last brace of its object. For
/// old Ollama, which never gives a reason, it counts up to its `[DONE]`.
fn vouched(name: &str, bytes: &[u8]) -> usize {
    const BLANKS: [&str; 4] = ["\n\n", "\r\n\r\n", "\r\r", "\ndata: [DONE]"];
    let text = String::from_utf8_lossy(bytes);
    let member = match dialect_of(name) {
        Dialect::OpenAi => "\"finish_reason\":",
        Dialect::Anthropic => "\"stop_reason\":",
    };
    let reason = text.match_indices(member).find(|(at, name)| {
        let value = text[at + name.len()..].trim_start();
        let line = text[..*at].rfind(['\n', '\r']).unwrap_or(0);
        let second = text[line..*at].contains("\"index\":1,\"delta\"");
        !second && !value.starts_with("null") && !value.starts_with("\"\"")
    });
    let Some((at, _)) = reason else {
        return text.find("[DONE]").expect("a good stream says that it is whole") + "[DONE]".len();
    };
    let event = BLANKS
        .iter()
        .filter_map(|blank| text[at..].find(blank))
        .min()
        .map_or(&text[at..], |end| &text[at..at + end]);
    at + event.rfind('}').expect("an object ends") + 1
}

/// Streams that end well, each with the length that has to arrive for a good answer.
fn good() -> Vec<(String, Vec<u8>, Answer, usize)> {
    streams()
        .into_iter()
        .filter_map(|name| {
            let bytes = fixture(&name);
            let whole = arrived(&name, [&bytes[..]]).ok()?;
            let end = vouched(&name, &bytes);
            Some((name, bytes, whole, end))
        })
        .collect()
}

/// A stream that is cut before its finish is not an answer; a stream that is cut after it is one.
#[test]
fn no_cut_before_the_finish_is_an_answer() {
    for (name, bytes, whole, end) in good() {
        for cut in 0..=bytes.len() {
            match arrived(&name, [&bytes[..cut]]) {
                Ok(_) if cut < end => panic!("{name} cut at {cut} of {end} is an answer"),
                Err(fault) if cut >= end => panic!("{name} cut at {cut} of {end}: {fault}"),
                Ok(got) => assert_eq!(
                    (&got.text, &got.finish_reason),
                    (&whole.text, &whole.finish_reason),
                    "{name} cut at {cut}"
                ),
                Err(fault) => assert_eq!(fault.verdict, Verdict::Retry, "{name} cut at {cut}: {fault}"),
            }
        }
    }
}

/// A stream that reports a failure is not an answer at any cut, unless its text was complete before.
#[test]
fn no_cut_of_a_failing_stream_is_an_answer() {
    for name in streams() {
        let bytes = fixture(&name);
        if arrived(&name, [&bytes[..]]).is_ok() || name == "error_after_finish.sse" {
            continue;
        }
        for cut in 0..=bytes.len() {
            let result = arrived(&name, [&bytes[..cut]]);
            assert!(result.is_err(), "{name} cut at {cut} gave {result:?}");
        }
    }
}

/// Returns where the blank line behind the event at this place ends; the end of the stream if there is none.
fn dispatched(bytes: &[u8], place: usize) -> usize {
    let blank = |line_end: &[u8]| {
        let two = [line_end, line_end].concat();
        let at = bytes[place..].windows(two.len()).position(|part| part == two)?;
        Some(place + at + two.len())
    };
    [&b"\n"[..], b"\r\n", b"\r"]
        .into_iter()
        .filter_map(blank)
        .min()
        .unwrap_or(bytes.len())
}

fn too_large(fault: &CallError, of: &str) -> bool {
    (fault.class, fault.verdict) == (Class::Server, Verdict::Elsewhere) && fault.message.contains(of)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    /// No more bytes are taken from a peer than it may send, in any pieces.
    #[test]
    fn the_limit_of_a_stream_holds_in_any_pieces(limit in any::<Index>(), cuts in vec(any::<Index>(), 0..8)) {
        for (name, bytes, whole, end) in good() {
            let stream_bytes = limit.index(bytes.len() + 1);
            let limits = StreamLimits { stream_bytes, ..StreamLimits::default() };
            let at_once = arrived_within(&name, limits, [&bytes[..]]);
            prop_assert_eq!(&arrived_within(&name, limits, pieces(&bytes, &cuts)), &at_once, "{}", name);
            prop_assert_eq!(&arrived_within(&name, limits, bytes.chunks(1)), &at_once, "{}", name);
            match at_once {
                Ok(got) => {
                    prop_assert!(stream_bytes >= end, "{} within {} of {}", name, stream_bytes, end);
                    prop_assert_eq!(got.text, whole.text);
                }
                Err(fault) => prop_assert!(
                    stream_bytes < dispatched(&bytes, end) && too_large(&fault, "the stream is larger than"),
                    "{} within {} of {}: {}", name, stream_bytes, end, fault
                ),
            }
        }
    }

    /// The same for one event: it needs at least its longest line, and at most its joined lines.
    #[test]
    fn the_limit_of_an_event_holds_in_any_pieces(event_bytes in 0usize..700, cuts in vec(any::<Index>(), 0..8)) {
        for (name, bytes, _, end) in good() {
            let limits = StreamLimits { event_bytes, ..StreamLimits::default() };
            let at_once = arrived_within(&name, limits, [&bytes[..]]);
            prop_assert_eq!(&arrived_within(&name, limits, pieces(&bytes, &cuts)), &at_once, "{}", name);
            prop_assert_eq!(&arrived_within(&name, limits, bytes.chunks(1)), &at_once, "{}", name);
            let longest = bytes[..end].split(|byte| matches!(byte, b'\n' | b'\r')).map(<[u8]>::len).max();
            if longest > Some(event_bytes) {
                let fault = at_once.expect_err("an event is too large");
                prop_assert!(too_large(&fault, "one event of the stream is larger than"), "{}: {}", name, fault);
            } else if event_bytes >= bytes.len() {
                prop_assert!(at_once.is_ok(), "{} within {}", name, event_bytes);
            }
        }
    }
}
