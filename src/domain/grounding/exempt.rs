//! Numbers that are no statements: numbers of lists and steps, times of day, fixed expressions, instructions.

use std::sync::LazyLock;

use super::lexicon::{WordList, list};
use super::numerals::{Numeral, ONE, Script};
use super::piece::{Piece, is_letter};

/// The words of the rules here.
const FILE: &str = include_str!("words/exempt.txt");

/// Fixed expressions that begin with a number word and state none.
static EXPRESSIONS: WordList = LazyLock::new(|| list(FILE, "expressions"));

/// Words behind which a number is a name or an order: 第三, 镜头2.
static LABELS: WordList = LazyLock::new(|| list(FILE, "labels"));

/// English words behind which a number is a name or an order.
static ENGLISH_LABELS: WordList = LazyLock::new(|| list(FILE, "english labels"));

/// Returns the end of a fixed expression that begins at `at`.
pub(super) fn expression(piece: &Piece, at: usize) -> Option<usize> {
    if piece.has(at, "十分") && !piece.is(at + 2, |c| matches!(c, '钟' | '之')) {
        return Some(at + 2);
    }
    // Midnight, but not a fraction.
    if piece.has(at, "零点") && !piece.is(at + 2, |c| "零一二三四五六七八九".contains(c)) {
        return Some(at + 2);
    }
    let found = piece.any(at, &EXPRESSIONS)?;
    Some(at + found.chars().count())
}

/// Returns the end of a code that begins at `at`: a version, a telephone number, a ratio, a time of day with a colon,
/// digits inside a word.
pub(super) fn code(piece: &Piece, at: usize) -> Option<usize> {
    let digits = |from: usize| piece.run(from, |c| c.is_ascii_digit());
    let first = digits(at);
    if first == 0 {
        return None;
    }
    let end = at + first;
    let is_inside = piece
        .before(at)
        .is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        && piece.any_before(at, &["spf", "rmb", "us"]).is_none();
    // An emoji of a digit has a variation selector or a frame.
    let is_emoji = piece.is(end, |c| matches!(c, '\u{fe0f}' | '\u{20e3}'));
    let groups = |mark: char| {
        let mut last = end;
        let mut count = 1;
        while piece.at(last) == Some(mark) && digits(last + 1) > 0 {
            last += 1 + digits(last + 1);
            count += 1;
        }
        (last, count)
    };
    let (colon, colons) = groups(':');
    let (dot, dots) = groups('.');
    let (dash, dashes) = groups('-');
    let is_hex = piece.before(at) == Some('#') && hex_digits(piece, at) == 6 || piece.has(at, "0x");
    if is_hex || is_inside {
        let end = word_end(piece, at);
        // v2.1.3 is one name.
        return Some(if dots > 1 { end.max(dot) } else { end });
    }
    if is_emoji {
        return Some(end);
    }
    if colons > 1 {
        return Some(colon);
    }
    if dots > 2 {
        return Some(dot);
    }
    if dashes > 2 && first != 4 {
        return Some(dash);
    }
    (first > 15).then_some(end)
}

fn hex_digits(piece: &Piece, at: usize) -> usize {
    (at..at + 8)
        .take_while(|i| piece.is(*i, |c| c.is_ascii_hexdigit()))
        .count()
}

fn word_end(piece: &Piece, at: usize) -> usize {
    at + piece.run(at, |c| c.is_ascii_alphanumeric())
}

/// Returns the end of an address that begins at `at`.
pub(super) fn address(piece: &Piece, at: usize) -> Option<usize> {
    piece.any(at, &["http://", "https://", "www."])?;
    Some(at + piece.run(at, |c| c.is_ascii_graphic()))
}

/// Whether the number is the mark of a list entry: `1.` at the start of a sentence, `(2)`, 3、.
pub(super) fn is_list_mark(piece: &Piece, start: usize, end: usize) -> bool {
    let mark = piece.is(end, |c| matches!(c, '.' | '、' | ')' | ']' | '】'));
    let is_short = end - start <= 2;
    mark && is_short && !piece.is(end + 1, |c| c.is_ascii_digit()) && is_sentence_start(piece, start)
}

/// Whether only spaces and marks stand between the start of a sentence and `at`.
fn is_sentence_start(piece: &Piece, at: usize) -> bool {
    let decoration = |c: &&char| {
        matches!(
            c,
            ' ' | '*' | '#' | '-' | '•' | '>' | '(' | '[' | '【' | '✅' | '👉'
        )
    };
    let before = piece.folded.iter().take(at).rev().find(|c| !decoration(c));
    before.is_none_or(|c| {
        matches!(c, '.' | '。' | '!' | '?' | ';' | ',' | '\n' | ':' | '…') || !c.is_alphanumeric()
    })
}

/// Whether a word before the number makes it a name or an order: 第三, `step 12`.
pub(super) fn is_label(piece: &Piece, start: usize) -> bool {
    let mut before = start;
    while before > 0 && piece.is(before - 1, |c| c == ' ') {
        before -= 1;
    }
    if let Some(label) = piece.any_before(before, &LABELS) {
        let is_letters = label.starts_with(is_letter);
        let glued = is_letters
            && before
                .checked_sub(label.len() + 1)
                .is_some_and(|i| piece.is(i, is_letter));
        return !glued;
    }
    piece
        .words_before(before, 1)
        .first()
        .is_some_and(|word| ENGLISH_LABELS.contains(&word.as_str()))
}

/// Returns the end of a time of day: 七点半, `10 pm`, `7 o'clock`.
pub(super) fn time_of_day(piece: &Piece, numeral: &Numeral) -> Option<usize> {
    let end = numeral.end;
    let small = numeral.value <= 24 * ONE && numeral.value % ONE == 0;
    if !small {
        return None;
    }
    if piece.has(end, "点") {
        let mut behind = end + 1;
        while piece.is(behind, |c| {
            "零一二三四五六七八九十半整刻钟左右".contains(c) || c.is_ascii_digit()
        }) {
            behind += 1;
        }
        if piece.has(behind, "分") && behind > end + 1 {
            behind += 1;
        }
        return Some(behind);
    }
    if numeral.script == Script::Chinese {
        return None;
    }
    let next = piece.skip_spaces(end);
    ["a.m", "p.m", "am", "pm", "o'clock"]
        .iter()
        .find(|word| piece.has(next, word) && !piece.is(next + word.len(), is_letter))
        .map(|word| next + word.len())
}

/// Verbs before a duration that make it an instruction of the writer.
static INSTRUCTIONS: WordList = LazyLock::new(|| list(FILE, "instructions"));

/// English verbs before a duration that make it an instruction of the writer.
static ENGLISH_INSTRUCTIONS: WordList = LazyLock::new(|| list(FILE, "english instructions"));

/// Words behind a duration that make it a promise of a result.
static RESULTS: WordList = LazyLock::new(|| list(FILE, "results"));

/// Whether the duration belongs to an instruction or to the timing of a script.
pub(super) fn is_instruction(piece: &Piece, start: usize, end: usize) -> bool {
    if piece.near(end, 3, &RESULTS) {
        return false;
    }
    let opens = start == 0 || piece.before(start).is_some_and(|c| matches!(c, '【' | '[' | '('));
    let closes = piece.is(end, |c| matches!(c, '】' | ']' | ')' | ':' | '|'));
    if opens && closes {
        return true;
    }
    let mut verb_end = start;
    while let Some(word) = piece.any_before(verb_end, &["大约", "大概", "至少", "约", "上", "满", "个"])
    {
        verb_end -= word.chars().count();
    }
    if piece.any_before(verb_end, &INSTRUCTIONS).is_some() {
        return true;
    }
    let words = piece.words_before(start, 6);
    words.iter().enumerate().any(|(index, word)| {
        // An imperative opens its clause.
        let before = words.get(index + 1).map(String::as_str);
        ENGLISH_INSTRUCTIONS.contains(&word.as_str())
            && matches!(
                before,
                None | Some("then" | "and" | "or" | "please" | "always" | "now" | "first" | "simply")
            )
    })
}

/// Whether a duration of one unit promises a result: 一天见效, 只需一周, `in just one day`.
pub(super) fn is_promised_in_one(piece: &Piece, start: usize, end: usize) -> bool {
    let before = piece
        .any_before(start, &["只需", "只要", "仅需", "仅", "不到", "短短", "最快"])
        .is_some();
    let words = piece.words_before(start, 2);
    before
        || piece.near(end, 2, &RESULTS)
        || words
            .iter()
            .any(|word| matches!(word.as_str(), "in" | "within" | "just" | "only"))
}

#[cfg(test)]
mod tests {
    use super::super::words_to_ground as found;

    #[test]
    fn numbers_that_state_nothing_pass() {
        for text in [
            "1. 洗脸 2. 拍水\n3、防晒\n(4) 出门",
            "第一步，第2步，Step 12, Chapter 15, 镜头12",
            "1️⃣ 2️⃣ ① ② #FF0000 0x1F v2.1.3 3.14.15",
            "早上八点半，晚上10点，7:30, 10 pm, 6 a.m., at 7 o'clock",
            "三言两语，千万别，万一，十分满意，五花八门，一百个放心",
            "https://example.com/2024/03/15?id=12345 www.a.cn/99",
            "静置30秒，煮10分钟，泡20分钟，wait 30 seconds. Simmer for 20 minutes.",
            "【0-3秒】特写（3-8秒）全景",
            "400-123-4567，iPhone15，A4，5G，3C，16:9",
            "90后，双11，618，996，7分裤，七分饱",
            "这三点，以下12个技巧，15 tips, three checks",
            "两只猫，三颗青菜，一起，一个，一点，two friends",
            "有一天，一年四季，过两天，这两年",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn near_neighbours_of_exempt_numbers_are_found() {
        for (text, expected) in [
            ("十分钟见效", "十分钟"),
            ("敷3天就变白", "3天"),
            ("一天见效", "一天"),
            ("results in just one week", "one week"),
            ("零点五克", "零点五克"),
            ("12个色号", "12个"),
            ("五个色号", "五个"),
            ("24小时持妆", "24小时"),
            ("一万步", "一万步"),
            ("评分4.9", "4.9"),
            ("SPF50", "SPF50"),
        ] {
            assert_eq!(found(text), [expected], "{text}");
        }
    }
}
