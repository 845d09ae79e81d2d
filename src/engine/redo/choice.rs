//! The choice of a redo: which requests, and from which task on.

use crate::domain::outcome::{Finished, Provenance, TaskRecord};
use crate::domain::state::TaskStatus;

/// Which tasks of which finished requests are made anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedoChoice {
    /// Only tasks with this action, and all tasks behind them. Without it all tasks.
    pub from: Option<String>,
    /// Only requests with these `custom_id`s. Empty means any.
    pub ids: Vec<String>,
    /// Only requests that match all of these.
    pub filters: Vec<RedoFilter>,
    /// Only tasks whose agent, model or context has changed, and all tasks behind them.
    pub stale: bool,
}

/// A condition on a finished request: one of its values for a key is in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedoFilter {
    key: FilterKey,
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FilterKey {
    Status,
    Class,
    Route,
    Model,
    User,
    Session,
    Degraded,
}

const KEYS: [(&str, FilterKey); 7] = [
    ("status", FilterKey::Status),
    ("class", FilterKey::Class),
    ("route", FilterKey::Route),
    ("model", FilterKey::Model),
    ("user", FilterKey::User),
    ("session", FilterKey::Session),
    ("degraded", FilterKey::Degraded),
];

impl RedoFilter {
    /// Reads `key=value` or `key=value,value`. The error is a sentence with the known keys.
    pub fn parse(text: &str) -> Result<Self, String> {
        let known = || KEYS.map(|(name, _)| name).join(", ");
        let Some((key, values)) = text.split_once('=') else {
            return Err(format!("`{text}` is no `key=value` (keys: {})", known()));
        };
        let Some((_, found)) = KEYS.into_iter().find(|(name, _)| *name == key.trim()) else {
            return Err(format!("`{}` is no key (known: {})", key.trim(), known()));
        };
        let values: Vec<String> = values
            .split(',')
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
            .collect();
        if values.is_empty() {
            return Err(format!("`{}` has no value", key.trim()));
        }
        Ok(Self { key: found, values })
    }

    fn matches(&self, row: &Finished) -> bool {
        let has = |value: &str| self.values.iter().any(|wanted| wanted == value);
        match self.key {
            FilterKey::Status => has(row.status.as_str()),
            FilterKey::Class => row
                .failure
                .as_ref()
                .is_some_and(|failure| has(failure.class.as_str())),
            FilterKey::Route => makings(row).any(|making| has(&making.route)),
            FilterKey::Model => makings(row).any(|making| has(&making.model)),
            FilterKey::User => has(&row.user_id),
            FilterKey::Session => row.session_id.as_deref().is_some_and(has),
            FilterKey::Degraded => has(if makings(row).any(|making| making.degraded) {
                "true"
            } else {
                "false"
            }),
        }
    }
}

fn makings(row: &Finished) -> impl Iterator<Item = &Provenance> {
    row.tasks.iter().filter_map(|task| task.making.as_ref())
}

impl RedoChoice {
    /// Whether the request is chosen, apart from its tasks.
    pub(super) fn takes(&self, row: &Finished) -> bool {
        let is_named = |id: &String| self.ids.contains(id);
        (self.ids.is_empty() || row.custom_id.as_ref().is_some_and(is_named))
            && self.filters.iter().all(|filter| filter.matches(row))
    }

    /// Whether the choice may take the task, apart from whether it is stale.
    pub(super) fn may_take(&self, task: &TaskRecord) -> bool {
        is_settled(task) && self.from.as_ref().is_none_or(|action| task.action == *action)
    }
}

/// Whether the task has run. A task behind a pause has not.
pub(super) const fn is_settled(task: &TaskRecord) -> bool {
    matches!(
        task.status,
        TaskStatus::Completed | TaskStatus::Failed | TaskStatus::Skipped
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_name_what_is_wrong() {
        assert!(RedoFilter::parse("status=partial, failed").is_ok());
        for (text, error) in [
            (
                "partial",
                "`partial` is no `key=value` (keys: status, class, route, model, user, session, degraded)",
            ),
            (
                "state=done",
                "`state` is no key (known: status, class, route, model, user, session, degraded)",
            ),
            ("status=,", "`status` has no value"),
        ] {
            assert_eq!(RedoFilter::parse(text), Err(error.to_owned()));
        }
    }
}
