//! The day of a row of an export.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};

/// Returns the UTC day of a text: a date, a date with a time, a time with an offset, or Unix seconds or milliseconds.
pub(super) fn of_text(text: &str) -> Option<String> {
    let text = text.trim();
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return of_timestamp(timestamp);
    }
    let plain = text.replace('/', "-");
    let begin = plain.get(..10).unwrap_or(&plain);
    if let Ok(date) = begin.parse::<Date>() {
        // The rest must be a time, or nothing.
        let is_whole = plain.len() <= 10 || plain.parse::<DateTime>().is_ok();
        return is_whole.then(|| date.to_string());
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.len() {
        8 if digits => {
            let (year, rest) = text.split_at(4);
            let (month, day) = rest.split_at(2);
            let date = civil::Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
            date.ok().map(|date| date.to_string())
        }
        9..=13 if digits => of_unix(text.parse().ok()?),
        _ => None,
    }
}

/// Returns the UTC day of Unix seconds or milliseconds.
pub(super) fn of_unix(number: i64) -> Option<String> {
    let ms = if number < 100_000_000_000 {
        number.checked_mul(1000)?
    } else {
        number
    };
    of_timestamp(Timestamp::from_millisecond(ms).ok()?)
}

fn of_timestamp(timestamp: Timestamp) -> Option<String> {
    let date = timestamp.to_zoned(TimeZone::UTC).date();
    (1970..=9999).contains(&date.year()).then(|| date.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_day_is_one() {
        for text in [
            "2026-11-30",
            "2026/11/30",
            "20261130",
            " 2026-11-30 23:59:59",
            "2026-11-30T23:59:59",
            "2026-11-30T23:59:59Z",
            "2026-12-01T01:00:00+03:00",
            "1796083199",
            "1796083199000",
        ] {
            assert_eq!(of_text(text).as_deref(), Some("2026-11-30"), "{text}");
        }
        for text in [
            "",
            "today",
            "2026-11-31",
            "2026-11-30x",
            "30.11.2026",
            "12",
            "99999999999999",
        ] {
            assert_eq!(of_text(text), None, "{text}");
        }
    }
}
