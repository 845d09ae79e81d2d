//! What everybody who works on a run has to agree on.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::domain::conditions::OnFailure;
use crate::domain::request::Digest;
use crate::domain::usage::Cost;

/// The terms of a run: its store holds them, and who would work on others is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// A digest of the agents: their prompts, schemas and limits.
    pub agents: String,
    /// What each route may be asked in a minute.
    pub limits: BTreeMap<String, RouteLimits>,
    /// The most that the run may cost.
    pub max_cost: Option<Cost>,
    /// After which action queues pause whose lines do not say.
    pub until: Option<String>,
    /// The tasks of lines that name none, by comma; without it they are planned.
    pub tasks: Option<String>,
    /// What queues do behind a failed task.
    pub on_failure: OnFailure,
}

/// What makes answers what they are beside the requests, as digests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recipe {
    /// Of the agents: their prompts, schemas and limits.
    pub prompts: String,
    /// Of the routes and their models, and which of them are asked.
    pub models: String,
}

impl Recipe {
    /// The recipe as a store keeps it with its run.
    pub(super) fn stored(&self) -> String {
        format!("{}:{}", self.prompts, self.models)
    }

    /// The recipe as a store keeps it with what was finished: the prompts above, the models below.
    pub(super) fn number(&self) -> i64 {
        let half = |part: &str| {
            let digest = Digest::of(part.as_bytes());
            let start = digest.as_bytes().first_chunk().copied().unwrap_or_default();
            i64::from(u32::from_le_bytes(start))
        };
        (half(&self.prompts) << 32) | half(&self.models)
    }
}

/// The limits a minute of a route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteLimits {
    /// Requests.
    pub rpm: Option<u32>,
    /// Tokens, input and output together.
    pub tpm: Option<u64>,
}

impl Terms {
    /// In what `ours` differ from these, for people; empty if they agree. A route that only one of them knows is no
    /// difference: it is not used by both.
    pub fn differences(&self, ours: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.agents != ours.agents {
            found.push(format!(
                "its agents are others ({}… and not {}…)",
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
            let shown = |until: &Option<String>| until.clone().unwrap_or_else(|| "nothing".to_owned());
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
            found.push(format!("it says `{theirs}` on a failed task, not `{mine}`"));
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

fn limits(limits: RouteLimits) -> String {
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
        let theirs = Terms {
            agents: "aaaaaaaaaaaa".to_owned(),
            limits: [("primary", 60), ("only theirs", 1)]
                .map(|(name, rpm)| {
                    let limits = RouteLimits {
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
        let ours = Terms {
            agents: "bbbbbbbbbbbb".to_owned(),
            limits: [(
                "primary".to_owned(),
                RouteLimits {
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
                "its agents are others (aaaaaaaa… and not bbbbbbbb…)",
                "its cost cap is none, not $5",
                "it pauses after nothing, not insight",
                "its tasks are planned, not insight,answer",
                "it says `fail` on a failed task, not `continue`",
                "route `primary` has 60 requests a minute, not 9 tokens a minute",
            ]
        );
    }
}
