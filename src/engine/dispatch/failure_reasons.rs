//! Counts why requests failed in this invocation. The closing line shows the most frequent reason.

use std::collections::HashMap;

use crate::domain::failure::kind_of;
use crate::observe::Commonest;

/// The most kinds of reasons that are counted; further kinds are dropped.
const KINDS: usize = 64;

/// Failures by kind.
#[derive(Debug, Default)]
pub(in crate::engine) struct FailureReasons(HashMap<String, Commonest>);

impl FailureReasons {
    /// Counts a request that failed.
    pub(in crate::engine) fn failed(&mut self, message: String) {
        let kind = kind_of(&message);
        if self.0.len() >= KINDS && !self.0.contains_key(&kind) {
            return;
        }
        let reason = self.0.entry(kind).or_insert(Commonest { message, requests: 0 });
        reason.requests += 1;
    }

    /// The most frequent reason, with its first message.
    pub(in crate::engine) fn commonest(self) -> Option<Commonest> {
        self.0.into_values().max_by_key(|reason| reason.requests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_that_differ_in_ids_have_the_same_reason() {
        let mut reasons = FailureReasons::default();
        for message in [
            "another",
            "no such model, request a1",
            "no such model, request b2",
        ] {
            reasons.failed(message.to_owned());
        }
        let expected = Commonest {
            message: "no such model, request a1".to_owned(),
            requests: 2,
        };
        assert_eq!(reasons.commonest(), Some(expected));
        assert_eq!(FailureReasons::default().commonest(), None);
    }
}
