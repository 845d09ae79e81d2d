//! The rows of the table of requests, and which of them the page lists.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};

use super::quality::RequestMarks;
use super::sums::QueueSums;
use super::texts::TextBound;
use crate::domain::failure::Class;
use crate::domain::outcome::Finished;
use crate::domain::state::Status;
use crate::domain::usage::Cost;

/// The most rows that a page lists.
pub(super) const MOST_ROWS: usize = 20_000;

/// How many requests of each kind are chosen first: failures, and requests that need a look.
const FIRST: usize = 500;

/// How many of the slowest and of the most expensive requests are chosen.
const EXTREMES: usize = 50;

/// A finished request in one row.
#[derive(Debug, Clone)]
pub(super) struct RequestRow {
    pub(super) queue_id: i64,
    pub(super) index: u64,
    line: u64,
    custom_id: Option<String>,
    status: Status,
    class: Option<Class>,
    user: u32,
    session: Option<String>,
    completed_at: i64,
    marks: RequestMarks,
    sums: QueueSums,
}

/// The users of the rows by number, so that no name is kept twice.
#[derive(Debug, Default)]
pub(super) struct UserNumbers {
    numbers: HashMap<String, u32>,
    names: Vec<String>,
}

impl UserNumbers {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.numbers.insert(name.to_owned(), number);
        self.names.push(name.to_owned());
        number
    }

    pub(super) fn list(&self) -> &[String] {
        &self.names
    }
}

impl RequestRow {
    pub(super) fn new(
        finished: &Finished,
        marks: RequestMarks,
        sums: QueueSums,
        names: &mut UserNumbers,
    ) -> Self {
        Self {
            queue_id: finished.queue_id,
            index: finished.index,
            line: finished.line,
            custom_id: finished
                .custom_id
                .as_deref()
                .map(|id| TextBound { chars: 200 }.text(id)),
            status: finished.status,
            class: finished.failure.as_ref().map(|failure| failure.class),
            user: names.number(&finished.user_id),
            session: finished.session_id.clone(),
            completed_at: finished.completed_at,
            marks,
            sums,
        }
    }

    const fn is_bad(&self) -> bool {
        matches!(self.status, Status::Failed | Status::Partial)
    }

    fn cost(&self) -> Cost {
        self.sums.sums.cost
    }
}

/// A row with the place of its details on the page.
#[derive(Debug)]
pub(super) struct ListedRow<'a> {
    pub(super) row: &'a RequestRow,
    pub(super) detail: Option<usize>,
}

/// Writes a row as a list of cells, whose order the page's script knows.
impl Serialize for ListedRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let row = self.row;
        let mut cells = serializer.serialize_seq(None)?;
        cells.serialize_element(&row.line)?;
        cells.serialize_element(&row.custom_id)?;
        cells.serialize_element(row.status.as_str())?;
        cells.serialize_element(&row.class.map(Class::as_str))?;
        cells.serialize_element(&row.user)?;
        cells.serialize_element(&row.session)?;
        cells.serialize_element(&row.completed_at)?;
        cells.serialize_element(&row.sums.busy_ms)?;
        cells.serialize_element(&row.sums.sums.usd())?;
        cells.serialize_element(&row.sums.sums.usage.input_tokens)?;
        cells.serialize_element(&row.sums.sums.usage.output_tokens)?;
        cells.serialize_element(&row.sums.sums.calls)?;
        cells.serialize_element(&row.marks.bits())?;
        cells.serialize_element(&self.detail)?;
        cells.end()
    }
}

/// Returns the places of rows in the order in which their details are added: failures, requests that need a look, the
/// slowest and the most expensive ones, then all others, each kind spread evenly over the input.
pub(super) fn chosen(rows: &[RequestRow]) -> Vec<usize> {
    let all = || 0..rows.len();
    let bad: Vec<usize> = all().filter(|&place| rows[place].is_bad()).collect();
    let notable: Vec<usize> = all().filter(|&place| rows[place].marks.is_notable()).collect();
    let mut slow: Vec<usize> = all().collect();
    slow.sort_by_key(|&place| std::cmp::Reverse(rows[place].sums.busy_ms));
    let mut dear: Vec<usize> = all().collect();
    dear.sort_by_key(|&place| std::cmp::Reverse(rows[place].cost()));
    let others: Vec<usize> = all().collect();
    let kinds = [
        spread(&bad, FIRST),
        spread(&notable, FIRST),
        slow.into_iter().take(EXTREMES).collect(),
        dear.into_iter().take(EXTREMES).collect(),
        spread(&others, MOST_ROWS),
        bad,
        notable,
        others,
    ];
    let mut known = HashSet::new();
    let order = kinds.into_iter().flatten().filter(|&place| known.insert(place));
    order.take(MOST_ROWS).collect()
}

/// Returns up to `most` of the places at equal distances. The distances shrink step by step, so that the first ones are
/// spread evenly too.
fn spread(places: &[usize], most: usize) -> Vec<usize> {
    let mut step = places.len().next_power_of_two();
    let mut known = HashSet::new();
    let mut order = Vec::new();
    while step > 0 && order.len() < most {
        let fresh: Vec<usize> = (0..places.len())
            .step_by(step)
            .filter(|place| known.insert(*place))
            .collect();
        // The last step has more places than are left to take.
        let taken = fresh.len().min(most - order.len());
        order.extend((0..taken).map(|nth| places[fresh[nth * fresh.len() / taken]]));
        step /= 2;
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_spread_and_each_is_chosen_once() {
        let places: Vec<usize> = (100..116).collect();
        assert_eq!(spread(&places, 4), [100, 108, 104, 112]);
        assert_eq!(spread(&places, 6), [100, 108, 104, 112, 102, 110]);
        let mut all = spread(&places, 99);
        all.sort_unstable();
        assert_eq!(all, places);
        assert_eq!(spread(&[], 5), [0; 0]);
    }
}
