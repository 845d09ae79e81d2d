//! The rate-limit headers of a response.

use std::time::Duration;

use jiff::Timestamp;

use super::retry_after::until_reset;
use crate::domain::bucket::Limits;

/// Limits as the server counts them. Any of them may be absent, and many servers send none.
///
/// A reset is the time until the bucket is *full*. So it is a wait only if nothing is left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateHeaders {
    /// Requests per window.
    pub limit_requests: Option<u64>,
    /// Requests left.
    pub remaining_requests: Option<u64>,
    /// Time until all requests are back.
    pub reset_requests: Option<Duration>,
    /// Tokens per window.
    pub limit_tokens: Option<u64>,
    /// Tokens left.
    pub remaining_tokens: Option<u64>,
    /// Time until all tokens are back.
    pub reset_tokens: Option<Duration>,
}

/// One bucket, described by three headers.
#[derive(Clone, Copy, Default)]
struct HeaderBucket {
    limit: Option<u64>,
    remaining: Option<u64>,
    reset: Option<Duration>,
}

impl RateHeaders {
    /// Reads the `x-ratelimit-*` headers of OpenAI, else the `anthropic-ratelimit-*` ones.
    ///
    /// Several token buckets may apply: a project's beside the organization's, or input tokens beside all tokens. The
    /// bucket with the least left is used.
    pub fn read(headers: &dyn Fn(&str) -> Option<String>, now: Timestamp) -> Self {
        let openai =
            |what: &str| HeaderBucket::read(headers, now, |part| format!("x-ratelimit-{part}-{what}"));
        let anthropic = |what: &str| {
            HeaderBucket::read(headers, now, |part| format!("anthropic-ratelimit-{what}-{part}"))
        };
        let requests = openai("requests").or_else(|| anthropic("requests"));
        let tokens = tightest([openai("tokens"), openai("project-tokens")])
            .or_else(|| tightest([anthropic("tokens"), anthropic("input-tokens")]));
        let (requests, tokens) = (requests.unwrap_or_default(), tokens.unwrap_or_default());
        Self {
            limit_requests: requests.limit,
            remaining_requests: requests.remaining,
            reset_requests: requests.reset,
            limit_tokens: tokens.limit,
            remaining_tokens: tokens.remaining,
            reset_tokens: tokens.reset,
        }
    }

    /// Returns the limits for one minute. The window of a limit may be shorter than a minute. Then more than the limit
    /// is refilled in a minute, and the refill until the reset shows its rate.
    pub fn a_minute(&self) -> Limits {
        let minute = |limit: Option<u64>, remaining: Option<u64>, reset: Option<Duration>| {
            let limit = limit?;
            let used = limit.saturating_sub(remaining.unwrap_or(limit));
            let ms = reset.map_or(0, |reset| u64::try_from(reset.as_millis()).unwrap_or(u64::MAX));
            let refilled = used.saturating_mul(60_000).checked_div(ms).unwrap_or(0);
            Some(limit.max(refilled))
        };
        let requests = minute(self.limit_requests, self.remaining_requests, self.reset_requests);
        Limits {
            rpm: requests.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
            tpm: minute(self.limit_tokens, self.remaining_tokens, self.reset_tokens),
        }
    }

    /// Returns the wait until one more call of so many tokens has room, if nothing is left at all.
    ///
    /// A reset is the time until the whole bucket is back, so a part of the bucket needs a part of the reset. Without
    /// a limit, the wait is the whole reset.
    pub fn wait(&self, tokens: u64) -> Option<Duration> {
        let part = |limit: Option<u64>, remaining: Option<u64>, reset: Option<Duration>, need: u64| {
            if remaining? > 0 {
                return None;
            }
            let share = match limit {
                #[expect(clippy::cast_precision_loss, reason = "limits are far below 2^52")]
                Some(limit) if limit > 0 => (need.max(1) as f64 / limit as f64).min(1.0),
                _ => 1.0,
            };
            Some(reset?.mul_f64(share))
        };
        let requests = part(
            self.limit_requests,
            self.remaining_requests,
            self.reset_requests,
            1,
        );
        let tokens = part(
            self.limit_tokens,
            self.remaining_tokens,
            self.reset_tokens,
            tokens,
        );
        requests.max(tokens)
    }
}

impl HeaderBucket {
    fn read(
        headers: &dyn Fn(&str) -> Option<String>,
        now: Timestamp,
        name: impl Fn(&str) -> String,
    ) -> Option<Self> {
        let bucket = Self {
            limit: headers(&name("limit")).and_then(|text| count(&text)),
            remaining: headers(&name("remaining")).and_then(|text| count(&text)),
            reset: headers(&name("reset")).and_then(|text| until_reset(&text, now)),
        };
        (bucket.limit.is_some() || bucket.remaining.is_some()).then_some(bucket)
    }
}

fn tightest(buckets: [Option<HeaderBucket>; 2]) -> Option<HeaderBucket> {
    buckets
        .into_iter()
        .flatten()
        .min_by_key(|bucket| bucket.remaining.unwrap_or(u64::MAX))
}

/// Reads a count. A negative number counts as zero.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, which is the meaning wanted here"
)]
fn count(text: &str) -> Option<u64> {
    let text = text.trim();
    text.parse().ok().or_else(|| {
        let number: f64 = text.parse().ok()?;
        number.is_finite().then_some(number as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_the_part_of_the_reset_that_one_call_needs() {
        let minute = Some(Duration::from_secs(60));
        let empty = RateHeaders {
            limit_requests: Some(600),
            remaining_requests: Some(0),
            reset_requests: minute,
            limit_tokens: Some(60_000),
            remaining_tokens: Some(0),
            reset_tokens: minute,
        };
        assert_eq!(empty.wait(10), Some(Duration::from_millis(100)));
        assert_eq!(empty.wait(2000), Some(Duration::from_secs(2)));
        let unnamed = RateHeaders {
            limit_requests: None,
            ..empty
        };
        assert_eq!(unnamed.wait(10), minute);
        let left = RateHeaders {
            remaining_requests: Some(3),
            remaining_tokens: Some(1),
            ..empty
        };
        assert_eq!(left.wait(2000), None);
        assert_eq!(RateHeaders::default().wait(1), None);
    }

    #[test]
    fn a_window_that_fills_faster_than_in_a_minute_allows_more() {
        let told = |limit, remaining, ms: Option<u64>| RateHeaders {
            limit_tokens: Some(limit),
            remaining_tokens: remaining,
            reset_tokens: ms.map(Duration::from_millis),
            ..RateHeaders::default()
        };
        let tpm = |headers: RateHeaders| headers.a_minute().tpm;
        assert_eq!(tpm(told(2_500, Some(2_400), Some(100))), Some(60_000));
        assert_eq!(tpm(told(200_000, Some(199_000), Some(300))), Some(200_000));
        assert_eq!(tpm(told(14_400, Some(14_370), Some(180_000))), Some(14_400));
        assert_eq!(tpm(told(2_500, None, None)), Some(2_500));
        assert_eq!(tpm(told(2_500, Some(2_500), Some(0))), Some(2_500));
        assert_eq!(RateHeaders::default().a_minute(), Limits::default());
    }
}
