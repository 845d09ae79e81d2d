//! The pause that a provider asks for.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use crate::clock;
use crate::domain::retry_after;

/// Reads `Retry-After`: seconds, or a date that is compared with the server's own clock. A past date and an invalid
/// value ask for no pause.
pub(super) fn read(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let now = headers
        .get(DATE)
        .and_then(|date| moment(date.to_str().ok()?))
        .unwrap_or_else(clock::now);
    retry_after::of_header(text, now).filter(|wait| !wait.is_zero())
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
