//! Publishes the links of a search chain that were asked.

use crate::engine::work::search::attempts_of;
use crate::observe::{TaskEvents, TaskFact};
use crate::search::{SearchError, SearchOutcome};

/// Publishes the links that were asked for one query. A query that joined an equal one asked none.
pub(super) fn publish(events: Option<&TaskEvents>, end: &Result<SearchOutcome, SearchError>) {
    let joined = end.as_ref().is_ok_and(|outcome| outcome.joined);
    let Some(events) = events.filter(|_| !joined) else {
        return;
    };
    for attempt in attempts_of(end) {
        let failure = attempt.failure.as_ref();
        events.publish(TaskFact::Searched {
            provider: attempt.link.clone(),
            outcome: failure.map_or("answered", |failure| failure.kind.name()),
            tries: attempt.tries,
            cost: attempt.cost,
            duration: attempt.elapsed,
        });
    }
}
