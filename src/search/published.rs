//! Reads the time of publication in the formats that providers use.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// A Unix time above this is in milliseconds. In seconds it would be in the year 5138.
const SECONDS: i64 = 100_000_000_000;

/// Returns a date (`2026-03-01`) or a moment (RFC 3339, UTC). Returns `None` for any other format. A date gets no hour,
/// because its hour is unknown.
pub(super) fn published(text: &str) -> Option<String> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        return moment(number);
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return shown(moment);
    }
    // `2026-03-01 12:00` names no time zone, so only the date is kept.
    let day: Date = text.get(..10)?.parse().ok()?;
    is_plausible(day.year()).then(|| day.to_string())
}

fn moment(number: i64) -> Option<String> {
    let moment = if number > SECONDS {
        Timestamp::from_millisecond(number)
    } else {
        Timestamp::from_second(number)
    };
    // A small number is a counter and not a time.
    moment.ok().filter(|_| number > 86_400).and_then(shown)
}

fn shown(moment: Timestamp) -> Option<String> {
    let year = moment.to_zoned(TimeZone::UTC).year();
    is_plausible(year).then(|| format!("{moment:.0}"))
}

/// Whether a year is a plausible year of publication. Databases use zero dates and far dates as placeholders.
const fn is_plausible(year: i16) -> bool {
    year >= 1900 && year <= 2200
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_providers_write_them() {
        for (text, shown) in [
            ("1767225600", Some("2026-01-01T00:00:00Z")),
            ("1767225600123", Some("2026-01-01T00:00:00Z")),
            ("2026-01-01T08:00:00+08:00", Some("2026-01-01T00:00:00Z")),
            ("2026-01-01", Some("2026-01-01")),
            (" 2026-01-01 08:30:00", Some("2026-01-01")),
            ("0001-01-01", None),
            ("0001-01-01T00:00:00Z", None),
            ("9999-12-31T23:59:59Z", None),
            ("99999999999999", None),
            ("3 days ago", None),
            ("三天前发布的一篇", None),
            ("0", None),
            ("", None),
        ] {
            assert_eq!(published(text).as_deref(), shown, "{text}");
        }
    }
}
