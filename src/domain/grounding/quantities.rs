//! Numbers with their units, prices, percentages and fractions.

use super::counts::{self, CountedThing};
use super::exempt;
use super::numerals::{self, Numeral, ONE, Precision, Script};
use super::piece::{Piece, is_han, is_letter};
use super::special;
use super::statement::{Bound, Content, Need, Quantity, Statement, Value};
use super::units::{self, Measure};

/// Numbers of sales days, roads and services that everyone knows; without a unit they are names.
const NAMES: [i128; 11] = [110, 119, 120, 123, 315, 360, 520, 618, 911, 996, 1111];

/// The part of a piece that a rule has read, with the statement in it, if it is one.
pub(super) struct QuantityReading {
    pub(super) end: usize,
    pub(super) statement: Option<Statement>,
}

/// Reads the quantity that begins at `at`. A number that states nothing is read without a statement.
pub(super) fn read(piece: &Piece, at: usize) -> Option<QuantityReading> {
    let skip = |end| Some(QuantityReading { end, statement: None });
    if let Some(end) = exempt::code(piece, at).or_else(|| exempt::expression(piece, at)) {
        return skip(end);
    }
    if let Some(reading) = special::read(piece, at) {
        return Some(reading);
    }
    let numeral = numerals::read(piece, at)?;
    if piece
        .before(at)
        .is_some_and(|c| numeral.script == Script::English && c == '-')
    {
        return skip(numeral.end);
    }
    if numeral.precision == Precision::Vague {
        return skip(numeral.end);
    }
    if let Some(end) = exempt::time_of_day(piece, &numeral) {
        return skip(end);
    }
    let is_list_mark = numeral.script == Script::Arabic && exempt::is_list_mark(piece, at, numeral.end);
    if is_list_mark || exempt::is_label(piece, at) {
        return skip(numeral.end);
    }
    Some(with_unit(piece, at, numeral))
}

/// Reads the unit of a number, and the second number of a range: 20-35岁.
fn with_unit(piece: &Piece, start: usize, first: Numeral) -> QuantityReading {
    let mut numerals = vec![first];
    if let Some(second) = range_end(piece, first.end) {
        numerals.push(second);
    }
    let last = numerals.last().copied().unwrap_or(first);
    let half = half_behind(piece, last.end);
    let number_end = half.unwrap_or(last.end);
    let mut values: Vec<i128> = numerals.iter().map(|numeral| numeral.value).collect();
    if let (Some(value), Some(first_value)) = (values.last().copied(), values.first_mut())
        && last.scale > first.scale
        && *first_value < value
    {
        // 3-5万 is 30 000 to 50 000.
        *first_value *= last.scale;
    }
    if half.is_some()
        && let Some(value) = values.last_mut()
    {
        *value += ONE / 2;
    }
    let number = Number {
        start,
        values,
        end: number_end,
        numeral: last,
    };
    number.reading(piece)
}

pub(super) fn range_end(piece: &Piece, at: usize) -> Option<Numeral> {
    let mark = piece.skip_spaces(at);
    let length = match piece.at(mark)? {
        '-' | '~' | '至' | '到' => 1,
        't' if piece.has(mark, "to ") && mark > at => 3,
        _ => return None,
    };
    let second = piece.skip_spaces(mark + length);
    let numeral = numerals::read(piece, second)?;
    let exact = matches!(numeral.precision, Precision::Exact | Precision::AndMore);
    (exact && exempt::time_of_day(piece, &numeral).is_none()).then_some(numeral)
}

/// Returns the end of a half behind a number: 一个半, `two and a half`.
fn half_behind(piece: &Piece, at: usize) -> Option<usize> {
    if piece.has(at, "个半") && piece.any(at + 2, &["小时", "月", "钟", "星期"]).is_some() {
        return Some(at + 2);
    }
    let next = piece.skip_spaces(at);
    let text = "and a half";
    piece.has(next, text).then_some(next + text.len())
}

/// A number without its unit.
struct Number {
    start: usize,
    values: Vec<i128>,
    end: usize,
    /// The last numeral of the number.
    numeral: Numeral,
}

impl Number {
    fn reading(self, piece: &Piece) -> QuantityReading {
        let next = piece.skip_spaces(self.end);
        // A hyphen joins a number and its unit: 5-minute.
        let hyphen = piece.has(self.end, "-") && piece.is(self.end + 1, is_letter);
        let next = if hyphen { self.end + 1 } else { next };
        let after_half =
            usize::from(self.values.last().is_some_and(|v| v % ONE != 0) && piece.has(self.end, "月"));
        if after_half == 1 && piece.before(self.end) == Some('半') {
            let end = self.end + 1;
            return self.stated(piece, Measure::Months, (1, 1), end);
        }
        let glued_letters = piece.is(self.end, is_letter);
        if let Some((unit, end)) = units::read(piece, next)
            && (next == self.end || hyphen || !unit.spelling.starts_with('x'))
            && !self.counts_pieces(piece, unit.spelling, end)
        {
            return self.with_written_unit(piece, unit, end);
        }
        if glued_letters {
            // 3C, 4K: the number is a part of a name.
            let end = self.end + piece.run(self.end, |c| c.is_ascii_alphanumeric());
            return QuantityReading { end, statement: None };
        }
        if let Some(counted) = counts::read(piece, self.start, next) {
            return self.counted(piece, counted);
        }
        self.bare(piece)
    }

    /// Whether 块 is a measure word for pieces: 三块巧克力, but not 三块钱 or 59块.
    fn counts_pieces(&self, piece: &Piece, unit: &str, end: usize) -> bool {
        const BEHIND_A_PRICE: &[&str] = &[
            "一", "多", "左右", "的", "就", "不", "起", "以", "能", "买", "包", "钱", "，", "每", "五", "二",
            "三", "八", "六", "四", "九",
        ];
        unit == "块"
            && self.values.iter().all(|value| *value <= 10 * ONE)
            && piece.is(end, is_han)
            && piece.any(end, BEHIND_A_PRICE).is_none()
    }

    fn with_written_unit(self, piece: &Piece, unit: &units::WrittenUnit, unit_end: usize) -> QuantityReading {
        let mut number = self;
        let mut end = unit_end;
        // 八成五, 两块五, 一米六: a digit behind the unit is a tenth of it.
        let tenths = piece.at(end).and_then(numerals::chinese_digit);
        let more = match tenths {
            Some(digit) if matches!(unit.spelling, "成" | "块" | "米") => digit * ONE / 10,
            // 三年半, 两小时半.
            None if unit.measure.is_duration()
                && piece.has(end, "半")
                && piece.any(end, &["半夜", "半路"]).is_none() =>
            {
                ONE / 2
            }
            _ => 0,
        };
        if more > 0 {
            end += 1;
        }
        for value in &mut number.values {
            // 85折 is 8.5折.
            if unit.measure == Measure::Discount && *value > 10 * ONE {
                *value /= 10;
            }
        }
        if let Some(value) = number.values.last_mut() {
            *value += more;
        }
        number.stated(piece, unit.measure, unit.factor, end)
    }

    fn stated(self, piece: &Piece, measure: Measure, factor: (i128, i128), end: usize) -> QuantityReading {
        let needs_source = self.needs_source(piece, measure, end);
        let value = |written: &i128| Value {
            base: written * factor.0 / factor.1,
            written: *written,
        };
        let quantity = Quantity {
            values: self.values.iter().map(value).collect(),
            measure,
            bound: bound(piece, self.start, end, self.numeral.precision),
        };
        QuantityReading {
            end,
            statement: Some(Statement {
                start: self.start,
                end,
                content: Content::Quantity(quantity),
                need: Need::always_if(needs_source),
            }),
        }
    }

    /// Whether a number with a unit states something about the world.
    fn needs_source(&self, piece: &Piece, measure: Measure, end: usize) -> bool {
        let is_one = self.values.len() == 1 && self.values.first() == Some(&ONE);
        let in_words = self.numeral.script != Script::Arabic;
        let states_always = measure.is_price() || matches!(measure, Measure::Percent | Measure::Times);
        if is_one && in_words && !states_always {
            return measure.is_duration() && exempt::is_promised_in_one(piece, self.start, end);
        }
        match measure {
            Measure::Seconds | Measure::Months => {
                let recent = self.values.first() == Some(&(2 * ONE))
                    && in_words
                    && piece
                        .any_before(self.start, &["这", "前", "过", "近", "那"])
                        .is_some();
                !recent && !exempt::is_instruction(piece, self.start, end)
            }
            // 七分饱 and 八分熟 are manners of speaking; 4.9分 and 打九分 are ratings.
            Measure::Points => {
                self.numeral.script == Script::Arabic
                    || piece
                        .any_before(self.start, &["打", "评分", "得分", "满分", "拿下", "获得"])
                        .is_some()
            }
            _ => true,
        }
    }

    fn counted(self, piece: &Piece, counted: counts::Counted) -> QuantityReading {
        let is_small = self
            .values
            .iter()
            .all(|value| *value <= 10 * ONE && value % ONE == 0);
        let is_one = self.values.iter().all(|value| *value <= ONE && value % ONE == 0);
        let is_order = self.numeral.precision == Precision::Order;
        let need = match counted.thing {
            _ if is_half_of_a_thing(&self) => Need::Never,
            CountedThing::OwnList => {
                // 一万步 are steps of feet.
                let walks = self.values.iter().any(|value| *value > 100 * ONE);
                Need::always_if(walks && piece.has(counted.end - 1, "步"))
            }
            CountedThing::Fact => Need::always_if(!is_one || is_order),
            CountedThing::Everyday if !is_small || is_order => Need::Always,
            CountedThing::Everyday if is_one => Need::Never,
            CountedThing::Everyday => noun(piece, counted.end, self.end).map_or(Need::Never, Need::IfCounted),
        };
        let start = self.start;
        let end = counted.end.max(self.end);
        let mut reading = self.stated(piece, counted.measure, (1, 1), end);
        // A stop between a number and its noun does not belong to the word.
        reading.end = end.max(start + 1);
        if let Some(statement) = &mut reading.statement {
            statement.need = need;
            while statement.end > statement.start + 1 && piece.is(statement.end - 1, |c| c == ' ') {
                statement.end -= 1;
            }
        }
        reading
    }

    fn bare(self, piece: &Piece) -> QuantityReading {
        let whole = self.values.iter().all(|value| value % ONE == 0);
        let is_small = self.values.iter().all(|value| *value <= 10 * ONE);
        let is_name = self
            .values
            .iter()
            .any(|value| NAMES.contains(&(value / ONE)) && value % ONE == 0)
            && self.numeral.script == Script::Arabic;
        let is_kind = self.numeral.scale == 1
            && piece
                .any(
                    self.end,
                    &[
                        "后", "强", "版", "级", "号", "路", "型", "代", "期", "线", "班", "季", "集", "楼",
                        "栋", "码", ".0",
                    ],
                )
                .is_some();
        // An unknown measure word stands behind the number: 两晚.
        let measured = whole && is_small && piece.is(self.end, is_han);
        let in_chinese = self.numeral.script == Script::Chinese;
        let needs_source = !(is_name || is_kind || is_small && (whole || in_chinese));
        let end = self.end;
        let measure = if measured { Measure::Things } else { Measure::Bare };
        let mut reading = self.stated(piece, measure, (1, 1), end);
        if let Some(statement) = &mut reading.statement {
            statement.need = Need::always_if(needs_source);
        }
        reading
    }
}

/// Returns the noun of a counted thing: two Chinese characters behind the measure word, or one English word.
fn noun(piece: &Piece, end: usize, number_end: usize) -> Option<String> {
    if let Some((word, _)) = piece.words(number_end, 1).first() {
        return Some(word.trim_end_matches('s').to_owned());
    }
    let is_noun = piece.is(end, is_han)
        && piece.is(end + 1, is_han)
        && !piece.is(end, |c| "的就都能也在是".contains(c));
    is_noun.then(|| piece.folded_text(end, end + 2))
}

/// Whether the number is 半 before a thing: 半杯, 半颗.
fn is_half_of_a_thing(number: &Number) -> bool {
    number.values == [ONE / 2] && number.numeral.script == Script::Chinese
}

/// Returns the reading of a price whose unit is already read.
pub(super) fn price_with_unit(
    piece: &Piece,
    start: usize,
    values: Vec<i128>,
    numeral: Numeral,
    measure: Measure,
    end: usize,
) -> QuantityReading {
    let number = Number {
        start,
        values,
        end,
        numeral,
    };
    number.stated(piece, measure, (1, 1), end)
}

/// Reads the words around a number that limit its value.
pub(super) fn bound(piece: &Piece, start: usize, end: usize, precision: Precision) -> Bound {
    const ABOUT: &[&str] = &["将近", "接近", "近", "大约", "约", "大概", "差不多", "~", "约为"];
    const AT_LEAST: &[&str] = &[
        "超过", "超出", "超", "逾", "突破", "破", "多于", "不止", "至少", "高于", "上",
    ];
    const AT_MOST: &[&str] = &["不到", "不足", "少于", "低于", "不超过", "最多"];
    if precision == Precision::Order {
        return Bound::Order;
    }
    let before = start - usize::from(piece.before(start) == Some(' '));
    let words = piece.words_before(start, 2);
    let word = |index: usize| words.get(index).map_or("", String::as_str);
    let pair = (word(1), word(0));
    if piece.any_before(before, AT_MOST).is_some()
        || piece.any(end, &["以内", "以下", "不到"]).is_some()
        || matches!(pair, ("less" | "fewer" | "lower", "than") | ("at", "most"))
        || word(0) == "under"
        || word(0) == "below"
    {
        return Bound::AtMost;
    }
    if precision == Precision::AndMore
        || piece.any_before(before, AT_LEAST).is_some()
        || piece.any(end, &["以上", "多", "+", "出头"]).is_some()
        || matches!(pair, ("more", "than") | ("at", "least"))
        || matches!(word(0), "over" | "above")
    {
        return Bound::AtLeast;
    }
    let about = [
        "about",
        "around",
        "roughly",
        "nearly",
        "almost",
        "approximately",
        "some",
    ];
    if piece.any_before(before, ABOUT).is_some()
        || piece.any(end, &["左右", "上下"]).is_some()
        || about.contains(&word(0))
        || (about.contains(&word(1)) && matches!(word(0), "a" | "one"))
    {
        return Bound::About;
    }
    Bound::Exactly
}
