//! The ends of a route's answers.

use std::sync::atomic::{AtomicBool, Ordering};

use super::fault::{FailedExchange, failed};
use super::response::Answer;
use super::transport::Got;
use super::warnings::Warnings;
use super::wire::FinishKind;
use super::wire::runaway::REPETITION;
use crate::domain::failure::Class;

/// The end of an answer, as its server reported it.
#[derive(Debug, Default)]
pub(super) struct Finish {
    /// The finish reason, if the server sent one.
    reason: Option<String>,
    /// Whether only `[DONE]` shows that the answer is complete.
    missing: bool,
}

impl Finish {
    pub(super) fn of(answer: &Answer) -> Self {
        Self {
            reason: (!answer.reason_missing && answer.finish_reason != REPETITION)
                .then(|| answer.finish_reason.clone()),
            missing: answer.reason_missing,
        }
    }
}

/// Whether the answers of a route have had finish reasons so far.
#[derive(Debug, Default)]
pub(super) struct Finishes {
    named: AtomicBool,
}

impl Finishes {
    /// Accepts an answer. An answer without a finish reason counts as cut if its server has sent finish reasons
    /// before.
    pub(super) fn take(&self, warnings: &Warnings, got: Got) -> Result<Got, FailedExchange> {
        if got.finish.missing {
            if self.named.load(Ordering::Relaxed) {
                let message = "the stream ended without a finish reason, which this route names otherwise";
                return Err(FailedExchange {
                    rate: got.rate,
                    ..failed(Class::Network, message)
                });
            }
            let warning = "names no finish reason: its answers count as whole where `[DONE]` ends them";
            warnings.add(warning.to_owned());
        }
        if let Some(reason) = &got.finish.reason {
            self.named.store(true, Ordering::Relaxed);
            if FinishKind::of(reason) == FinishKind::Unknown {
                warnings.add(format!(
                    "ends answers with the unknown finish reason `{reason}`: they count as whole"
                ));
            }
        }
        Ok(got)
    }
}
