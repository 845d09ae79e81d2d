//! Numbers as they are written: Arabic, Chinese and English.

use super::number_words;
use super::piece::{Piece, is_letter};

/// Values are whole numbers of millionths, so they can be compared and ordered exactly.
pub(super) const ONE: i128 = 1_000_000;

/// The most digits before the point. A longer number is a code, such as an order number.
const MOST_DIGITS: usize = 15;

/// How exactly a numeral gives its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precision {
    Exact,
    /// 3000多, 十几, 30+: the value or a little more.
    AndMore,
    /// 几百万, millions of: from the value to ten times the value.
    Order,
    /// 三五, 两三: no value at all.
    Vague,
}

/// The way in which a numeral is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    Arabic,
    Chinese,
    English,
}

/// A number that stands in a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numeral {
    pub(super) value: i128,
    /// The index behind its last character.
    pub(super) end: usize,
    /// The factor of a 万, 亿 or million at its end, or one.
    pub(super) scale: i128,
    pub(super) precision: Precision,
    pub(super) script: Script,
}

/// A larger value is no statement about the world. The bound keeps later products within the type.
const LARGEST: i128 = 1_000_000_000_000_000_000 * ONE;

/// Reads the number that begins at `at`, if one begins there.
pub(super) fn read(piece: &Piece, at: usize) -> Option<Numeral> {
    let first = piece.at(at)?;
    let numeral = if first.is_ascii_digit() {
        arabic(piece, at)
    } else if is_letter(first) {
        number_words::read(piece, at)
    } else {
        chinese(piece, at)
    };
    numeral.filter(|numeral| numeral.value <= LARGEST)
}

fn arabic(piece: &Piece, at: usize) -> Option<Numeral> {
    let (mut value, mut end) = plain(piece, at)?;
    let mut scale = 1;
    while let Some((factor, behind)) = scale_at(piece, end) {
        value = value.checked_mul(factor)?;
        scale *= factor;
        end = behind;
        if scale > 1_000_000_000_000 {
            break;
        }
    }
    // 3万5千: a smaller scale may follow a larger one.
    if scale == 10_000
        && let Some((more, behind)) = plain(piece, end)
        && let Some(factor @ (100 | 1000)) = piece.at(behind).and_then(small_scale)
    {
        value = value.checked_add(more.checked_mul(factor)?)?;
        end = behind + 1;
    }
    let (precision, end) = suffix(piece, end, Precision::Exact);
    Some(Numeral {
        value,
        end,
        scale,
        precision,
        script: Script::Arabic,
    })
}

/// Reads digits with groups of thousands and a fraction.
fn plain(piece: &Piece, at: usize) -> Option<(i128, usize)> {
    let digit = |index: usize| piece.at(index).and_then(|c| c.to_digit(10));
    let mut value: i128 = 0;
    let mut digits = 0;
    let mut end = at;
    loop {
        if let Some(read) = digit(end) {
            digits += 1;
            if digits > MOST_DIGITS {
                return None;
            }
            value = value * 10 + i128::from(read);
            end += 1;
        } else if is_group(piece, end) && digits > 0 {
            end += 1;
        } else {
            break;
        }
    }
    if digits == 0 {
        return None;
    }
    value *= ONE;
    if piece.at(end) == Some('.') && digit(end + 1).is_some() {
        end += 1;
        let mut weight = ONE;
        while let Some(read) = digit(end) {
            weight /= 10;
            value += i128::from(read) * weight;
            end += 1;
        }
    }
    Some((value, end))
}

/// Whether a comma stands here that is followed by exactly three digits.
fn is_group(piece: &Piece, at: usize) -> bool {
    let digit = |index: usize| piece.is(index, |c| c.is_ascii_digit());
    piece.at(at) == Some(',') && (1..=3).all(|ahead| digit(at + ahead)) && !digit(at + 4)
}

/// Reads a scale behind Arabic digits: 万, `million`, `k`.
fn scale_at(piece: &Piece, at: usize) -> Option<(i128, usize)> {
    let next = piece.skip_spaces(at);
    if let Some(scale) = piece.at(next).and_then(large_scale) {
        return Some((scale, next + 1));
    }
    if let Some(scale @ (100 | 1000)) = piece.at(at).and_then(small_scale) {
        let is_unit = ["千克", "千米", "千瓦", "千卡", "千焦", "百分"]
            .iter()
            .any(|unit| piece.has(at, unit));
        return (!is_unit).then_some((scale, at + 1));
    }
    if let Some((word, end)) = piece.word(next)
        && next > at
        && let Some(scale) = number_words::scale_of(&word)
    {
        return Some((scale, end));
    }
    let letter = piece.written.get(at)?;
    let scale = match letter {
        'k' => 1000,
        'M' => 1_000_000,
        'B' => 1_000_000_000,
        _ => return None,
    };
    (!piece.is(at + 1, |c| c.is_ascii_alphanumeric())).then_some((scale, at + 1))
}

const fn large_scale(c: char) -> Option<i128> {
    match c {
        '万' => Some(10_000),
        '亿' => Some(100_000_000),
        _ => None,
    }
}

const fn small_scale(c: char) -> Option<i128> {
    match c {
        '十' => Some(10),
        '百' => Some(100),
        '千' => Some(1000),
        _ => None,
    }
}

pub(super) const fn chinese_digit(c: char) -> Option<i128> {
    Some(match c {
        '零' => 0,
        '一' => 1,
        '二' | '两' => 2,
        '三' => 3,
        '四' => 4,
        '五' => 5,
        '六' => 6,
        '七' => 7,
        '八' => 8,
        '九' => 9,
        _ => return None,
    })
}

/// Reads what may follow a number and makes it less exact: 多, 余, 几, +.
pub(super) fn suffix(piece: &Piece, end: usize, precision: Precision) -> (Precision, usize) {
    match piece.at(end) {
        Some('多' | '余' | '几' | '+') if precision == Precision::Exact => (Precision::AndMore, end + 1),
        _ => (precision, end),
    }
}

fn chinese(piece: &Piece, at: usize) -> Option<Numeral> {
    let first = piece.at(at)?;
    // 倒数, 人数 and 分数 end with 数, which then begins no number.
    let is_end = piece
        .before(at)
        .is_some_and(|c| "倒分人次指参多少件度倍位岁函系常总个".contains(c));
    if first == '几' || first == '数' && !is_end {
        return order(piece, at + 1);
    }
    if first == '半' {
        return Some(Numeral {
            value: ONE / 2,
            end: at + 1,
            scale: 1,
            precision: Precision::Exact,
            script: Script::Chinese,
        });
    }
    let run = piece.run(at, |c| chinese_digit(c).is_some());
    if run >= 2 {
        return Some(row_of_digits(piece, at, run));
    }
    with_scales(piece, at)
}

/// Reads the number behind 几 or 数: 几百万.
fn order(piece: &Piece, at: usize) -> Option<Numeral> {
    let mut value = ONE;
    let mut end = at;
    let mut scale = 1;
    while let Some(factor) = piece
        .at(end)
        .and_then(|c| small_scale(c).or_else(|| large_scale(c)))
    {
        value = value.checked_mul(factor)?;
        scale *= factor;
        end += 1;
        if end - at > 4 {
            return None;
        }
    }
    (end > at).then_some(Numeral {
        value,
        end,
        scale,
        precision: Precision::Order,
        script: Script::Chinese,
    })
}

/// Reads digits without scales: a year (二零二六) has four, a vague number (三五, 两三) has two.
fn row_of_digits(piece: &Piece, at: usize, run: usize) -> Numeral {
    let digits = (at..at + run).filter_map(|index| piece.at(index).and_then(chinese_digit));
    let value = digits
        .take(MOST_DIGITS)
        .fold(0, |value, digit| value * 10 + digit)
        * ONE;
    let is_number = run == 4 || piece.has(at + run, "折") || (run == 2 && piece.has(at + 1, "零")) || run > 4;
    let scaled = piece.is(at + run, |c| small_scale(c).or_else(|| large_scale(c)).is_some());
    Numeral {
        value,
        end: at + run + usize::from(scaled),
        scale: 1,
        precision: if is_number && !scaled {
            Precision::Exact
        } else {
            Precision::Vague
        },
        script: Script::Chinese,
    }
}

fn with_scales(piece: &Piece, at: usize) -> Option<Numeral> {
    // The whole value, the value below the last 万 or 亿, and the digit that waits for its scale.
    let (mut total, mut section, mut digit): (i128, i128, Option<i128>) = (0, 0, None);
    let (mut last_small, mut scale) = (1, 1);
    let mut end = at;
    let mut after_zero = false;
    while end - at < 24 {
        let Some(c) = piece.at(end) else { break };
        if let Some(read) = chinese_digit(c) {
            if digit.is_some_and(|digit| digit != 0) {
                break;
            }
            after_zero = after_zero || read == 0;
            digit = Some(read);
        } else if let Some(factor) = small_scale(c) {
            if is_other_word(piece, end) {
                break;
            }
            section += digit.take().unwrap_or(1) * factor;
            last_small = factor;
            after_zero = false;
            scale = 1;
        } else if let Some(factor) = large_scale(c) {
            if is_other_word(piece, end) {
                break;
            }
            let below = section + digit.take().unwrap_or(0);
            total = (total + if below == 0 { i128::from(total == 0) } else { below }).checked_mul(factor)?;
            (section, last_small, scale, after_zero) = (0, factor, factor, false);
        } else {
            break;
        }
        end += 1;
    }
    if end == at {
        return None;
    }
    // 两万五 and 一百二: the last digit has the next smaller scale.
    let last = digit.unwrap_or(0);
    let weight = if last_small >= 100 && !after_zero {
        last_small / 10
    } else {
        1
    };
    let mut value = (total + section + last * weight).checked_mul(ONE)?;
    if let Some((fraction, behind)) = fraction(piece, end, digit.is_some() || section > 0) {
        value += fraction;
        end = behind;
        if let Some(factor) = piece.at(end).and_then(large_scale) {
            value = value.checked_mul(factor)?;
            scale = factor;
            end += 1;
        }
    }
    let (precision, end) = suffix(piece, end, Precision::Exact);
    Some(Numeral {
        value,
        end,
        scale,
        precision,
        script: Script::Chinese,
    })
}

/// Whether the scale begins another word: 百分之, 千克.
fn is_other_word(piece: &Piece, at: usize) -> bool {
    ["百分", "千克", "千米", "千瓦", "千卡", "千焦"]
        .iter()
        .any(|word| piece.has(at, word))
}

/// Reads 点 and the digits behind it. A time of day (三点二十, 七点半) is no fraction.
fn fraction(piece: &Piece, at: usize, has_digit: bool) -> Option<(i128, usize)> {
    if piece.at(at) != Some('点') || !has_digit {
        return None;
    }
    let mut end = at + 1;
    let (mut value, mut weight) = (0, ONE);
    while let Some(digit) = piece.at(end).and_then(chinese_digit) {
        weight /= 10;
        value += digit * weight;
        end += 1;
    }
    let is_time = piece.is(end, |c| matches!(c, '十' | '分' | '刻' | '半' | '个'));
    (end > at + 1 && !is_time).then_some((value, end))
}

#[cfg(test)]
mod tests {
    use super::super::piece::pieces;
    use super::*;

    fn value(text: &str) -> Option<(i128, Precision, usize)> {
        let piece = pieces(text).next()?;
        read(&piece, 0).map(|numeral| (numeral.value, numeral.precision, numeral.end))
    }

    #[test]
    fn one_value_has_many_forms() {
        for (texts, expected) in [
            (
                &[
                    "1000",
                    "1,000",
                    "一千",
                    "１，０００",
                    "one thousand",
                    "a thousand",
                    "1k",
                ][..],
                1000,
            ),
            (
                &[
                    "300000000",
                    "3亿",
                    "3 亿",
                    "三亿",
                    "300 million",
                    "three hundred million",
                    "3万万",
                ],
                300_000_000,
            ),
            (
                &[
                    "12000",
                    "1.2万",
                    "一万二",
                    "一万两千",
                    "1万2千",
                    "一点二万",
                    "12 thousand",
                ],
                12_000,
            ),
            (&["80", "八十", "eighty", "80.0"], 80),
            (
                &[
                    "125",
                    "一百二十五",
                    "a hundred and twenty-five",
                    "one hundred twenty five",
                ],
                125,
            ),
            (&["2026", "二零二六", "二〇二六"], 2026),
            (&["105", "一百零五"], 105),
            (&["15", "十五", "fifteen"], 15),
        ] {
            for text in texts {
                let end = text.chars().count();
                assert_eq!(
                    value(text),
                    Some((expected * ONE, Precision::Exact, end)),
                    "{text}"
                );
            }
        }
        assert_eq!(value("零点五"), Some((ONE / 2, Precision::Exact, 3)));
        assert_eq!(value("3.14159265"), Some((3_141_592, Precision::Exact, 10)));
    }

    #[test]
    fn a_number_can_be_less_than_exact() {
        assert_eq!(value("3000多"), Some((3000 * ONE, Precision::AndMore, 5)));
        assert_eq!(value("十几"), Some((10 * ONE, Precision::AndMore, 2)));
        assert_eq!(value("几百万"), Some((1_000_000 * ONE, Precision::Order, 3)));
        assert_eq!(value("millions"), Some((1_000_000 * ONE, Precision::Order, 8)));
        assert_eq!(
            value("三五").map(|(_, precision, _)| precision),
            Some(Precision::Vague)
        );
    }

    #[test]
    fn other_words_and_codes_are_no_numbers() {
        assert_eq!(value("1234567890123456"), None);
        assert_eq!(value("thousand"), None);
        assert_eq!(value("and"), None);
        assert_eq!(value("好"), None);
        assert_eq!(
            value("三点半").map(|(value, _, end)| (value, end)),
            Some((3 * ONE, 1))
        );
        assert_eq!(value("1,00"), Some((ONE, Precision::Exact, 1)));
        assert_eq!(
            value("五千克").map(|(value, _, end)| (value, end)),
            Some((5 * ONE, 1))
        );
        assert_eq!(value(&"万".repeat(40)), None);
        assert!(value(&"亿".repeat(9)).is_none());
    }
}
