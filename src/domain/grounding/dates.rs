//! Dates: 2026年3月15日, 3月15日, 2026-03-15, `March 15, 2026`, `in 2026`.

use super::numerals::{self, ONE, Precision};
use super::piece::Piece;
use super::statement::CalendarDate;

const MONTHS: [(&str, &str); 12] = [
    ("january", "jan"),
    ("february", "feb"),
    ("march", "mar"),
    ("april", "apr"),
    ("may", "may"),
    ("june", "jun"),
    ("july", "jul"),
    ("august", "aug"),
    ("september", "sep"),
    ("october", "oct"),
    ("november", "nov"),
    ("december", "dec"),
];

/// Reads the date that begins at `at`, and returns it with the index behind it.
pub(super) fn read(piece: &Piece, at: usize) -> Option<(CalendarDate, usize)> {
    let found = english(piece, at)
        .or_else(|| with_separators(piece, at))
        .or_else(|| chinese(piece, at))
        .or_else(|| bare_year(piece, at))?;
    let (date, _) = found;
    let holds = date.month.is_none_or(|month| (1..=12).contains(&month))
        && date.day.is_none_or(|day| (1..=31).contains(&day));
    holds.then_some(found)
}

/// Reads a whole number that is written exactly.
fn whole(piece: &Piece, at: usize) -> Option<(i128, usize)> {
    let numeral = numerals::read(piece, at)?;
    let is_whole = numeral.value % ONE == 0 && numeral.precision == Precision::Exact && numeral.scale == 1;
    is_whole.then_some((numeral.value / ONE, numeral.end))
}

fn year(value: i128) -> Option<u16> {
    u16::try_from(value)
        .ok()
        .filter(|year| (1800..2100).contains(year))
}

fn small(value: i128) -> Option<u8> {
    u8::try_from(value).ok().filter(|value| (1..=31).contains(value))
}

fn chinese(piece: &Piece, at: usize) -> Option<(CalendarDate, usize)> {
    let (value, end) = whole(piece, at)?;
    let next = piece.skip_spaces(end);
    if piece.has(next, "年")
        && let Some(year) = year(value)
    {
        let date = CalendarDate {
            year: Some(year),
            ..CalendarDate::default()
        };
        let behind = piece.skip_spaces(next + 1);
        return Some(month_and_day(piece, behind, date).unwrap_or((date, next + 1)));
    }
    if piece.has(next, "月")
        && !piece
            .any(next, &["月子", "月经", "月饼", "月销"])
            .is_some_and(|_| true)
    {
        return month_and_day(piece, at, CalendarDate::default());
    }
    // 15日, but not 15日元.
    let is_day = piece.has(next, "日")
        && !piece
            .any(next, &["日元", "日游", "日本", "日均"])
            .is_some_and(|_| true);
    let day = small(value).filter(|_| is_day)?;
    Some((
        CalendarDate {
            day: Some(day),
            ..CalendarDate::default()
        },
        next + 1,
    ))
}

/// Reads a month, and the day that may follow it.
fn month_and_day(piece: &Piece, at: usize, date: CalendarDate) -> Option<(CalendarDate, usize)> {
    let (value, end) = whole(piece, at)?;
    let end = piece.skip_spaces(end);
    let month = small(value).filter(|month| *month <= 12)?;
    if !piece.has(end, "月") {
        return None;
    }
    let date = CalendarDate {
        month: Some(month),
        ..date
    };
    let end = end + 1;
    let with_day = whole(piece, piece.skip_spaces(end)).and_then(|(value, behind)| {
        let behind = piece.skip_spaces(behind);
        let day = small(value)?;
        piece.is(behind, |c| matches!(c, '日' | '号')).then_some((
            CalendarDate {
                day: Some(day),
                ..date
            },
            behind + 1,
        ))
    });
    Some(with_day.unwrap_or((date, end)))
}

/// Reads `2026-03-15`, `2026/3/15`, `2026.3.15` and `2026-03`.
fn with_separators(piece: &Piece, at: usize) -> Option<(CalendarDate, usize)> {
    let digits = |from: usize| -> Option<(i128, usize)> {
        let count = (from..from + 5)
            .take_while(|i| piece.is(*i, |c| c.is_ascii_digit()))
            .count();
        let text = piece.folded_text(from, from + count);
        Some((text.parse().ok()?, from + count))
    };
    let (first, end) = digits(at)?;
    let mark = piece.at(end).filter(|c| matches!(c, '-' | '/' | '.'))?;
    let (second, second_end) = digits(end + 1)?;
    let third = (piece.at(second_end) == Some(mark))
        .then(|| digits(second_end + 1))
        .flatten();
    let year = year(first).filter(|_| end - at == 4)?;
    let month = small(second).filter(|month| *month <= 12 && second_end - end <= 3)?;
    let Some((third, third_end)) = third else {
        // 2024-25 is a season, and 2019.5 a number.
        return (mark == '-' && second_end - end == 3).then_some((
            CalendarDate {
                year: Some(year),
                month: Some(month),
                day: None,
            },
            second_end,
        ));
    };
    Some((
        CalendarDate {
            year: Some(year),
            month: Some(month),
            day: Some(small(third)?),
        },
        third_end,
    ))
}

fn month_of(word: &str) -> Option<u8> {
    let word = word.trim_end_matches('.');
    let index = MONTHS
        .iter()
        .position(|(long, short)| *long == word || *short == word)?;
    u8::try_from(index + 1).ok()
}

/// Reads digits with the ending of an ordinal: 15, 15th.
fn ordinal(piece: &Piece, at: usize) -> Option<(i128, usize)> {
    let count = (at..at + 5)
        .take_while(|i| piece.is(*i, |c| c.is_ascii_digit()))
        .count();
    let value = piece.folded_text(at, at + count).parse().ok()?;
    let end = at + count;
    let ending = piece.any(end, &["st", "nd", "rd", "th"]).map_or(0, str::len);
    Some((value, end + ending))
}

/// Reads `March 15, 2026`, `15 March 2026` and `March 2026`. A month alone may be another word.
fn english(piece: &Piece, at: usize) -> Option<(CalendarDate, usize)> {
    if let Some((word, end)) = piece.word(at) {
        let month = month_of(&word)?;
        let end = end + usize::from(piece.has(end, "."));
        let (value, end) = ordinal(piece, piece.skip_spaces(end))?;
        let date = CalendarDate {
            month: Some(month),
            ..CalendarDate::default()
        };
        if let Some(year) = year(value) {
            return Some((
                CalendarDate {
                    year: Some(year),
                    ..date
                },
                end,
            ));
        }
        let date = CalendarDate {
            day: Some(small(value)?),
            ..date
        };
        return Some(year_behind(piece, end, date));
    }
    let (value, end) = ordinal(piece, at)?;
    let day = small(value)?;
    let of = piece.skip_spaces(end);
    let of = if piece.has(of, "of ") { of + 3 } else { of };
    let (word, end) = piece.word(of)?;
    let date = CalendarDate {
        year: None,
        month: Some(month_of(&word)?),
        day: Some(day),
    };
    Some(year_behind(piece, end, date))
}

/// Adds the year that may stand behind a day and a month.
fn year_behind(piece: &Piece, end: usize, date: CalendarDate) -> (CalendarDate, usize) {
    let at = piece.skip_spaces(end + usize::from(piece.has(end, ",")));
    let found = ordinal(piece, at).and_then(|(value, behind)| Some((year(value)?, behind)));
    match found {
        Some((year, behind)) => (
            CalendarDate {
                year: Some(year),
                ..date
            },
            behind,
        ),
        None => (date, end),
    }
}

/// Reads four digits that are a year and no quantity.
fn bare_year(piece: &Piece, at: usize) -> Option<(CalendarDate, usize)> {
    let digits = (at..at + 6)
        .take_while(|i| piece.is(*i, |c| c.is_ascii_digit()))
        .count();
    let value = (digits == 4).then(|| piece.folded_text(at, at + 4).parse::<i128>().ok())??;
    let year = year(value).filter(|year| (1900..2100).contains(year))?;
    let end = at + 4;
    let before = piece.words_before(at, 1);
    let introduced = before.first().is_some_and(|word| {
        matches!(
            word.as_str(),
            "in" | "since"
                | "by"
                | "from"
                | "until"
                | "during"
                | "of"
                | "early"
                | "late"
                | "before"
                | "after"
                | "a"
                | "the"
                | "year"
        )
    });
    // 2025中国白皮书: a year without its unit stands before a name.
    let titled = piece
        .any(end, &["中国", "全国", "全球", "年度", "款", "世界"])
        .is_some();
    let is_quantity = piece.is(end, |c| c.is_ascii_alphanumeric() || matches!(c, '%' | '+'))
        || piece.is(end, |c| matches!(c, '.' | ',')) && piece.is(end + 1, |c| c.is_ascii_digit())
        || super::units::read(piece, piece.skip_spaces(end)).is_some();
    (titled || introduced && !is_quantity).then_some((
        CalendarDate {
            year: Some(year),
            ..CalendarDate::default()
        },
        end,
    ))
}

#[cfg(test)]
mod tests {
    use super::super::piece::pieces;
    use super::*;

    fn date(text: &str, at: usize) -> Option<(Option<u16>, Option<u8>, Option<u8>)> {
        let piece = pieces(text).next()?;
        read(&piece, at).map(|(date, _)| (date.year, date.month, date.day))
    }

    #[test]
    fn one_date_has_many_forms() {
        for text in [
            "2026年3月15日",
            "2026 年 3 月 15 号",
            "二零二六年三月十五日",
            "2026-03-15",
            "2026/3/15",
            "March 15, 2026",
            "Mar. 15th 2026",
            "15 March 2026",
            "15th of March, 2026",
        ] {
            assert_eq!(date(text, 0), Some((Some(2026), Some(3), Some(15))), "{text}");
        }
    }

    #[test]
    fn a_date_can_be_less_than_exact() {
        assert_eq!(date("2026年", 0), Some((Some(2026), None, None)));
        assert_eq!(date("2026年3月", 0), Some((Some(2026), Some(3), None)));
        assert_eq!(date("十二月二十五日", 0), Some((None, Some(12), Some(25))));
        assert_eq!(date("3月", 0), Some((None, Some(3), None)));
        assert_eq!(date("March 2026", 0), Some((Some(2026), Some(3), None)));
        assert_eq!(date("in 2026", 3), Some((Some(2026), None, None)));
        assert_eq!(date("15日", 0), Some((None, None, Some(15))));
    }

    #[test]
    fn quantities_are_no_dates() {
        for (text, at) in [
            ("3个月", 0),
            ("30年", 0),
            ("13月", 0),
            ("2000 calories", 0),
            ("of 2000 calories", 3),
            ("may be", 0),
            ("2024.5", 0),
            ("100日元", 0),
            ("", 0),
        ] {
            assert_eq!(date(text, at), None, "{text}");
        }
    }
}
