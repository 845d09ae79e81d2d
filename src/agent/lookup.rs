//! The items that a task needs from its session.

use std::collections::HashSet;

use crate::domain::references::references_in;
use crate::domain::request::Brief;

/// Returns the ids of items to look up: those that a request or one of its tasks references, and those that were chosen.
pub(super) fn wanted(brief: &Brief, input: &str) -> Vec<String> {
    let chosen = brief.selections.chosen().map(|item| item.id.clone());
    let mut wanted = referenced(brief, input);
    let chosen: Vec<String> = chosen.filter(|id| !wanted.contains(id)).collect();
    wanted.extend(chosen);
    wanted
}

/// Returns the ids that a request or one of its tasks references.
pub(super) fn referenced(brief: &Brief, input: &str) -> Vec<String> {
    let listed = brief
        .references
        .iter()
        .filter_map(|reference| reference.strip_prefix('@'))
        .map(str::to_owned);
    let written = [brief.query.as_deref().unwrap_or_default(), input];
    let mut known = HashSet::new();
    listed
        .chain(written.into_iter().flat_map(references_in))
        .filter(|id| known.insert(id.clone()))
        .collect()
}
