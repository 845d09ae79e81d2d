//! Turns the bytes of a table into UTF-8.
//!
//! UTF-8, UTF-16 and GB18030 are recognised: by a byte order mark, else by the first bytes outside ASCII. Bytes that are
//! no text of the encoding become [`NO_TEXT`], so that the row that holds them is a bad one and the others are read.

use encoding_rs::{Decoder, DecoderResult, Encoding, GB18030, UTF_8, UTF_16BE, UTF_16LE};

/// The byte that stands for bytes without a meaning. No UTF-8 text holds it.
const NO_TEXT: u8 = 0xff;

/// The bytes that show a byte order mark, or UTF-16 without one.
const BEGINNING: usize = 4;

/// The least room for decoded text.
const ROOM: usize = 256;

/// Decodes a stream that arrives in chunks of any size.
pub(super) struct TextDecoder {
    state: State,
    /// Decoded text of the last chunk.
    text: Vec<u8>,
}

enum State {
    /// The first bytes, until they are enough to look for a byte order mark.
    Beginning(Vec<u8>),
    /// Only ASCII was seen. The bytes are the beginning of a character that is not complete.
    Ascii(Vec<u8>),
    Utf8,
    Other(Decoder),
}

impl TextDecoder {
    /// Creates a decoder. Without an encoding the first bytes decide.
    pub(super) fn new(encoding: Option<&'static Encoding>) -> Self {
        let state = match encoding {
            Some(encoding) if encoding != UTF_8 => State::Other(encoding.new_decoder_with_bom_removal()),
            // The reader of a table removes the byte order mark of UTF-8.
            Some(_) => State::Utf8,
            None => State::Beginning(Vec::new()),
        };
        Self {
            state,
            text: Vec::new(),
        }
    }

    /// Decodes the next bytes. `is_end` says that no more bytes follow.
    pub(super) fn push<'t>(&'t mut self, chunk: &'t [u8], is_end: bool) -> &'t [u8] {
        self.text.clear();
        match &mut self.state {
            State::Utf8 => return chunk,
            State::Other(decoder) => decode(decoder, chunk, is_end, &mut self.text),
            State::Beginning(held) => {
                held.extend_from_slice(chunk);
                if held.len() < BEGINNING && !is_end {
                    return &[];
                }
                let held = std::mem::take(held);
                self.begin(&held, is_end);
            }
            State::Ascii(held) if held.is_empty() => self.beyond_ascii(chunk, is_end),
            State::Ascii(held) => {
                held.extend_from_slice(chunk);
                let held = std::mem::take(held);
                self.beyond_ascii(&held, is_end);
            }
        }
        &self.text
    }

    fn begin(&mut self, bytes: &[u8], is_end: bool) {
        let marked = Encoding::for_bom(bytes).map(|(encoding, _)| encoding);
        match marked.or_else(|| unmarked_utf16(bytes)) {
            Some(encoding) if encoding == UTF_8 => {
                self.state = State::Utf8;
                self.text.extend_from_slice(bytes);
            }
            Some(encoding) => self.decode_as(encoding, bytes, is_end),
            None => self.beyond_ascii(bytes, is_end),
        }
    }

    /// Passes ASCII on, which means the same in all encodings that are left, and decides at the first other byte.
    fn beyond_ascii(&mut self, bytes: &[u8], is_end: bool) {
        let at = bytes.iter().position(|byte| !byte.is_ascii());
        let (ascii, other) = bytes.split_at(at.unwrap_or(bytes.len()));
        self.text.extend_from_slice(ascii);
        if other.is_empty() {
            self.state = State::Ascii(Vec::new());
            return;
        }
        match recognised(other, is_end) {
            None => self.state = State::Ascii(other.to_vec()),
            Some(encoding) if encoding == UTF_8 => {
                self.state = State::Utf8;
                self.text.extend_from_slice(other);
            }
            Some(encoding) => self.decode_as(encoding, other, is_end),
        }
    }

    fn decode_as(&mut self, encoding: &'static Encoding, bytes: &[u8], is_end: bool) {
        let mut decoder = encoding.new_decoder_with_bom_removal();
        decode(&mut decoder, bytes, is_end, &mut self.text);
        self.state = State::Other(decoder);
    }
}

fn decode(decoder: &mut Decoder, mut bytes: &[u8], is_end: bool, text: &mut Vec<u8>) {
    loop {
        let begun = text.len();
        let room = decoder
            .max_utf8_buffer_length_without_replacement(bytes.len())
            .unwrap_or(bytes.len());
        text.resize(begun + room.max(ROOM), 0);
        let out = text.get_mut(begun..).unwrap_or_default();
        let (result, read, written) = decoder.decode_to_utf8_without_replacement(bytes, out, is_end);
        text.truncate(begun + written);
        bytes = bytes.get(read..).unwrap_or_default();
        match result {
            DecoderResult::InputEmpty => return,
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) => text.push(NO_TEXT),
        }
    }
}

/// Whether the bytes begin like UTF-16 text whose first characters are ASCII.
fn unmarked_utf16(bytes: &[u8]) -> Option<&'static Encoding> {
    match bytes {
        [a, 0, b, 0, ..] if *a > 0 && *b > 0 => Some(UTF_16LE),
        [0, a, 0, b, ..] if *a > 0 && *b > 0 => Some(UTF_16BE),
        _ => None,
    }
}

/// Recognises the encoding of bytes that begin outside ASCII; `None` if they are too few. UTF-8 is the answer for an
/// encoding that is not known: its rows with other bytes are bad.
fn recognised(bytes: &[u8], is_end: bool) -> Option<&'static Encoding> {
    let (mut whole, mut broken, mut is_cut) = (0_usize, 0_usize, false);
    for chunk in bytes.utf8_chunks() {
        whole += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        let invalid = chunk.invalid();
        is_cut = !invalid.is_empty() && is_beginning(invalid) && bytes.ends_with(invalid) && !is_end;
        broken += usize::from(!invalid.is_empty());
    }
    broken -= usize::from(is_cut);
    if whole + broken == 0 {
        return None;
    }
    let is_utf8 = broken <= whole || !is_gb18030(bytes);
    Some(if is_utf8 { UTF_8 } else { GB18030 })
}

/// Whether bytes can be the beginning of a character of UTF-8.
fn is_beginning(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

/// Whether bytes are text in GB18030, most of it characters in daily use. Texts in the encodings of Western Europe can be
/// read as GB18030 too, but hardly ever with such characters.
fn is_gb18030(bytes: &[u8]) -> bool {
    let mut text = Vec::new();
    decode(
        &mut GB18030.new_decoder_without_bom_handling(),
        bytes,
        false,
        &mut text,
    );
    if text.contains(&NO_TEXT) {
        return false;
    }
    let (mut daily, mut all) = (0_usize, 0_usize);
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        rest = after;
        if first.is_ascii() {
            continue;
        }
        if let [second, after @ ..] = rest {
            all += 1;
            daily += usize::from(*first >= 0xa1 && *second >= 0xa1);
            rest = if second.is_ascii_digit() {
                after.get(2..).unwrap_or_default()
            } else {
                after
            };
        }
    }
    daily * 5 >= all * 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "编号,名称\nA1,联通 面霜，¥39\nA2,防晒霜 囧 😀\n";

    fn decoded(encoding: Option<&'static Encoding>, bytes: &[u8], step: usize) -> Vec<u8> {
        let mut decoder = TextDecoder::new(encoding);
        let mut text = Vec::new();
        for chunk in bytes.chunks(step) {
            text.extend_from_slice(decoder.push(chunk, false));
        }
        text.extend_from_slice(decoder.push(&[], true));
        text
    }

    fn utf16(text: &str, unit: impl Fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(unit).collect()
    }

    #[test]
    fn the_encodings_of_spreadsheets_are_recognised() {
        let (gb, _, _) = GB18030.encode(TEXT);
        let (ascii_first, expected) = (format!("id,name\n{TEXT}"), "id,name\n".to_owned() + TEXT);
        let (gb_later, _, _) = GB18030.encode(&ascii_first);
        let marked = format!("\u{feff}{TEXT}");
        for (bytes, expected) in [
            (TEXT.as_bytes().to_vec(), TEXT),
            (gb.to_vec(), TEXT),
            (gb_later.to_vec(), &expected),
            (utf16(&marked, u16::to_le_bytes), TEXT),
            (utf16(&marked, u16::to_be_bytes), TEXT),
            (utf16("id,名称", u16::to_le_bytes), "id,名称"),
            (utf16("id,名称", u16::to_be_bytes), "id,名称"),
        ] {
            for step in [3, 7, 1000] {
                let text = decoded(None, &bytes, step);
                assert_eq!(String::from_utf8_lossy(&text), expected, "step {step}");
            }
        }
        assert_eq!(decoded(Some(GB18030), &gb, 1), TEXT.as_bytes());
        assert_eq!(decoded(None, &gb, 1), TEXT.as_bytes());
    }

    #[test]
    fn other_bytes_stay_and_make_their_row_bad() {
        // Windows-1252, a lone byte in UTF-8, and an odd byte at the end of UTF-16.
        let western = b"id;pr\xe9nom\n1;caf\xe9, r\xe9f\xe9rence\n";
        assert_eq!(decoded(None, western, 1000), western);
        let broken = [TEXT.as_bytes(), b"\xe9"].concat();
        assert_eq!(decoded(None, &broken, 1000), broken);
        let odd = [&utf16("\u{feff}ab", u16::to_le_bytes)[..], b"c"].concat();
        assert_eq!(decoded(None, &odd, 1000), b"ab\xff");
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded(bytes in prop::collection::vec(any::<u8>(), 0..200), step in 1..9_usize) {
            for encoding in [None, Some(GB18030), Some(UTF_16LE), Some(UTF_8)] {
                decoded(encoding, &bytes, step);
            }
        }
    }
}
