//! Answers that repeat themselves without end.
//!
//! A small model may enter a loop that only its token limit ends. [`Watch`] checks a text while it streams and reports
//! when its tail consists of repetitions, so that the call ends early.

use crate::llm::response::Answer;

/// The finish reason of an answer whose stream was ended because it repeated itself.
pub const REPETITION: &str = "repetition";

/// Bytes of repetitions that make a runaway of an answer that ended at its token limit.
const LEAST: usize = 1200;

/// Bytes of repetitions that make a runaway of an answer that is still streaming. Fewer may be the refrain of a song.
const LEAST_WHILE_WRITTEN: usize = 4000;

/// The smallest number of repetitions. A list with this many equal items is not an answer either.
const TIMES: usize = 8;

/// Bytes of the tail that are checked. The longest repetition that can be found is an eighth of it.
const TAIL: usize = 24 << 10;

/// Bytes by which a text grows between two checks.
const STEP: usize = 512;

/// Checks a growing text from time to time.
#[derive(Debug, Default)]
pub struct Watch {
    seen: usize,
}

impl Watch {
    /// Whether the text repeats itself at its end. It is checked once in `STEP` bytes.
    pub fn sees_repetition(&mut self, text: &str) -> bool {
        if text.len() < self.seen + STEP {
            return false;
        }
        self.seen = text.len();
        repeated(text.as_bytes()).is_some_and(|length| length >= LEAST_WHILE_WRITTEN)
    }
}

impl Answer {
    /// Returns where the repetitions at the end of the answer begin, if they are the reason for its end.
    pub fn runaway_from(&self) -> Option<usize> {
        let text = self.text.as_bytes();
        let tail = match self.finish_reason.as_str() {
            REPETITION => repeated(text),
            "length" => repeated(text).or_else(|| counted(text)),
            _ => return None,
        };
        let mut from = text.len() - tail?;
        while !self.text.is_char_boundary(from) {
            from += 1;
        }
        Some(from)
    }
}

/// Returns how many bytes at the end of a text are repetitions, if they are enough for a runaway.
fn repeated(text: &[u8]) -> Option<usize> {
    let tail = text.get(text.len().saturating_sub(TAIL)..)?;
    let matched = matches_from_end(tail);
    let repeats = |period: &usize| {
        let length = period + matched.get(*period).copied().unwrap_or_default();
        (length >= LEAST.max(period * TIMES)).then_some(length)
    };
    (1..=tail.len() / TIMES).find_map(|period| repeats(&period))
}

/// Finds repetitions with a counter: `Step 41 … Step 42 …`. It is used only for an answer that ended at its token
/// limit, because a table of numbers looks the same.
fn counted(text: &[u8]) -> Option<usize> {
    let text = text.get(text.len().saturating_sub(TAIL)..)?;
    let mut plain = Vec::with_capacity(text.len());
    let mut ends = Vec::with_capacity(text.len());
    for (end, byte) in text.iter().enumerate() {
        let digit = byte.is_ascii_digit();
        if !digit || plain.last() != Some(&b'0') {
            plain.push(if digit { b'0' } else { *byte });
            ends.push(end);
        }
    }
    let repeated = repeated(&plain)?;
    let first = plain.len() - repeated;
    ends.get(first).map(|begin| text.len() - begin)
}

/// Returns, for each distance from the end, how many bytes before it equal the bytes at the end. This is the
/// Z-function of the reversed text; it takes linear time.
fn matches_from_end(text: &[u8]) -> Vec<usize> {
    let reversed: Vec<u8> = text.iter().rev().copied().collect();
    let mut matched = vec![0; reversed.len()];
    let (mut left, mut right) = (0, 0);
    for at in 1..reversed.len() {
        let mut length = if at < right {
            matched[at - left].min(right - at)
        } else {
            0
        };
        while at + length < reversed.len() && reversed[length] == reversed[at + length] {
            length += 1;
        }
        matched[at] = length;
        if at + length > right {
            (left, right) = (at, at + length);
        }
    }
    matched
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(finish_reason: &str, text: &str) -> Answer {
        Answer {
            text: text.to_owned(),
            reasoning_chars: 0,
            reasoning: String::new(),
            refusal: None,
            finish_reason: finish_reason.to_owned(),
            reason_missing: false,
            usage: None,
            doubt: None,
            tier: None,
            model: None,
            id: None,
            done_missing: false,
        }
    }

    /// Returns so many lines that differ in their number.
    fn numbered(count: usize, before: &str, after: &str) -> String {
        let lines: Vec<String> = (0..count).map(|nth| format!("{before}{nth}{after}")).collect();
        lines.concat()
    }

    fn is_runaway(text: &str) -> bool {
        repeated(text.as_bytes()).is_some()
    }

    #[test]
    fn a_tail_of_repetitions_is_found_whatever_its_period() {
        let item = format!(
            "{{\"title\":\"标题\",\"content\":\"{}\"}},",
            "一二三四五六七八九十".repeat(10)
        );
        let paragraph = numbered(97, "word", " ");
        for (part, times) in [
            ("好", 500),
            ("\n", 1500),
            ("very ", 300),
            ("我不知道。", 100),
            (item.as_str(), 9),
            (paragraph.as_str(), 9),
        ] {
            let mut text = format!("A beginning. {}", part.repeat(times));
            assert!(is_runaway(&text), "{part}");
            text.pop();
            assert!(is_runaway(&text), "{part}");
        }
    }

    #[test]
    fn an_honest_text_is_no_runaway() {
        let paragraph = numbered(97, "word", " ");
        let table = numbered(200, "| year | ", " |\n");
        for text in [
            table,
            "-".repeat(200),
            "哈".repeat(300),
            format!("{} The end.", "very ".repeat(1000)),
            paragraph.repeat(7),
            String::new(),
        ] {
            assert!(!is_runaway(&text), "{text}");
        }
    }

    #[test]
    fn a_text_is_looked_at_while_it_grows() {
        let mut watch = Watch::default();
        let mut text = String::from("Once upon a time there was ");
        let mut stopped_at = None;
        for _ in 0..2000 {
            text.push_str("a little fox and ");
            if watch.sees_repetition(&text) {
                stopped_at = Some(text.len());
                break;
            }
        }
        assert!(
            stopped_at.is_some_and(|bytes| bytes < LEAST_WHILE_WRITTEN + 2 * STEP),
            "{stopped_at:?}"
        );
    }

    #[test]
    fn an_answer_says_where_it_began_to_repeat_itself() {
        let text = format!("A good beginning: {}", "好的".repeat(400));
        let from = answer(REPETITION, &text).runaway_from();
        assert_eq!(from.map(|from| &text[..from]), Some("A good beginning: "));
        assert_eq!(answer("length", &text).runaway_from(), from);
        assert_eq!(answer("stop", &text).runaway_from(), None);
        let steps = numbered(200, "Step ", ": think again.\n");
        assert_eq!(answer("length", &steps).runaway_from(), Some(0));
        assert_eq!(answer(REPETITION, &steps).runaway_from(), None);
    }
}
