//! Which requests of two runs are the same one.

use std::collections::{HashMap, VecDeque};

use crate::domain::request::Digest;

/// The properties by which a request is recognised.
#[derive(Debug, Clone)]
pub(super) struct JoinKey {
    pub(super) custom_id: Option<String>,
    /// The digest of its content, if it has no `custom_id`.
    pub(super) content: Option<Digest>,
    /// Its place in the input, from 0.
    pub(super) index: u64,
}

/// How two requests were recognised as the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SameBy {
    Id,
    Content,
    Place,
    /// Only one run has it.
    Nothing,
}

/// A request of the first run, of the second, or of both, by its place in the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestPair {
    pub(super) first: Option<usize>,
    pub(super) second: Option<usize>,
    pub(super) by: SameBy,
}

/// Returns the requests of both runs, those that are the same one together: with the same `custom_id`, else with the same
/// content, else without an id at the same place.
pub(super) fn pairs(first: &[JoinKey], second: &[JoinKey]) -> Vec<RequestPair> {
    let mut ids: HashMap<&str, usize> = HashMap::new();
    let mut texts: HashMap<Digest, VecDeque<usize>> = HashMap::new();
    let mut places: HashMap<u64, usize> = HashMap::new();
    for (place, key) in second.iter().enumerate() {
        if let Some(id) = &key.custom_id {
            ids.insert(id, place);
            continue;
        }
        if let Some(content) = key.content {
            texts.entry(content).or_default().push_back(place);
        }
        places.insert(key.index, place);
    }
    let mut taken = vec![false; second.len()];
    let mut found: Vec<RequestPair> = Vec::with_capacity(first.len());
    for (place, key) in first.iter().enumerate() {
        let (other, by) = if let Some(id) = &key.custom_id {
            (ids.get(id.as_str()).copied(), SameBy::Id)
        } else {
            let content = key.content.as_ref();
            let equal = content.and_then(|content| texts.get_mut(content)?.pop_front());
            (equal, SameBy::Content)
        };
        if let Some(other) = other {
            taken[other] = true;
        }
        found.push(RequestPair {
            first: Some(place),
            second: other,
            by: if other.is_some() { by } else { SameBy::Nothing },
        });
    }
    join_by_place(&mut found, first, &places, &mut taken);
    let alone = taken.iter().enumerate().filter(|(_, taken)| !**taken);
    found.extend(alone.map(|(place, _)| RequestPair {
        first: None,
        second: Some(place),
        by: SameBy::Nothing,
    }));
    found
}

/// Joins requests without an id that stand at the same place of both inputs.
fn join_by_place(
    found: &mut [RequestPair],
    first: &[JoinKey],
    places: &HashMap<u64, usize>,
    taken: &mut [bool],
) {
    for pair in found.iter_mut().filter(|pair| pair.second.is_none()) {
        let key = pair.first.and_then(|place| first.get(place));
        let Some(key) = key.filter(|key| key.custom_id.is_none()) else {
            continue;
        };
        if let Some(&other) = places.get(&key.index).filter(|&&other| !taken[other]) {
            taken[other] = true;
            pair.second = Some(other);
            pair.by = SameBy::Place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: u64, id: Option<&str>, content: Option<&str>) -> JoinKey {
        JoinKey {
            custom_id: id.map(str::to_owned),
            content: content.map(|content| Digest::of(content.as_bytes())),
            index,
        }
    }

    fn joined(first: &[JoinKey], second: &[JoinKey]) -> Vec<(Option<usize>, Option<usize>, SameBy)> {
        let pairs = pairs(first, second);
        pairs
            .iter()
            .map(|pair| (pair.first, pair.second, pair.by))
            .collect()
    }

    #[test]
    fn requests_are_joined_by_id_then_by_content_then_by_place() {
        let first = [
            key(0, Some("a"), None),
            key(1, None, Some("equal")),
            key(2, None, Some("old")),
            key(3, Some("b"), None),
        ];
        let second = [
            key(0, None, Some("equal")),
            key(1, Some("a"), None),
            key(2, None, Some("new")),
            key(3, Some("c"), None),
        ];
        assert_eq!(
            joined(&first, &second),
            [
                (Some(0), Some(1), SameBy::Id),
                (Some(1), Some(0), SameBy::Content),
                (Some(2), Some(2), SameBy::Place),
                (Some(3), None, SameBy::Nothing),
                (None, Some(3), SameBy::Nothing),
            ]
        );
    }

    #[test]
    fn an_id_is_never_joined_by_place() {
        let (first, second) = ([key(0, Some("a"), None)], [key(0, None, None)]);
        assert_eq!(
            joined(&first, &second),
            [(Some(0), None, SameBy::Nothing), (None, Some(0), SameBy::Nothing)]
        );
    }
}
