//! English number words: `twenty-five`, `a hundred and ten`, `millions`.

use super::numerals::{Numeral, ONE, Precision, Script, suffix};
use super::piece::Piece;

/// Returns the factor of a word such as `million`.
pub(super) fn scale_of(word: &str) -> Option<i128> {
    Some(match word {
        "hundred" => 100,
        "thousand" => 1000,
        "million" => 1_000_000,
        "billion" => 1_000_000_000,
        "trillion" => 1_000_000_000_000,
        _ => return None,
    })
}

fn small_word(word: &str) -> Option<i128> {
    const WORDS: &str = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen \
         sixteen seventeen eighteen nineteen";
    const TENS: &str = "twenty thirty forty fifty sixty seventy eighty ninety";
    if let Some((tens, ones)) = word.split_once('-') {
        return Some(small_word(tens)? + small_word(ones)?);
    }
    if let Some(value) = WORDS.split(' ').zip(0..).find(|(known, _)| *known == word) {
        return Some(value.1);
    }
    let (_, tens) = TENS.split(' ').zip(2..).find(|(known, _)| *known == word)?;
    Some(tens * 10)
}

/// Reads a number that a hyphen joins to another word (`five-minute`), with the length of the rest.
fn split_compound(word: &str) -> Option<(i128, usize)> {
    let (number, rest) = word.split_once('-')?;
    Some((small_word(number)?, rest.chars().count() + 1))
}

/// Reads an English number: `twenty-five`, `a hundred and ten`, `millions`.
pub(super) fn read(piece: &Piece, at: usize) -> Option<Numeral> {
    let words = piece.words(at, 8);
    let (first, first_end) = words.first()?;
    let numeral = |value: i128, end, scale, precision| Numeral {
        value,
        end,
        scale,
        precision,
        script: Script::English,
    };
    if let Some(scale) = first.strip_suffix('s').and_then(scale_of) {
        return Some(numeral(scale * ONE, *first_end, scale, Precision::Order));
    }
    let (mut total, mut section, mut end, mut scale): (i128, i128, usize, i128) = (0, 0, at, 1);
    for (index, (word, word_end)) in words.iter().enumerate() {
        let next = words.get(index + 1).map_or("", |(word, _)| word.as_str());
        if let Some(value) = small_word(word) {
            section += value;
        } else if let Some((value, joined)) = split_compound(word).filter(|_| index == 0) {
            section += value;
            end = *word_end - joined;
            break;
        } else if word == "a" && index == 0 && scale_of(next).is_some() {
            section = 1;
        } else if let Some(factor) = scale_of(word).filter(|_| index > 0) {
            if factor == 100 {
                section = section.max(1) * 100;
            } else {
                total = total.checked_add(section.max(1).checked_mul(factor)?)?;
                section = 0;
            }
            scale = if factor == 100 { 1 } else { factor };
        } else if !(word == "and" && index > 0 && section >= 100 && small_word(next).is_some()) {
            break;
        }
        end = *word_end;
    }
    if end == at {
        return None;
    }
    let (precision, end) = suffix(piece, end, Precision::Exact);
    Some(numeral(
        (total + section).checked_mul(ONE)?,
        end,
        scale,
        precision,
    ))
}
