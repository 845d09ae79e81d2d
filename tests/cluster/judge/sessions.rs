//! Sessions: one request after the other, and items numbered without a gap.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Index, Scene};
use crate::cluster::evidence::Call;
use crate::cluster::verdict::Verdicts;
use crate::cluster::work;

/// The requests of a session, and the tasks of a request, run one after the other, in each run in the order of the
/// lines. The leases show it: a session has one at a time in the whole store. So do the calls whose answers are
/// results.
pub(super) fn session_order(scene: &Scene<'_>, index: &Index<'_>, verdicts: &mut Verdicts) {
    let mut faults = one_lease(scene, index);
    let mut sessions: BTreeMap<usize, Vec<(usize, &Call)>> = BTreeMap::new();
    for settled in &scene.testimony.settled {
        let request = index.requests.get(&settled.queue).copied();
        let session = request.and_then(|request| scene.work.session(request));
        if let (Some(request), Some(session), Some(call)) = (request, session, index.used(settled)) {
            sessions.entry(session).or_default().push((request, call));
        }
    }
    for (session, calls) in &mut sessions {
        calls.sort_by_key(|(_, call)| call.began);
        for pair in calls.windows(2) {
            let [(before, earlier), (after, later)] = pair else {
                continue;
            };
            if earlier.end.as_ref().is_some_and(|end| end.at > later.began) {
                let (after, before) = (work::custom_id(*after), work::custom_id(*before));
                faults.push(format!(
                    "session {session}: {after} was asked while {before} was on its way"
                ));
            }
        }
        let mut last: [usize; 2] = [0; 2];
        for (request, _) in calls {
            let last = &mut last[scene.work.run_of(*request)];
            if request < last {
                let (name, before) = (work::custom_id(*request), work::custom_id(*last));
                faults.push(format!("session {session}: {name} was asked after {before}"));
            }
            *last = *request.max(last);
        }
    }
    let seen = format!("{} faults in {} sessions", faults.len(), sessions.len());
    verdicts.add("session order", seen, faults);
}

/// One queue of a session at a time has leased tasks, in both runs together. In each run one queue of a session is
/// open.
fn one_lease(scene: &Scene<'_>, index: &Index<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut holders: HashMap<usize, i64> = HashMap::new();
    // The open queues of each session in each run.
    let mut live: HashMap<(usize, usize), BTreeSet<i64>> = HashMap::new();
    for change in &scene.testimony.changes {
        let request = index.requests.get(&change.queue);
        let Some((request, session)) =
            request.and_then(|request| Some((*request, scene.work.session(*request)?)))
        else {
            continue;
        };
        let live = live.entry((session, scene.work.run_of(request))).or_default();
        if !change.of_task && change.state == "open" {
            live.insert(change.queue);
        } else if !change.of_task {
            live.remove(&change.queue);
        }
        if live.len() > 1 {
            let names: Vec<String> = live.iter().map(|queue| index.name(*queue)).collect();
            faults.push(format!(
                "session {session}: {} are open at once",
                names.join(" and ")
            ));
        }
        if change.begins_lease() {
            let before = holders.insert(session, change.queue);
            if let Some(before) = before.filter(|before| *before != change.queue) {
                let (name, other) = (index.name(change.queue), index.name(before));
                faults.push(format!("session {session}: {name} was leased beside {other}"));
            }
        } else if change.ends_lease() && holders.get(&session) == Some(&change.queue) {
            holders.remove(&session);
        }
    }
    faults
}

/// The items of a session are numbered from 1 for each kind, over both runs, and in each run in the order of its lines.
/// Items of a request without a session have their own numbers.
pub(super) fn item_numbers(scene: &Scene<'_>, verdicts: &mut Verdicts) {
    let mut numbers: BTreeMap<(String, String), Vec<(usize, u64)>> = BTreeMap::new();
    let mut faults = Vec::new();
    for line in scene.lines.iter().flatten() {
        let Some(request) = line["custom_id"].as_str().and_then(work::request) else {
            continue;
        };
        let place = match scene.work.session(request) {
            Some(session) => format!("session {session}"),
            None => work::custom_id(request),
        };
        for task in line["tasks"].as_array().into_iter().flatten() {
            for item in task["result"].as_array().into_iter().flatten() {
                let id = item["id"].as_str().unwrap_or_default();
                let kind = id.trim_end_matches(|c: char| c.is_ascii_digit());
                match id[kind.len()..].parse() {
                    Ok(number) => numbers
                        .entry((place.clone(), kind.to_owned()))
                        .or_default()
                        .push((request, number)),
                    Err(_) => faults.push(format!("{place} has an item `{id}`")),
                }
            }
        }
    }
    let mut items = 0;
    for ((place, kind), mut given) in numbers {
        items += given.len();
        // Within a run the lines decide the order, between the runs the numbers.
        let mut last = [(0, 0); 2];
        given.sort_by_key(|(_, number)| *number);
        for (due, (request, number)) in (1..).zip(given) {
            if number != due {
                faults.push(format!("{place} has {kind}{number} where {kind}{due} is due"));
                break;
            }
            let last = &mut last[scene.work.run_of(request)];
            if request < last.0 {
                faults.push(format!(
                    "{place}: {kind}{number} is of an earlier line than {kind}{}",
                    last.1
                ));
            }
            *last = (request, number);
        }
    }
    verdicts.add(
        "item numbers",
        format!("{} faults in {items} items", faults.len()),
        faults,
    );
}
