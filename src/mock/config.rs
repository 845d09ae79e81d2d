//! The settings of a mock server.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::faults::Faults;

/// The settings of a mock server. Two servers with equal settings give equal answers.
#[derive(Debug, Clone)]
pub struct MockConfig {
    /// The address to listen on. Port 0 takes a free port.
    pub listen: SocketAddr,
    /// The seed of answers and faults.
    pub seed: u64,
    /// The time that answers take.
    pub latency: Latency,
    /// The probability of each fault.
    pub faults: Faults,
    /// Admitted calls in any 60 seconds; `None` means no limit.
    pub rpm: Option<u32>,
    /// Admitted tokens, prompt and answer together, in any 60 seconds; `None` means no limit.
    pub tpm: Option<u64>,
    /// The wait in every 429. `None` means the wait that the limiter computes, or one second for a fault.
    pub retry_after: Option<Duration>,
    /// The call log: two lines for each call. Lines are appended, so one file may span restarts.
    pub log: Option<PathBuf>,
    /// The approximate number of pieces of a text answer; 0 means its natural length.
    pub answer_tokens: usize,
    /// If it is set, a call with another key or without one is refused with 401.
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

/// The time that an answer takes. The default is none and sets no timer.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Latency {
    /// The wait before the first byte of an answer. It is exact without a tail, and the median with a tail below 0.5.
    pub first_token: Duration,
    /// The wait before each further piece of an answer.
    pub per_token: Duration,
    /// The share of calls, 0..=1, that take longer by a long-tailed factor of up to ten.
    pub tail: f64,
}

impl Latency {
    /// Returns this latency with every wait multiplied by `factor`.
    pub(crate) fn stretched(self, factor: f64) -> Self {
        Self {
            first_token: self.first_token.mul_f64(factor),
            per_token: self.per_token.mul_f64(factor),
            tail: self.tail,
        }
    }
}
