//! How long a server asks to be left alone.

use std::time::Duration;

use jiff::Timestamp;

/// No wait longer than a day is believed: a clamped one costs one refused call a day, a believed one
/// could park a route for the run.
pub const MAX_WAIT: Duration = Duration::from_hours(24);

/// The wait a response asks for, in the order of OpenAI's SDK: `retry-after-ms`, then `retry-after` in
/// seconds, then as an HTTP date (RFC 9110).
///
/// A header that is no such number or lies in the past asks for nothing, so that the caller's own backoff holds; one
/// beyond [`MAX_WAIT`] is clamped to it. Zero means what it says: the route need not pause.
pub fn read(headers: &dyn Fn(&str) -> Option<String>, now: Timestamp) -> Option<Duration> {
    let number = |text: &str, unit: f64| bounded(text.trim().parse::<f64>().ok()? * unit);
    let millis = headers("retry-after-ms").and_then(|text| number(&text, 1e-3));
    millis.or_else(|| {
        let text = headers("retry-after")?;
        number(&text, 1.0).or_else(|| until_http_date(text.trim(), now))
    })
}

/// The wait that stands in the message of a 429: "Please try again in 6m0s" (OpenAI) or "please try
/// again after 1 seconds" (Moonshot); some gateways pass the body on and drop the headers.
pub fn from_message(message: &str) -> Option<Duration> {
    let (_, after) = message
        .split_once("try again in ")
        .or_else(|| message.split_once("try again after "))?;
    let mut words = after
        .split_whitespace()
        .map(|word| word.trim_end_matches(['.', ',', ')']));
    let span = words.next()?;
    let wait = match words.next() {
        Some("s" | "second" | "seconds") => positive(span, 1.0),
        _ => None,
    };
    wait.or_else(|| go_duration(span)).filter(|wait| !wait.is_zero())
}

/// The time until a bucket is full, in any of the forms of an `x-ratelimit-reset-*` header: a duration
/// (`6m0s`, `59.951s`, `12ms`, `1d`), plain seconds, Unix time, or RFC 3339.
///
/// A moment in the past is a bucket that is full: zero.
pub fn until_reset(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return match number {
            // No bucket takes thirty years to fill, and no clock counts seconds that high.
            epoch_ms if epoch_ms > 1e12 => since_now(epoch_ms / 1e3, now),
            epoch if epoch > 1e9 => since_now(epoch, now),
            seconds => bounded(seconds),
        };
    }
    go_duration(text).or_else(|| {
        let moment: Timestamp = text.parse().ok()?;
        Some(
            Duration::try_from(moment.duration_since(now))
                .unwrap_or(Duration::ZERO)
                .min(MAX_WAIT),
        )
    })
}

fn positive(text: &str, unit: f64) -> Option<Duration> {
    let number: f64 = text.trim().parse().ok()?;
    bounded(number * unit).filter(|wait| !wait.is_zero())
}

/// Seconds as a duration; nothing for negative numbers and NaN.
fn bounded(seconds: f64) -> Option<Duration> {
    (seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(MAX_WAIT.as_secs_f64())))
}

fn until_http_date(text: &str, now: Timestamp) -> Option<Duration> {
    let date = Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()?;
    let wait = Duration::try_from(date.duration_since(now)).ok()?;
    Some(wait.min(MAX_WAIT)).filter(|wait| !wait.is_zero())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of this era are exact in a double"
)]
fn since_now(epoch_seconds: f64, now: Timestamp) -> Option<Duration> {
    bounded((epoch_seconds - now.as_millisecond() as f64 / 1e3).max(0.0))
}

/// Durations as Go prints them, plus days: one or more numbers, each with its unit.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, after) = rest.split_at(digits);
        // `ms` stands before `m`, which is its beginning.
        let (unit, tail) = [
            ("ms", 1e-3),
            ("us", 1e-6),
            ("µs", 1e-6),
            ("ns", 1e-9),
            ("d", 86_400.0),
            ("h", 3_600.0),
            ("m", 60.0),
            ("s", 1.0),
        ]
        .iter()
        .find_map(|(name, unit)| Some((unit, after.strip_prefix(name)?)))?;
        seconds += number.parse::<f64>().ok()? * unit;
        rest = tail;
    }
    if text.is_empty() { None } else { bounded(seconds) }
}
