//! One chat call from its arrival to its end.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::extras::Extras;
use super::log::{CallEnded, Start};
use super::server::ServerState;
use super::tally::CallOutcome;
use crate::clock;

/// The properties of a call that are known on its arrival.
pub(crate) struct CallArrival<'a> {
    pub(crate) prompt: Option<&'a str>,
    pub(crate) custom: Option<&'a RawValue>,
    pub(crate) model: &'a str,
    /// The beginning of the digest of the caller's key. It distinguishes callers and does not reveal the key.
    pub(crate) key: Option<&'a str>,
    pub(crate) user: &'a str,
    pub(crate) stream: bool,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) extras: &'a Extras,
}

/// A call that arrived and was counted. Its end is counted exactly once: by `finish`, or when it is dropped because the
/// client closed the connection or the server stops.
pub(crate) struct MockCall {
    shared: Arc<ServerState>,
    n: u64,
    prompt: Option<String>,
    /// The outcome of the call if it is not interrupted.
    outcome: CallOutcome,
    input_tokens: u64,
    output_tokens: u64,
    finished: bool,
}

impl MockCall {
    /// Counts and logs the arrival.
    pub(crate) fn begin(shared: &Arc<ServerState>, arrival: &CallArrival<'_>) -> Self {
        let n = shared
            .tally
            .arrived(shared.now_us(), arrival.input_tokens + arrival.output_tokens);
        if let Some(log) = &shared.log {
            log.push(&Start {
                t_ms: clock::now_ms(),
                n,
                event: "start",
                prompt: arrival.prompt,
                custom: arrival.custom,
                model: arrival.model,
                key: arrival.key,
                user: arrival.user,
                stream: arrival.stream,
                fields: &arrival.extras.fields,
                headers: &arrival.extras.headers,
            });
        }
        Self {
            shared: Arc::clone(shared),
            n,
            prompt: arrival.prompt.map(str::to_owned),
            outcome: CallOutcome::Ok,
            input_tokens: 0,
            output_tokens: 0,
            finished: false,
        }
    }

    /// Returns the number of the call, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.n
    }

    /// Sets the planned outcome.
    pub(crate) fn heads_for(&mut self, outcome: CallOutcome) {
        self.outcome = outcome;
    }

    /// Sets the tokens that the call has cost so far.
    pub(crate) fn costs(&mut self, input_tokens: u64, output_tokens: u64) {
        (self.input_tokens, self.output_tokens) = (input_tokens, output_tokens);
    }

    /// Sets the tokens of the answer that were sent so far.
    pub(crate) fn sent(&mut self, output_tokens: u64) {
        self.output_tokens = output_tokens;
    }

    /// Ends the call with the planned outcome.
    pub(crate) fn finish(&mut self) {
        self.end(self.outcome);
    }

    fn end(&mut self, outcome: CallOutcome) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.shared
            .tally
            .ended(outcome, self.input_tokens, self.output_tokens);
        if let Some(log) = &self.shared.log {
            log.push(&CallEnded {
                t_ms: clock::now_ms(),
                n: self.n,
                event: "end",
                prompt: self.prompt.as_deref(),
                outcome: outcome.as_str(),
                input_tokens: self.input_tokens,
                output_tokens: self.output_tokens,
            });
        }
    }
}

impl Drop for MockCall {
    fn drop(&mut self) {
        // A stalled call ends only when the client closes the connection, so this is its planned outcome.
        self.end(if self.outcome == CallOutcome::Stall {
            CallOutcome::Stall
        } else {
            CallOutcome::ClientGone
        });
    }
}
