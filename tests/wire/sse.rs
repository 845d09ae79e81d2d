//! Framing.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::wire::harness::decode;
use nova3::llm::wire::{Decoder, Frame, SseError, StreamLimits};

fn frame(event: Option<&str>, data: &str) -> Frame {
    Frame {
        event: event.map(str::to_owned),
        data: data.to_owned(),
    }
}

fn frames(bytes: &[u8]) -> Vec<Frame> {
    let (frames, fault) = decode(StreamLimits::default(), [bytes]);
    assert_eq!(fault, None);
    frames
}

#[test]
fn lines_end_and_fields_part_as_the_standard_says() {
    let rows: [(&str, &[Frame]); 17] = [
        ("data: a\n\n", &[frame(None, "a")]),
        ("data: a\r\n\r\n", &[frame(None, "a")]),
        ("data: a\r\r", &[frame(None, "a")]),
        ("data: a\r\n\rdata: b\n\r", &[frame(None, "a"), frame(None, "b")]),
        ("\u{feff}data: a\n\n", &[frame(None, "a")]),
        ("data: a\n\n\u{feff}data: b\n\n", &[frame(None, "a")]),
        ("data: a\ndata:b\ndata:  c\n\n", &[frame(None, "a\nb\n c")]),
        (": hi\n:\ndata: a\n: between\n\n", &[frame(None, "a")]),
        (
            "event: ping\ndata: a\n\ndata: b\n\n",
            &[frame(Some("ping"), "a"), frame(None, "b")],
        ),
        ("event: ping\n\ndata: b\n\n", &[frame(None, "b")]),
        ("data:\n\ndata: \n\ndata\n\n", &[]),
        ("id: 1\nretry: 5\nnonsense\ndata: a\n\n", &[frame(None, "a")]),
        ("data: a\u{2028}b\n\n", &[frame(None, "a\u{2028}b")]),
        ("data: a", &[frame(None, "a")]),
        ("data: a\n", &[frame(None, "a")]),
        ("error: {}\n\n", &[frame(Some("error"), "{}")]),
        ("{\"error\":1}", &[frame(None, "{\"error\":1}")]),
    ];
    for (bytes, expected) in rows {
        assert_eq!(frames(bytes.as_bytes()), expected, "{bytes:?}");
    }
}

#[test]
fn bad_encoding_is_an_error_and_a_cut_character_is_a_cut() {
    let (frames, fault) = decode(StreamLimits::default(), [&b"data: a\n\ndata: \xff\n\n"[..]]);
    assert_eq!(
        (frames, fault),
        (vec![frame(None, "a")], Some(SseError::InvalidUtf8))
    );
    let (frames, fault) = decode(StreamLimits::default(), [&b"data: a\n\ndata: \xe4\xbd"[..]]);
    assert_eq!((frames, fault), (vec![frame(None, "a")], None));
}

#[test]
fn limits_hold_to_the_byte() {
    let limits = StreamLimits {
        event_bytes: 16,
        stream_bytes: 40,
    };
    let (_, fault) = decode(limits, [&b"data: 0123456789\n\n"[..]]);
    assert_eq!(fault, None);
    let (_, fault) = decode(limits, [&b"data: 0123456789x"[..]]);
    assert_eq!(fault, Some(SseError::EventTooLarge { limit: 16 }));
    let (_, fault) = decode(limits, [&b"data: 012345\ndata: 012345\n\n"[..]]);
    assert_eq!(fault, Some(SseError::EventTooLarge { limit: 16 }));
    let (_, fault) = decode(limits, [&b":\n"[..]; 20]);
    assert_eq!(fault, None);
    let (_, fault) = decode(limits, [&b":\n"[..]; 21]);
    assert_eq!(fault, Some(SseError::StreamTooLarge { limit: 40 }));
}

#[test]
fn the_name_of_an_event_is_held_too() {
    let mut decoder = Decoder::new(StreamLimits::default());
    let (line, mut out) = (format!("event: {}\n", "n".repeat(1000)), Vec::new());
    decoder.push(line.as_bytes(), &mut out).expect("within limits");
    assert!(decoder.held_bytes() >= 1000);
}

/// A quadratic decoder needs minutes for this line, a linear one milliseconds.
#[test]
fn a_long_line_in_small_chunks_is_linear() {
    let mut line = b"data: ".to_vec();
    line.resize(7 << 20, b'x');
    let mut decoder = Decoder::new(StreamLimits::default());
    let mut out = Vec::new();
    for piece in line.chunks(64) {
        decoder.push(piece, &mut out).expect("within limits");
    }
    decoder.push(b"\n\n", &mut out).expect("within limits");
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].data.len(), line.len() - 6);
}

/// Pieces of streams, valid and invalid, with many difficult ones.
fn stream_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = select(vec![
        &b"data:"[..],
        b"data: ",
        b"event: error",
        b"error: ",
        b": ping",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\xef\xbb\xbf",
        "你好".as_bytes(),
        b"\xe4\xbd",
        b"{\"a\":1}",
        b"[DONE]",
        b" ",
        b":",
        b"\xff",
        b"0123456789012345678901234567890123456789",
    ]);
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_frames(
        bytes in stream_bytes(),
        cuts in vec(any::<Index>(), 0..8),
        event_bytes in 16usize..200,
        stream_bytes in 100usize..600,
    ) {
        let limits = StreamLimits { event_bytes, stream_bytes };
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        let whole = decode(limits, [&bytes[..]]);
        prop_assert_eq!(decode(limits, pieces), whole.clone());
        prop_assert_eq!(decode(limits, bytes.chunks(1)), whole);
    }
}
