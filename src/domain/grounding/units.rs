//! Units behind numbers, folded to one unit for each kind of quantity.

use super::piece::{Piece, is_letter};

/// The kind of a quantity. Values of one kind have one base unit, so that one hour equals sixty minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Measure {
    /// A number without a unit.
    Bare,
    Percent,
    /// Two times, 两倍.
    Times,
    Seconds,
    Months,
    /// Years of a life.
    Age,
    /// The decade of a century, such as the nineties.
    Decade,
    Yuan,
    Dollars,
    Pounds,
    Euros,
    Yen,
    /// Tenths of a price: 8折.
    Discount,
    Milligrams,
    Millilitres,
    Millimetres,
    SquareMetres,
    Degrees,
    Watts,
    Volts,
    MilliampHours,
    Hertz,
    Megabytes,
    Pixels,
    Calories,
    Decibels,
    /// Points of a rating.
    Points,
    Stars,
    /// A sun protection factor.
    Spf,
    /// Things of any sort that are counted.
    Things,
    People,
    Cities,
    Countries,
    Stores,
}

impl Measure {
    pub(super) const fn is_price(self) -> bool {
        matches!(
            self,
            Self::Yuan | Self::Dollars | Self::Pounds | Self::Euros | Self::Yen | Self::Discount
        )
    }

    pub(super) const fn is_duration(self) -> bool {
        matches!(self, Self::Seconds | Self::Months)
    }
}

/// A unit as it is written: its kind, and the factor to the kind's base unit as a fraction.
pub(super) struct WrittenUnit {
    pub(super) spelling: &'static str,
    pub(super) measure: Measure,
    pub(super) factor: (i128, i128),
}

const fn unit(spelling: &'static str, measure: Measure, factor: i128) -> WrittenUnit {
    WrittenUnit {
        spelling,
        measure,
        factor: (factor, 1),
    }
}

const fn part(spelling: &'static str, measure: Measure, factor: (i128, i128)) -> WrittenUnit {
    WrittenUnit {
        spelling,
        measure,
        factor,
    }
}

const DAY: i128 = 86_400;

/// All units but counted things.
const UNITS: &[WrittenUnit] = &[
    unit("%", Measure::Percent, 1),
    unit("个百分点", Measure::Percent, 1),
    unit("百分点", Measure::Percent, 1),
    unit("percentage points", Measure::Percent, 1),
    unit("percent", Measure::Percent, 1),
    unit("per cent", Measure::Percent, 1),
    unit("成", Measure::Percent, 10),
    unit("倍", Measure::Times, 1),
    unit("x", Measure::Times, 1),
    unit("fold", Measure::Times, 1),
    part("毫秒", Measure::Seconds, (1, 1000)),
    part("ms", Measure::Seconds, (1, 1000)),
    unit("秒钟", Measure::Seconds, 1),
    unit("秒", Measure::Seconds, 1),
    unit("s", Measure::Seconds, 1),
    unit("sec", Measure::Seconds, 1),
    unit("second", Measure::Seconds, 1),
    unit("分钟", Measure::Seconds, 60),
    unit("min", Measure::Seconds, 60),
    unit("mins", Measure::Seconds, 60),
    unit("minute", Measure::Seconds, 60),
    unit("刻钟", Measure::Seconds, 900),
    unit("个小时", Measure::Seconds, 3600),
    unit("小时", Measure::Seconds, 3600),
    unit("个钟头", Measure::Seconds, 3600),
    unit("个钟", Measure::Seconds, 3600),
    unit("h", Measure::Seconds, 3600),
    unit("hr", Measure::Seconds, 3600),
    unit("hour", Measure::Seconds, 3600),
    unit("天", Measure::Seconds, DAY),
    unit("个工作日", Measure::Seconds, DAY),
    unit("day", Measure::Seconds, DAY),
    unit("周", Measure::Seconds, 7 * DAY),
    unit("个星期", Measure::Seconds, 7 * DAY),
    unit("星期", Measure::Seconds, 7 * DAY),
    unit("个礼拜", Measure::Seconds, 7 * DAY),
    unit("week", Measure::Seconds, 7 * DAY),
    unit("个月", Measure::Months, 1),
    unit("month", Measure::Months, 1),
    unit("个季度", Measure::Months, 3),
    unit("年代", Measure::Decade, 1),
    unit("年", Measure::Months, 12),
    unit("year-old", Measure::Age, 1),
    unit("years old", Measure::Age, 1),
    unit("years of age", Measure::Age, 1),
    unit("year", Measure::Months, 12),
    unit("decade", Measure::Months, 120),
    unit("周岁", Measure::Age, 1),
    unit("岁", Measure::Age, 1),
    unit("块钱", Measure::Yuan, 1),
    unit("块", Measure::Yuan, 1),
    unit("元", Measure::Yuan, 1),
    unit("yuan", Measure::Yuan, 1),
    unit("rmb", Measure::Yuan, 1),
    unit("人民币", Measure::Yuan, 1),
    part("毛钱", Measure::Yuan, (1, 10)),
    unit("美元", Measure::Dollars, 1),
    unit("美金", Measure::Dollars, 1),
    unit("dollar", Measure::Dollars, 1),
    unit("usd", Measure::Dollars, 1),
    unit("bucks", Measure::Dollars, 1),
    part("cent", Measure::Dollars, (1, 100)),
    unit("英镑", Measure::Pounds, 1),
    unit("欧元", Measure::Euros, 1),
    unit("euro", Measure::Euros, 1),
    unit("日元", Measure::Yen, 1),
    unit("yen", Measure::Yen, 1),
    unit("折", Measure::Discount, 1),
    unit("毫克", Measure::Milligrams, 1),
    unit("mg", Measure::Milligrams, 1),
    unit("milligram", Measure::Milligrams, 1),
    part("μg", Measure::Milligrams, (1, 1000)),
    part("微克", Measure::Milligrams, (1, 1000)),
    unit("克", Measure::Milligrams, 1000),
    unit("g", Measure::Milligrams, 1000),
    unit("gram", Measure::Milligrams, 1000),
    unit("公斤", Measure::Milligrams, 1_000_000),
    unit("千克", Measure::Milligrams, 1_000_000),
    unit("kg", Measure::Milligrams, 1_000_000),
    unit("kilo", Measure::Milligrams, 1_000_000),
    unit("kilogram", Measure::Milligrams, 1_000_000),
    unit("吨", Measure::Milligrams, 1_000_000_000),
    unit("tonne", Measure::Milligrams, 1_000_000_000),
    unit("斤", Measure::Milligrams, 500_000),
    unit("两重", Measure::Milligrams, 50_000),
    unit("oz", Measure::Milligrams, 28_350),
    unit("ounce", Measure::Milligrams, 28_350),
    unit("lb", Measure::Milligrams, 453_592),
    unit("lbs", Measure::Milligrams, 453_592),
    unit("pound", Measure::Milligrams, 453_592),
    unit("毫升", Measure::Millilitres, 1),
    unit("ml", Measure::Millilitres, 1),
    unit("millilitre", Measure::Millilitres, 1),
    unit("milliliter", Measure::Millilitres, 1),
    unit("升", Measure::Millilitres, 1000),
    unit("l", Measure::Millilitres, 1000),
    unit("litre", Measure::Millilitres, 1000),
    unit("liter", Measure::Millilitres, 1000),
    unit("毫米", Measure::Millimetres, 1),
    unit("mm", Measure::Millimetres, 1),
    unit("厘米", Measure::Millimetres, 10),
    unit("公分", Measure::Millimetres, 10),
    unit("cm", Measure::Millimetres, 10),
    unit("centimetre", Measure::Millimetres, 10),
    unit("centimeter", Measure::Millimetres, 10),
    unit("米", Measure::Millimetres, 1000),
    unit("m", Measure::Millimetres, 1000),
    unit("metre", Measure::Millimetres, 1000),
    unit("meter", Measure::Millimetres, 1000),
    unit("公里", Measure::Millimetres, 1_000_000),
    unit("千米", Measure::Millimetres, 1_000_000),
    unit("km", Measure::Millimetres, 1_000_000),
    unit("kilometre", Measure::Millimetres, 1_000_000),
    unit("kilometer", Measure::Millimetres, 1_000_000),
    unit("英里", Measure::Millimetres, 1_609_344),
    unit("mile", Measure::Millimetres, 1_609_344),
    part("英寸", Measure::Millimetres, (254, 10)),
    part("寸", Measure::Millimetres, (254, 10)),
    part("inch", Measure::Millimetres, (254, 10)),
    part("inches", Measure::Millimetres, (254, 10)),
    part("feet", Measure::Millimetres, (3048, 10)),
    unit("平方米", Measure::SquareMetres, 1),
    unit("平米", Measure::SquareMetres, 1),
    unit("平方", Measure::SquareMetres, 1),
    unit("平", Measure::SquareMetres, 1),
    unit("㎡", Measure::SquareMetres, 1),
    unit("m²", Measure::SquareMetres, 1),
    unit("square metres", Measure::SquareMetres, 1),
    unit("square meters", Measure::SquareMetres, 1),
    unit("摄氏度", Measure::Degrees, 1),
    unit("度", Measure::Degrees, 1),
    unit("℃", Measure::Degrees, 1),
    unit("°c", Measure::Degrees, 1),
    unit("°f", Measure::Degrees, 1),
    unit("°", Measure::Degrees, 1),
    unit("degree", Measure::Degrees, 1),
    unit("千瓦", Measure::Watts, 1000),
    unit("kw", Measure::Watts, 1000),
    unit("瓦", Measure::Watts, 1),
    unit("w", Measure::Watts, 1),
    unit("watt", Measure::Watts, 1),
    unit("伏", Measure::Volts, 1),
    unit("v", Measure::Volts, 1),
    unit("volt", Measure::Volts, 1),
    unit("毫安时", Measure::MilliampHours, 1),
    unit("毫安", Measure::MilliampHours, 1),
    unit("mah", Measure::MilliampHours, 1),
    unit("赫兹", Measure::Hertz, 1),
    unit("hz", Measure::Hertz, 1),
    unit("khz", Measure::Hertz, 1000),
    unit("ghz", Measure::Hertz, 1_000_000_000),
    unit("mb", Measure::Megabytes, 1),
    unit("gb", Measure::Megabytes, 1024),
    unit("tb", Measure::Megabytes, 1_048_576),
    unit("像素", Measure::Pixels, 1),
    unit("px", Measure::Pixels, 1),
    unit("pixel", Measure::Pixels, 1),
    unit("megapixel", Measure::Pixels, 1_000_000),
    unit("大卡", Measure::Calories, 1),
    unit("千卡", Measure::Calories, 1),
    unit("卡路里", Measure::Calories, 1),
    unit("kcal", Measure::Calories, 1),
    unit("calorie", Measure::Calories, 1),
    unit("卡", Measure::Calories, 1),
    part("千焦", Measure::Calories, (100, 418)),
    part("kj", Measure::Calories, (100, 418)),
    unit("分贝", Measure::Decibels, 1),
    unit("db", Measure::Decibels, 1),
    unit("decibel", Measure::Decibels, 1),
    unit("分", Measure::Points, 1),
    unit("point", Measure::Points, 1),
    unit("星级", Measure::Stars, 1),
    unit("颗星", Measure::Stars, 1),
    unit("星", Measure::Stars, 1),
    unit("star", Measure::Stars, 1),
];

/// Characters behind 成 with which it is another word: 成功, 成为, 成分.
const NOT_A_TENTH: &[&str] = &[
    "长", "为", "功", "本", "员", "果", "立", "就", "品", "都", "熟", "型", "分", "交", "不变", "语", "饱",
];

/// Reads the longest unit that begins at `at`. The unit of a counted thing is read by [`super::counts`].
pub(super) fn read(piece: &Piece, at: usize) -> Option<(&'static WrittenUnit, usize)> {
    let mut longest: Option<(&WrittenUnit, usize)> = None;
    for unit in UNITS {
        if !piece.has(at, unit.spelling) {
            continue;
        }
        let Some(end) = whole_unit(piece, at + unit.spelling.chars().count(), unit) else {
            continue;
        };
        if longest.is_none_or(|(_, longest_end)| end > longest_end) {
            longest = Some((unit, end));
        }
    }
    longest
}

/// Returns the end of the unit, or nothing if the spelling is a part of another word.
fn whole_unit(piece: &Piece, end: usize, unit: &WrittenUnit) -> Option<usize> {
    let other_word: &[&str] = match unit.spelling {
        "成" => NOT_A_TENTH,
        "年" => &["级", "糕", "轻", "货", "纪", "味"],
        "天" => &["然", "花", "才", "空", "气", "猫"],
        "星" => &["期", "座", "空", "人", "巴"],
        "周" => &["末", "边", "围"],
        "元" => &["素", "气", "宝", "旦"],
        "分" => &[
            "之", "类", "析", "享", "量", "开", "别", "手", "店", "公司", "裤", "袖", "饱", "半", "组",
        ],
        "卡" => &["片", "点", "车", "通", "其", "顿", "座", "路"],
        "度" => &["假", "过"],
        "米" => &["饭", "粉", "线", "其", "色", "白", "粒"],
        "升" => &["级", "职", "学", "温"],
        "折" => &["叠", "腾", "磨", "返"],
        "寸" => &["步"],
        "块" => &["状"],
        "平" => &[
            "均", "时", "衡", "静", "常", "安", "台", "凡", "整", "原", "等", "面", "滑", "稳", "行", "价",
        ],
        _ => &[],
    };
    if piece.any(end, other_word).is_some() {
        return None;
    }
    if !unit.spelling.ends_with(is_letter) {
        return Some(end);
    }
    let plural = usize::from(unit.spelling.len() > 2 && piece.has(end, "s"));
    let end = end + plural;
    let is_whole = !piece.is(end, |c| c.is_ascii_alphanumeric());
    // A capital G behind a number names a mobile network, not grams.
    let is_network = unit.spelling == "g" && piece.written.get(end - 1) == Some(&'G');
    (is_whole && !is_network).then_some(end)
}

/// Reads a currency sign before a number, and returns the kind and the index of the number.
pub(super) fn currency(piece: &Piece, at: usize) -> Option<(Measure, usize)> {
    const SIGNS: &[(&str, Measure)] = &[
        ("¥", Measure::Yuan),
        ("rmb", Measure::Yuan),
        ("cny", Measure::Yuan),
        ("us$", Measure::Dollars),
        ("$", Measure::Dollars),
        ("usd", Measure::Dollars),
        ("£", Measure::Pounds),
        ("€", Measure::Euros),
    ];
    let (sign, measure) = SIGNS.iter().find(|(sign, _)| piece.has(at, sign))?;
    let behind = at + sign.chars().count();
    let number = piece.skip_spaces(behind);
    (number - behind <= 1 && piece.is(number, |c| c.is_ascii_digit())).then_some((*measure, number))
}

#[cfg(test)]
mod tests {
    use super::super::piece::pieces;
    use super::*;

    fn measure(text: &str) -> Option<(Measure, usize)> {
        let piece = pieces(text).next()?;
        read(&piece, 0).map(|(unit, end)| (unit.measure, end))
    }

    #[test]
    fn the_longest_unit_is_read() {
        for (text, expected) in [
            ("分钟", Some((Measure::Seconds, 2))),
            ("分", Some((Measure::Points, 1))),
            ("minutes", Some((Measure::Seconds, 7))),
            ("m long", Some((Measure::Millimetres, 1))),
            ("mah", Some((Measure::MilliampHours, 3))),
            ("个百分点", Some((Measure::Percent, 4))),
            ("years old", Some((Measure::Age, 9))),
            ("years", Some((Measure::Months, 5))),
            ("g", Some((Measure::Milligrams, 1))),
        ] {
            assert_eq!(measure(text), expected, "{text}");
        }
    }

    #[test]
    fn a_part_of_a_word_is_no_unit() {
        for text in [
            "成功",
            "成为",
            "分之一",
            "分类",
            "G",
            "second-hand",
            "starfish",
            "days1",
            "",
        ] {
            let is_other =
                measure(text).is_none_or(|(measure, _)| measure == Measure::Seconds && text.contains('-'));
            assert!(is_other, "{text}");
        }
    }
}
