//! The pause that a provider asks for.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use crate::clock;

/// The longest pause. A wrong number in a header must not exclude a provider for the whole run.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Reads `Retry-After`: seconds, or a date that is compared with the server's own clock. A past date and an invalid
/// value ask for no pause.
pub(super) fn read(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        let longest = LONGEST.as_secs_f64();
        // NaN is not above zero.
        return (seconds > 0.0).then(|| Duration::from_secs_f64(seconds.min(longest)));
    }
    let now = headers
        .get(DATE)
        .and_then(|date| moment(date.to_str().ok()?))
        .unwrap_or_else(clock::now);
    let wait = Duration::try_from(moment(text)?.duration_since(now)).ok()?;
    (!wait.is_zero()).then(|| wait.min(LONGEST))
}

fn moment(text: &str) -> Option<Timestamp> {
    Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(retry_after: &str) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, "Sun, 01 Nov 2026 10:00:00 GMT".parse().unwrap());
        headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
        read(&headers).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_and_dates_are_read() {
        for (text, seconds) in [
            ("7", Some(7)),
            (" 7.5 ", Some(7)),
            ("1e99", Some(86_400)),
            ("Sun, 01 Nov 2026 10:01:30 GMT", Some(90)),
            ("Sun, 01 Nov 2026 09:00:00 GMT", None),
            ("0", None),
            ("-3", None),
            ("NaN", None),
            ("soon", None),
        ] {
            assert_eq!(wait(text), seconds, "{text}");
        }
        assert_eq!(read(&HeaderMap::new()), None);
    }
}
