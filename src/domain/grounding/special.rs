//! Quantities that are read by their own patterns: prices with a currency sign, percentages, fractions, multiples, and
//! things that a product lacks.

use super::exempt;
use super::numerals::{self, ONE, Precision, Script};
use super::piece::Piece;
use super::quantities::{QuantityReading, bound, price_with_unit, range_end};
use super::statement::{Bound, Content, Need, Quantity, Statement, Value};
use super::units::{self, Measure};

/// Reads a quantity whose form says what it is, without a unit behind its number.
pub(super) fn read(piece: &Piece, at: usize) -> Option<QuantityReading> {
    price(piece, at)
        .or_else(|| fraction(piece, at))
        .or_else(|| english_words(piece, at))
        .or_else(|| protection_factor(piece, at))
        .or_else(|| absence(piece, at))
        .or_else(|| multiple(piece, at))
}

fn statement(
    piece: &Piece,
    start: usize,
    end: usize,
    value: i128,
    measure: Measure,
    fallback: Bound,
) -> QuantityReading {
    let limits = bound(piece, start, end, Precision::Exact);
    QuantityReading {
        end,
        statement: Some(Statement {
            start,
            end,
            content: Content::Quantity(Quantity {
                values: vec![Value {
                    base: value,
                    written: value,
                }],
                measure,
                bound: if limits == Bound::Exactly {
                    fallback
                } else {
                    limits
                },
            }),
            need: Need::Always,
        }),
    }
}

/// Reads a price with its currency sign in front.
fn price(piece: &Piece, at: usize) -> Option<QuantityReading> {
    let (measure, number) = units::currency(piece, at)?;
    let numeral = numerals::read(piece, number)?;
    let mut values = vec![numeral.value];
    let mut end = numeral.end;
    if let Some(second) = range_end(piece, end) {
        values.push(second.value);
        end = second.end;
    }
    Some(price_with_unit(piece, at, values, numeral, measure, end))
}

fn protection_factor(piece: &Piece, at: usize) -> Option<QuantityReading> {
    if !piece.has(at, "spf") {
        return None;
    }
    let numeral = numerals::read(piece, piece.skip_spaces(at + 3))?;
    Some(statement(
        piece,
        at,
        numeral.end,
        numeral.value,
        Measure::Spf,
        Bound::Exactly,
    ))
}

/// Reads 零添加, 0糖, `zero sugar`.
fn absence(piece: &Piece, at: usize) -> Option<QuantityReading> {
    const THINGS: &[&str] = &[
        "添加",
        "糖",
        "脂",
        "卡",
        "蔗糖",
        "香精",
        "酒精",
        "色素",
        "防腐剂",
        "反式脂肪",
        "甲醛",
        "激素",
        "谷物",
        "刺激",
        "奶精",
        "植脂末",
        "咖啡因",
        "残留",
        "sugar",
        "calories",
        "fat",
        "carbs",
        "alcohol",
        "emissions",
    ];
    let mark = piece.any(at, &["零", "0", "zero ", "zero-"])?;
    let begins = piece.skip_spaces(at + mark.chars().count());
    let thing = THINGS
        .iter()
        .filter(|thing| piece.has(begins, thing))
        .max_by_key(|thing| thing.len())?;
    let end = begins + thing.chars().count();
    Some(QuantityReading {
        end,
        statement: Some(Statement {
            start: at,
            end,
            content: Content::Absent((*thing).to_owned()),
            need: Need::Always,
        }),
    })
}

/// Returns `part / whole` as a percentage.
fn percentage(part: i128, whole: i128) -> Option<i128> {
    part.checked_mul(100)?.checked_mul(ONE)?.checked_div(whole)
}

/// Reads 百分之八十, 三分之二, 2/3, `9 out of 10`, 一半, 半价.
fn fraction(piece: &Piece, at: usize) -> Option<QuantityReading> {
    if piece.has(at, "百分之") {
        let numeral = numerals::read(piece, at + 3)?;
        return Some(statement(
            piece,
            at,
            numeral.end,
            numeral.value,
            Measure::Percent,
            Bound::Exactly,
        ));
    }
    if let Some(word) = piece.any(at, &["百分百", "百分之百"]) {
        let end = at + word.chars().count();
        return Some(statement(
            piece,
            at,
            end,
            100 * ONE,
            Measure::Percent,
            Bound::Exactly,
        ));
    }
    if piece.has(at, "半价") {
        return Some(statement(
            piece,
            at,
            at + 2,
            5 * ONE,
            Measure::Discount,
            Bound::Exactly,
        ));
    }
    if piece.has(at, "一半") {
        let stated = piece.any(at + 2, &["的", "以上", "多"]).is_some()
            || piece
                .any_before(
                    at,
                    &[
                        "超过", "超", "近", "将近", "约", "不到", "了", "便宜", "少", "减", "降", "低", "省",
                        "贵",
                    ],
                )
                .is_some();
        let mut reading = statement(piece, at, at + 2, 50 * ONE, Measure::Percent, Bound::Exactly);
        if let Some(statement) = &mut reading.statement {
            statement.need = Need::always_if(stated);
        }
        return Some(reading);
    }
    let first = numerals::read(piece, at)?;
    let (second, part, whole) = if piece.has(first.end, "分之") {
        let second = numerals::read(piece, first.end + 2)?;
        (second, second.value, first.value)
    } else if piece.has(first.end, "/") {
        let second = numerals::read(piece, first.end + 1)?;
        let digits = second.script == Script::Arabic && first.script == Script::Arabic;
        let followed = piece.is(second.end, |c| {
            matches!(c, '/' | '.') || c.is_ascii_alphanumeric()
        });
        let small = second.value <= 12 * ONE && first.value < second.value;
        (digits && small && !followed && piece.before(at) != Some('/')).then_some(())?;
        (second, first.value, second.value)
    } else {
        let next = piece.skip_spaces(first.end);
        let length = piece
            .any(next, &["out of every ", "out of ", "in every ", "in "])
            .map(str::len)?;
        let second = numerals::read(piece, piece.skip_spaces(next + length))?;
        let plausible = second.value <= 1000 * ONE && first.value < second.value && second.value > 2 * ONE;
        let stands_alone = units::read(piece, piece.skip_spaces(second.end)).is_none();
        (plausible && stands_alone && next > first.end).then_some(())?;
        (second, first.value, second.value)
    };
    let value = percentage(part, whole)?;
    Some(statement(
        piece,
        at,
        second.end,
        value,
        Measure::Percent,
        Bound::Fraction,
    ))
}

/// Reads English words that are quantities by themselves: `half of`, `a third`, `twice as fast`, `doubled`, `dozens of`.
fn english_words(piece: &Piece, at: usize) -> Option<QuantityReading> {
    piece.word_end(at)?;
    let words = piece.words(at, 3);
    let word = |index: usize| words.get(index).map_or("", |(word, _)| word.as_str());
    let end = |index: usize| words.get(index).map_or(at, |(_, end)| *end);
    let before = piece.words_before(at, 1);
    let before = before.first().map_or("", String::as_str);
    let percent = |end, value| {
        Some(statement(
            piece,
            at,
            end,
            value,
            Measure::Percent,
            Bound::Fraction,
        ))
    };
    match (word(0), word(1)) {
        ("half", "an") if word(2) == "hour" => {
            let mut reading = statement(piece, at, end(2), 1800 * ONE, Measure::Seconds, Bound::Exactly);
            if let Some(statement) = &mut reading.statement {
                statement.need = Need::always_if(!exempt::is_instruction(piece, at, end(2)));
            }
            Some(reading)
        }
        ("half", "of" | "the" | "our" | "their") => percent(end(0), 50 * ONE),
        ("half", "a") => None,
        ("half", _) if matches!(before, "than" | "by" | "nearly" | "almost") => percent(end(0), 50 * ONE),
        ("a" | "one", "third") => percent(end(1), percentage(1, 3)?),
        ("two", "thirds") => percent(end(1), percentage(2, 3)?),
        ("two-thirds", _) => percent(end(0), percentage(2, 3)?),
        ("one-third", _) => percent(end(0), percentage(1, 3)?),
        ("a" | "one", "quarter") if word(2) == "of" => percent(end(1), 25 * ONE),
        ("three", "quarters") => percent(end(1), 75 * ONE),
        ("twice", "as" | "the") => Some(statement(
            piece,
            at,
            end(1),
            2 * ONE,
            Measure::Times,
            Bound::Exactly,
        )),
        ("doubled" | "doubles", _) => Some(statement(
            piece,
            at,
            end(0),
            2 * ONE,
            Measure::Times,
            Bound::Exactly,
        )),
        ("tripled" | "triples", _) => Some(statement(
            piece,
            at,
            end(0),
            3 * ONE,
            Measure::Times,
            Bound::Exactly,
        )),
        ("dozens", "of") => Some(statement(
            piece,
            at,
            end(0),
            12 * ONE,
            Measure::Bare,
            Bound::Order,
        )),
        _ => None,
    }
}

/// Reads `three times as fast`, `10 times more`. Other times are occasions.
fn multiple(piece: &Piece, at: usize) -> Option<QuantityReading> {
    let numeral = numerals::read(piece, at)?;
    let words = piece.words(numeral.end, 2);
    let ((times, end), (behind, _)) = (words.first()?, words.get(1)?);
    let multiplies = matches!(behind.as_str(), "as" | "more" | "the" | "less") || behind.ends_with("er");
    (times == "times" && multiplies && behind != "over" && behind != "per" && behind != "after")
        .then(|| statement(piece, at, *end, numeral.value, Measure::Times, Bound::Exactly))
}
