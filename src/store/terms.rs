//! The terms of a run, which all its workers share.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::domain::conditions::OnFailure;
use crate::domain::request::Digest;
use crate::domain::usage::Cost;

/// The terms of a run. The store holds them, and a worker with other terms is told the differences.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunConstraints {
    /// A digest of the agents: their prompts, schemas and limits.
    pub agents: String,
    /// The per-minute limits of each route.
    pub limits: BTreeMap<String, StoredRouteLimits>,
    /// The cost cap of the run.
    pub max_cost: Option<Cost>,
    /// The action behind which queues pause, unless their line says otherwise.
    pub until: Option<String>,
    /// The tasks of lines that name none, separated by commas. `None`: a model plans them.
    pub tasks: Option<String>,
    /// How queues proceed behind a failed task.
    pub on_failure: OnFailure,
}

/// Digests of everything besides the requests that shapes the answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigFingerprint {
    /// The digest of the agents: their prompts, schemas and limits.
    pub prompts: String,
    /// The digest of the routes, their models, and which of them are used.
    pub models: String,
}

impl ConfigFingerprint {
    /// The recipe as a store keeps it with its run.
    pub(super) fn stored(&self) -> String {
        format!("{}:{}", self.prompts, self.models)
    }

    /// The recipe as a store keeps it with finished requests: the prompts in the upper half, the models in the lower.
    pub(super) fn number(&self) -> i64 {
        let half = |part: &str| {
            let digest = Digest::of(part.as_bytes());
            let start = digest.as_bytes().first_chunk().copied().unwrap_or_default();
            i64::from(u32::from_le_bytes(start))
        };
        (half(&self.prompts) << 32) | half(&self.models)
    }
}

/// The per-minute limits of a route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRouteLimits {
    /// Requests per minute.
    pub rpm: Option<u32>,
    /// Tokens per minute, input and output together.
    pub tpm: Option<u64>,
}

impl RunConstraints {
    /// Describes for people how `ours` differ from these terms. Empty if they agree. A route that only one of them has
    /// is no difference, because the other does not use it.
    pub fn differences(&self, ours: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.agents != ours.agents {
            found.push(format!(
                "its agents differ ({}…, not {}…)",
                start(&self.agents),
                start(&ours.agents)
            ));
        }
        if self.max_cost != ours.max_cost {
            found.push(format!(
                "its cost cap is {}, not {}",
                cap(self.max_cost),
                cap(ours.max_cost)
            ));
        }
        if self.until != ours.until {
            let shown = |until: &Option<String>| until.clone().unwrap_or_else(|| "no action".to_owned());
            found.push(format!(
                "it pauses after {}, not {}",
                shown(&self.until),
                shown(&ours.until)
            ));
        }
        if self.tasks != ours.tasks {
            let shown = |tasks: &Option<String>| tasks.clone().unwrap_or_else(|| "planned".to_owned());
            found.push(format!(
                "its tasks are {}, not {}",
                shown(&self.tasks),
                shown(&ours.tasks)
            ));
        }
        if self.on_failure != ours.on_failure {
            let (theirs, mine) = (self.on_failure.as_str(), ours.on_failure.as_str());
            found.push(format!("its `--on-task-failure` is `{theirs}`, not `{mine}`"));
        }
        for (route, theirs) in &self.limits {
            if let Some(mine) = ours.limits.get(route).filter(|mine| *mine != theirs) {
                found.push(format!(
                    "route `{route}` has {}, not {}",
                    limits(*theirs),
                    limits(*mine)
                ));
            }
        }
        found
    }
}

fn start(digest: &str) -> &str {
    digest.get(..8).unwrap_or(digest)
}

fn cap(cost: Option<Cost>) -> String {
    cost.map_or_else(|| "none".to_owned(), |cost| format!("${}", cost.usd()))
}

fn limits(limits: StoredRouteLimits) -> String {
    let mut text = String::new();
    if let Some(rpm) = limits.rpm {
        // Writing to a string cannot fail.
        write!(text, "{rpm} requests a minute").unwrap_or_default();
    }
    if let Some(tpm) = limits.tpm {
        let and = if text.is_empty() { "" } else { " and " };
        write!(text, "{and}{tpm} tokens a minute").unwrap_or_default();
    }
    if text.is_empty() {
        text.push_str("no limits");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named_with_both_values() {
        let theirs = RunConstraints {
            agents: "aaaaaaaaaaaa".to_owned(),
            limits: [("primary", 60), ("only theirs", 1)]
                .map(|(name, rpm)| {
                    let limits = StoredRouteLimits {
                        rpm: Some(rpm),
                        tpm: None,
                    };
                    (name.to_owned(), limits)
                })
                .into(),
            max_cost: None,
            until: None,
            tasks: None,
            on_failure: OnFailure::Fail,
        };
        assert!(theirs.differences(&theirs).is_empty());
        let ours = RunConstraints {
            agents: "bbbbbbbbbbbb".to_owned(),
            limits: [(
                "primary".to_owned(),
                StoredRouteLimits {
                    rpm: None,
                    tpm: Some(9),
                },
            )]
            .into(),
            max_cost: Some(Cost(5_000_000_000_000)),
            until: Some("insight".to_owned()),
            tasks: Some("insight,answer".to_owned()),
            on_failure: OnFailure::Continue,
        };
        assert_eq!(
            theirs.differences(&ours),
            [
                "its agents differ (aaaaaaaa…, not bbbbbbbb…)",
                "its cost cap is none, not $5",
                "it pauses after no action, not insight",
                "its tasks are planned, not insight,answer",
                "its `--on-task-failure` is `fail`, not `continue`",
                "route `primary` has 60 requests a minute, not 9 tokens a minute",
            ]
        );
    }
}
