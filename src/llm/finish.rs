//! How the answers of a route end.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::fault::{Failed, failed};
use super::transport::Got;
use super::wire::{Answer, End};
use crate::domain::failure::Class;

/// So many unknown finish reasons of one route are told.
const TOLD: usize = 20;

/// How an answer ended, as far as its server said so.
#[derive(Debug, Default)]
pub(super) struct Finish {
    /// The finish reason, where one was named.
    reason: Option<String>,
    /// Whether only `[DONE]` says that the answer is whole.
    missing: bool,
}

impl Finish {
    pub(super) fn of(answer: &Answer) -> Self {
        Self {
            reason: (!answer.reason_missing).then(|| answer.finish_reason.clone()),
            missing: answer.reason_missing,
        }
    }
}

/// What the answers of a route have shown so far.
#[derive(Debug, Default)]
pub(super) struct Finishes {
    names_reasons: AtomicBool,
    missing_told: AtomicBool,
    unknown: Mutex<HashSet<String>>,
}

impl Finishes {
    /// Takes an answer, unless its server names finish reasons and named none: then it was cut.
    pub(super) fn take(&self, route: &str, got: Got) -> Result<Got, Failed> {
        if got.finish.missing {
            if self.names_reasons.load(Ordering::Relaxed) {
                let message = "the stream ended without a finish reason, which this route names otherwise";
                return Err(Failed {
                    rate: got.rate,
                    ..failed(Class::Network, message)
                });
            }
            if !self.missing_told.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    llm.route = route,
                    "the route names no finish reason: its answers count as whole where `[DONE]` ends them"
                );
            }
            return Ok(got);
        }
        if let Some(reason) = &got.finish.reason {
            self.names_reasons.store(true, Ordering::Relaxed);
            if End::of(reason) == End::Unknown && self.is_new(reason) {
                tracing::warn!(
                    llm.route = route,
                    "the route ends answers with a finish reason that is not known (`{reason}`): they count as whole"
                );
            }
        }
        Ok(got)
    }

    fn is_new(&self, reason: &str) -> bool {
        let mut known = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        known.len() < TOLD && known.insert(reason.to_owned())
    }
}
