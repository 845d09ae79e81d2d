//! What a mock server is told before it starts.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::faults::Faults;

/// Everything that shapes a mock server. Two servers with equal settings give equal answers.
#[derive(Debug, Clone)]
pub struct MockConfig {
    /// Where to listen; port 0 takes a free port.
    pub listen: SocketAddr,
    /// The seed of answers and faults.
    pub seed: u64,
    /// How long answers take.
    pub latency: Latency,
    /// How often, and how, calls go wrong.
    pub faults: Faults,
    /// Admitted calls in any 60 seconds; `None` means no limit.
    pub rpm: Option<u32>,
    /// Admitted tokens, prompt and answer together, in any 60 seconds; `None` means no limit.
    pub tpm: Option<u64>,
    /// The wait named by every 429; `None` means what the limiter computes, or one second for a fault.
    pub retry_after: Option<Duration>,
    /// The file that receives two lines for each call; it is appended to, so one file may span restarts.
    pub log: Option<PathBuf>,
    /// About how many pieces a text answer has; 0 means its natural length.
    pub answer_tokens: usize,
    /// When set, any other bearer key is refused with 401.
    pub api_key: Option<String>,
}

impl Default for MockConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            seed: 1,
            latency: Latency::default(),
            faults: Faults::default(),
            rpm: None,
            tpm: None,
            retry_after: None,
            log: None,
            answer_tokens: 0,
            api_key: None,
        }
    }
}

/// How long an answer takes. The default takes no time at all and sets no timer.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Latency {
    /// The wait before the first byte of an answer; exact without a tail, the median with one below 0.5.
    pub first_token: Duration,
    /// The wait before each further piece of an answer.
    pub per_token: Duration,
    /// The share of calls, 0..=1, that take longer by a long-tailed factor of up to ten.
    pub tail: f64,
}

impl Latency {
    /// This latency with every wait stretched by `factor`.
    pub(crate) fn stretched(self, factor: f64) -> Self {
        Self {
            first_token: self.first_token.mul_f64(factor),
            per_token: self.per_token.mul_f64(factor),
            tail: self.tail,
        }
    }
}
