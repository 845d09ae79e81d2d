//! Comparisons with something else: 比美式便宜, 优于, `cheaper than`, `outperforms`.

use std::sync::LazyLock;

use super::lexicon::{GroupList, WordList, groups, list};
use super::piece::{Piece, is_han};
use super::statement::{Comparison, Content, Need, Statement};

/// The words of the rules here.
const FILE: &str = include_str!("words/comparisons.txt");

/// Words that hold 比 and compare nothing.
static OTHER_WORDS: WordList = LazyLock::new(|| list(FILE, "other words"));

/// Characters before 比 with which it is a part of another word.
static BEFORE: WordList = LazyLock::new(|| list(FILE, "before"));

/// Qualities in which things are compared, each with its group. The longer of two comes first.
static QUALITIES: GroupList = LazyLock::new(|| groups(FILE, "qualities "));

/// Verbs that compare.
static VERBS: WordList = LazyLock::new(|| list(FILE, "verbs"));

/// Objects of such a verb that are the writer's own.
static OWN_OBJECTS: WordList = LazyLock::new(|| list(FILE, "own objects"));

const ENGLISH_VERBS: &[&str] = &[
    "outperforms",
    "outperform",
    "outlasts",
    "outsells",
    "outshines",
    "outranks",
    "outclasses",
    "surpasses",
];

/// Words before `than` that compare nothing, or only bound a number.
static BEFORE_THAN: WordList = LazyLock::new(|| list(FILE, "before than"));

/// Words behind `than` that name no other thing.
static BEHIND_THAN: WordList = LazyLock::new(|| list(FILE, "behind than"));

/// Reads the comparison that begins at `at`.
pub(super) fn read(piece: &Piece, at: usize) -> Option<Statement> {
    chinese(piece, at)
        .or_else(|| verb(piece, at))
        .or_else(|| english(piece, at))
}

fn statement(start: usize, end: usize, other: String, quality: &str) -> Statement {
    Statement {
        start,
        end,
        content: Content::Comparison(Comparison {
            other,
            quality: quality.to_owned(),
        }),
        need: Need::Always,
    }
}

/// Words behind 比 that are no other thing to compare with: the reader, an abstraction.
static NO_OTHER: WordList = LazyLock::new(|| list(FILE, "no other"));

/// Nouns that begin with the character of a quality: 大牌, 小时.
static NOUNS_OF_A_QUALITY: WordList = LazyLock::new(|| list(FILE, "nouns of a quality"));

/// Reads 比, the other thing and the quality: 比美式便宜.
fn chinese(piece: &Piece, at: usize) -> Option<Statement> {
    const FARTHEST: usize = 12;
    let is_other_word = piece.any(at, &OTHER_WORDS).is_some() || piece.any_before(at, &BEFORE).is_some();
    if !piece.has(at, "比") || is_other_word || piece.any(at + 1, &NO_OTHER).is_some() {
        return None;
    }
    for index in at + 2..at + 2 + FARTHEST {
        let c = piece.at(index)?;
        if !is_han(c) && !c.is_ascii_alphanumeric() && c != ' ' {
            return None;
        }
        let (end, group) = match quality(piece, index) {
            Some((_, "more")) => quality_behind_more(piece, index),
            Some(found) if piece.any(index, &NOUNS_OF_A_QUALITY).is_none() => found,
            _ => continue,
        };
        return Some(statement(at, end, other(piece, at + 1, index), group));
    }
    None
}

/// Returns the end and the group of the quality that stands at `index`.
fn quality(piece: &Piece, index: usize) -> Option<(usize, &'static str)> {
    let (word, group) = QUALITIES.iter().find(|(word, _)| piece.has(index, word))?;
    Some((index + word.chars().count(), group))
}

/// Returns the end and the group of the quality behind 更. An unknown quality has one character.
fn quality_behind_more(piece: &Piece, index: usize) -> (usize, &'static str) {
    (index + 1..index + 6)
        .find_map(|next| quality(piece, next).filter(|(_, group)| *group != "more"))
        .unwrap_or((index + 2, "more"))
}

/// Returns the beginning of the other thing's name.
fn other(piece: &Piece, start: usize, end: usize) -> String {
    piece
        .folded_text(start, end)
        .chars()
        .filter(|c| !matches!(c, ' ' | '还' | '都' | '更' | '要' | '的'))
        .take(4)
        .collect()
}

fn verb(piece: &Piece, at: usize) -> Option<Statement> {
    let word = piece.any(at, &VERBS)?;
    let end = at + word.chars().count();
    let object = if piece.has(end, "了") { end + 1 } else { end };
    let sale = word == "秒杀"
        && (piece
            .any_before(at, &["限时", "整点", "今日", "直播", "点", "抢"])
            .is_some()
            || !piece.is(end, |c| is_han(c) || c.is_ascii_alphanumeric()));
    if sale
        || piece.near(object, 2, &OWN_OBJECTS)
        || piece.has(object, "人")
        || piece.any_before(at, &["限量"]).is_some()
    {
        return None;
    }
    let behind = (object..object + 4)
        .take_while(|i| piece.is(*i, |c| is_han(c) || c.is_ascii_alphanumeric()))
        .count();
    (behind > 0).then(|| {
        statement(
            at,
            end + usize::from(object > end),
            other(piece, object, object + behind),
            word,
        )
    })
}

fn english(piece: &Piece, at: usize) -> Option<Statement> {
    piece.word_end(at)?;
    let words = piece.words(at, 6);
    let (first, first_end) = words.first()?;
    let word = |index: usize| words.get(index).map_or("", |(word, _)| word.as_str());
    let object = |from: usize| -> String {
        let skipped = usize::from(matches!(
            word(from),
            "a" | "an" | "the" | "any" | "your" | "other" | "most"
        ));
        word(from + skipped).trim_end_matches("'s").to_owned()
    };
    if ENGLISH_VERBS.contains(&first.as_str()) && words.len() > 1 {
        return Some(statement(at, *first_end, object(1), "outperforms"));
    }
    if first == "superior" && word(1) == "to" {
        return Some(statement(at, words.get(1)?.1, object(2), "good"));
    }
    let comparative = matches!(first.as_str(), "better" | "worse" | "more" | "less" | "fewer")
        || (first.ends_with("er") && first.len() > 4 && !BEFORE_THAN.contains(&first.as_str()));
    if !comparative {
        return None;
    }
    let than = (1..=3).find(|index| word(*index) == "than")?;
    let behind = word(than + 1);
    let bounds_a_number =
        behind.is_empty() || super::numerals::read(piece, piece.skip_spaces(words.get(than)?.1)).is_some();
    let is_hyphenated = piece.before(at) == Some('-');
    if BEHIND_THAN.contains(&behind)
        || bounds_a_number
        || is_hyphenated
        || behind == "a" && word(than + 2) == "few"
    {
        return None;
    }
    let goes_on = |index: &usize| {
        let word = word(*index);
        !word.is_empty()
            && !matches!(
                word,
                "and" | "or" | "but" | "on" | "in" | "at" | "for" | "with" | "when" | "if" | "that"
            )
    };
    let last = (than + 1..than + 4).take_while(goes_on).last()?;
    let end = words.get(last)?.1;
    let quality = match first.as_str() {
        "more" | "less" | "fewer" => format!("{first} {}", if than > 1 { word(1) } else { "" }),
        other => other.to_owned(),
    };
    Some(statement(at, end, object(than + 1), &quality))
}

#[cfg(test)]
mod tests {
    use super::super::{Grounds, words_to_ground as found};

    #[test]
    fn comparisons_are_found() {
        for (text, expected) in [
            ("比美式便宜", "比美式便宜"),
            ("比普通散粉更持妆", "比普通散粉更持妆"),
            ("音质媲美索尼", "媲美"),
            ("它吊打一众旗舰", "吊打"),
            ("it is better than butter", "better than butter"),
            ("less sugar than regular milk", "less sugar than regular milk"),
            ("it outperforms the rest", "outperforms"),
        ] {
            assert_eq!(found(text), [expected], "{text}");
        }
    }

    #[test]
    fn words_that_look_like_comparisons_pass() {
        for text in [
            "比如，比较，对比，比例，比赛，性价比，百分比，比起熬夜。",
            "比以前好，比想象中简单，比昨天更好，比我高。",
            "限时秒杀，秒杀价。超越自己，不输人。",
            "rather than wait, other than that, easier than you think, better than ever, more than enough",
            "no later than Friday, better late than never",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn the_other_thing_and_the_quality_must_be_the_same() {
        let grounds = Grounds::of(["比美式更便宜，比拿铁香", "lighter than steel"]);
        assert_eq!(grounds.missing_from("比美式划算，lighter than steel"), []);
        assert_eq!(grounds.missing_from("比美式香").len(), 1);
        assert_eq!(grounds.missing_from("lighter than wood").len(), 1);
    }
}
