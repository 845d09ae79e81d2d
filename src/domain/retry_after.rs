//! The wait that a server requests.

use std::time::Duration;

use jiff::Timestamp;

/// One day, the longest accepted wait. A clamped wait costs one refused call a day; a longer one could pause a route
/// for the whole run.
pub const MAX_WAIT: Duration = Duration::from_hours(24);

/// Returns the wait that a response requests, in the order of OpenAI's SDK: `retry-after-ms`, then `retry-after` in
/// seconds, then `retry-after` as an HTTP date (RFC 9110). After these comes the reset that `OpenRouter` and others
/// send without a bucket name.
///
/// An invalid header or a date in the past requests nothing, so that the caller's own backoff applies. A longer wait
/// than [`MAX_WAIT`] is clamped to it. Zero is valid: the route need not pause.
pub fn read(headers: &dyn Fn(&str) -> Option<String>, now: Timestamp) -> Option<Duration> {
    let millis = headers("retry-after-ms").and_then(|text| number(&text, 1e-3));
    let after = || {
        let text = headers("retry-after")?;
        of_header(&text, now)
    };
    let reset = || {
        ["x-ratelimit-reset", "ratelimit-reset"]
            .iter()
            .find_map(|name| until_reset(&headers(name)?, now).filter(|wait| !wait.is_zero()))
    };
    millis.or_else(after).or_else(reset)
}

/// Returns the wait in the value of a `retry-after` header: seconds, or an HTTP date (RFC 9110). A past date and an
/// invalid value request nothing.
pub fn of_header(text: &str, now: Timestamp) -> Option<Duration> {
    number(text, 1.0).or_else(|| until_http_date(text.trim(), now))
}

fn number(text: &str, unit: f64) -> Option<Duration> {
    bounded(text.trim().parse::<f64>().ok()? * unit)
}

/// Members of an error body that hold a wait, and the unit of a bare number in them.
const MEMBERS: [(&str, f64); 7] = [
    // Google, in `error.details`.
    ("retrydelay", 1.0),
    // LiteLLM, Cohere and others.
    ("retry_after", 1.0),
    ("retry_after_seconds", 1.0),
    ("retry_after_ms", 1e-3),
    // Headers that OpenRouter passes on in `error.metadata`.
    ("retry-after", 1.0),
    ("retry-after-ms", 1e-3),
    ("x-ratelimit-reset", 1.0),
];

/// Whether a member of this name, in lower case, holds a wait.
pub fn names_a_wait(name: &str) -> bool {
    MEMBERS.iter().any(|(known, _)| *known == name)
}

/// Returns the wait in the members of a body.
pub fn from_body(members: &[(String, String)], now: Timestamp) -> Option<Duration> {
    MEMBERS.iter().find_map(|(known, unit)| {
        let (_, text) = members.iter().find(|(name, _)| name == known)?;
        let wait = match text.trim().parse::<f64>() {
            Ok(number) if number < 1e9 => bounded(number * unit),
            // Unix time has no meaning for a caller without a clock.
            Ok(_) if now == Timestamp::UNIX_EPOCH => None,
            _ => until_reset(text, now),
        };
        wait.filter(|wait| !wait.is_zero())
    })
}

/// Phrases in front of a wait in a message: `OpenAI`, Moonshot, Google, Azure, and `litellm`.
const BEFORE: [&str; 6] = [
    "try again in ",
    "try again after ",
    "retry in ",
    "retry after ",
    "retry_after: ",
    "available again in ",
];

/// Phrases behind a wait: "请在 5 秒后重试" (Zhipu, Volcengine Ark).
const BEHIND: [&str; 3] = ["后重试", "后再试", "后再次"];

/// Returns the wait in a message: "Please try again in 6m0s" (OpenAI), "please try again after 1 seconds" (Moonshot),
/// "Please retry in 34.07s" (Google). Some gateways pass on the body without the headers.
pub fn from_message(message: &str) -> Option<Duration> {
    let message = message.to_lowercase();
    let told = BEFORE.iter().find_map(|before| {
        let (_, after) = message.split_once(before)?;
        span(after)
    });
    let wait = told.or_else(|| {
        BEHIND.iter().find_map(|behind| {
            let (before, _) = message.split_once(behind)?;
            let head = before.trim_end_matches(|c: char| !c.is_ascii_digit());
            let number = head.rfind(|c: char| !(c.is_ascii_digit() || c == '.'));
            let start = number.map_or(0, |at| at + head[at..].chars().next().map_or(1, char::len_utf8));
            span(&before[start..])
        })
    });
    wait.filter(|wait| !wait.is_zero())
}

/// Units of time in messages. A longer name comes before its own prefix.
const UNITS: [(&str, f64); 21] = [
    ("milliseconds", 1e-3),
    ("millisecond", 1e-3),
    ("ms", 1e-3),
    ("seconds", 1.0),
    ("second", 1.0),
    ("secs", 1.0),
    ("sec", 1.0),
    ("s", 1.0),
    ("minutes", 60.0),
    ("minute", 60.0),
    ("mins", 60.0),
    ("min", 60.0),
    ("m", 60.0),
    ("hours", 3_600.0),
    ("hour", 3_600.0),
    ("h", 3_600.0),
    ("days", 86_400.0),
    ("d", 86_400.0),
    ("毫秒", 1e-3),
    ("秒", 1.0),
    ("分钟", 60.0),
];

/// Returns the duration at the beginning of a text: numbers, each with its unit.
fn span(text: &str) -> Option<Duration> {
    let (mut rest, mut seconds) = (text, None);
    loop {
        let digits = rest
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let Ok(number) = number.parse::<f64>() else { break };
        let after = after.trim_start();
        let unit = UNITS.iter().find_map(|(name, unit)| {
            let tail = after.strip_prefix(name)?;
            // `m` is not the unit of `mmm`.
            let ends = !tail.starts_with(|c: char| c.is_ascii_alphabetic());
            ends.then_some((unit, tail))
        });
        let Some((unit, tail)) = unit else { break };
        seconds = Some(seconds.unwrap_or(0.0) + number * unit);
        rest = tail;
    }
    bounded(seconds?)
}

/// Returns the time until a bucket is full. It reads every form of an `x-ratelimit-reset-*` header: a duration
/// (`6m0s`, `59.951s`, `12ms`, `1d`), plain seconds, Unix time, or RFC 3339.
///
/// A moment in the past means a full bucket: zero.
pub fn until_reset(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return match number {
            // Above 1e9 the number is Unix time, because no bucket takes thirty years to fill. Above 1e12 it is in ms.
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

/// Converts seconds to a duration; `None` for a negative number or NaN.
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

/// Reads a duration in Go's form, also with days: one or more numbers, each with its unit.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, after) = rest.split_at(digits);
        // `ms` comes before `m`, which is its prefix.
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
