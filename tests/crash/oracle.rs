//! The invariants that hold after any failure. Each failure names its oracle.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::evidence::Marked;
use super::input::Line;
use crate::support::evidence::{Call, quoted};

/// The marker for each digest that answers quote.
pub(crate) type Digests = BTreeMap<String, String>;

/// Returns the markers by the digests that answers quote.
pub(crate) fn digests(calls: &[Call]) -> Digests {
    calls
        .iter()
        .map(|call| (call.digest.clone(), call.marker()))
        .collect()
}

/// Returns the markers of the answers in complete lines. A torn last line is skipped.
pub(crate) fn answers(bytes: &[u8], digests: &Digests) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(bytes);
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole
        .flat_map(quoted)
        .filter_map(|digest| digests.get(digest).cloned())
        .collect()
}

/// Oracle `once`: every line is complete, and each present request has exactly one line, with the answer to its present
/// version. No other line is there.
pub(crate) fn once(bytes: &[u8], lines: &[Line], digests: &Digests, in_order: bool) {
    let found = whole_lines(bytes);
    let ids: Vec<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
    let expected: Vec<String> = lines.iter().map(Line::custom_id).collect();
    if in_order {
        let same = ids
            .iter()
            .zip(&expected)
            .take_while(|(found, expected)| *found == expected)
            .count();
        assert!(
            ids.len() == expected.len() && same == ids.len(),
            "oracle `order of lines`: differs at line {}",
            same + 1
        );
    }
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for id in &expected {
        *counts.entry(id).or_default() += 1;
    }
    for id in ids {
        *counts.entry(id).or_default() -= 1;
    }
    let wrong: Vec<_> = counts
        .into_iter()
        .filter(|(_, count)| *count != 0)
        .take(5)
        .collect();
    assert!(
        wrong.is_empty(),
        "oracle `once`: missing (positive) or surplus (negative) lines: {wrong:?}"
    );
    let present: BTreeMap<String, String> = lines
        .iter()
        .map(|line| (line.custom_id(), line.marker()))
        .collect();
    for (id, line) in &found {
        let marker = quoted(line).next().and_then(|digest| digests.get(digest));
        assert!(
            marker == present.get(id),
            "oracle `latest`: {id} has the answer of {marker:?}"
        );
    }
}

/// Oracle `whole`: no line is torn or not JSON. Returns the lines with their `custom_id`s.
pub(crate) fn whole_lines(bytes: &[u8]) -> Vec<(String, String)> {
    assert!(
        bytes.is_empty() || bytes.ends_with(b"\n"),
        "oracle `whole`: the last line is torn"
    );
    let text = std::str::from_utf8(bytes).expect("oracle `whole`: result lines are UTF-8");
    let parse = |line: &str| {
        let value: Value = serde_json::from_str(line)
            .unwrap_or_else(|fault| panic!("oracle `whole`: not a line of JSON ({fault}): {line:.120}"));
        (
            value["custom_id"].as_str().unwrap_or_default().to_owned(),
            line.to_owned(),
        )
    };
    text.lines().map(parse).collect()
}

/// Oracle `numbers`: the items of each place are numbered from 1 for each kind, without a gap and without a repeat. A
/// place is a session or a request without one. Each item comes with the name of its place.
pub(crate) fn numbered(items: &[(String, String)]) {
    let mut numbers: BTreeMap<(&str, &str), Vec<u64>> = BTreeMap::new();
    for (place, id) in items {
        let kind = id.trim_end_matches(|c: char| c.is_ascii_digit());
        let number = id[kind.len()..]
            .parse()
            .expect("oracle `numbers`: an id ends in a number");
        numbers.entry((place, kind)).or_default().push(number);
    }
    for ((place, kind), mut found) in numbers {
        found.sort_unstable();
        let gapless = (1..).zip(&found).all(|(expected, number)| expected == *number);
        assert!(gapless, "oracle `numbers`: the {kind}s of {place} are {found:?}");
    }
}

/// Oracle `whole`: no line is torn or not JSON. Returns the lines as JSON.
pub(crate) fn objects(bytes: &[u8]) -> Vec<Value> {
    whole_lines(bytes)
        .iter()
        .map(|(_, line)| serde_json::from_str(line).expect("oracle `whole`: a line is JSON"))
        .collect()
}

/// Returns the ids of the items in all tasks of a result line, each with its place.
pub(crate) fn items(line: &Value) -> Vec<(String, String)> {
    let place = line["session_id"].as_str().or(line["custom_id"].as_str());
    let place = place.expect("a line has a name");
    let tasks = line["tasks"].as_array().expect("a line has tasks");
    let items = tasks
        .iter()
        .filter_map(|task| task["result"].as_array())
        .flatten();
    items
        .map(|item| {
            (
                place.to_owned(),
                item["id"].as_str().expect("an item has an id").to_owned(),
            )
        })
        .collect()
}

/// Oracle `session`: the calls of a session do not overlap, and start in the order of its markers.
pub(crate) fn session(calls: &[Call], markers: &[String], cuts: &[i64]) {
    let place = |call: &Call| markers.iter().position(|marker| *marker == call.marker());
    let mut last = 0;
    for (earlier, later, cut) in overlap(calls, markers, cuts) {
        let (before, after) = (place(earlier), place(later));
        // A line is called again only after a kill.
        let in_order = before < after || (before == after && cut);
        assert!(
            in_order,
            "oracle `session`: {} ran after {}",
            later.marker(),
            earlier.marker()
        );
        last = after.unwrap_or(last);
    }
    assert!(
        last + 1 == markers.len() || markers.len() == 1,
        "oracle `session`: not all of it ran"
    );
}

/// Oracle `overlap`: a session has one call at a time. Returns each call with the next one, and whether a kill came
/// between them. A call that was cut off by a kill ended at the kill.
pub(crate) fn overlap<'a>(
    calls: &'a [Call],
    markers: &[String],
    cuts: &[i64],
) -> Vec<(&'a Call, &'a Call, bool)> {
    let mut ours: Vec<&Call> = calls
        .iter()
        .filter(|call| markers.contains(&call.marker()))
        .collect();
    ours.sort_by_key(|call| (call.began_ms, call.n));
    let judge = |pair: &[&'a Call]| {
        let (earlier, later) = (pair[0], pair[1]);
        let end = earlier.end.as_ref().expect("the mock is at rest").at_ms;
        let cut = cuts
            .iter()
            .copied()
            .find(|cut| *cut >= earlier.began_ms && *cut <= later.began_ms);
        let over = cut.map_or(end, |cut| cut.min(end));
        assert!(
            over <= later.began_ms,
            "oracle `overlap`: {} (until {over}) and {} (from {})",
            earlier.marker(),
            later.marker(),
            later.began_ms
        );
        (earlier, later, cut.is_some())
    };
    ours.windows(2).map(judge).collect()
}
