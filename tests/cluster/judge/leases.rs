//! Leases, their fences and their owners.

use std::collections::{HashMap, HashSet};

use super::{CLOCKS, Index, Scene, by_queue};
use crate::cluster::evidence::{Call, NO_MARK};
use crate::cluster::verdict::Verdicts;
use crate::cluster::work;

/// The beginning of a lease, and its end if it ended.
type Span = (i64, Option<i64>);

/// A result is settled by the process that holds the newest fence, under this fence, and is the answer to its own call.
pub(super) fn stale_result(scene: &Scene<'_>, index: &Index<'_>, verdicts: &mut Verdicts) {
    let mut faults = Vec::new();
    for change in scene
        .testimony
        .changes
        .iter()
        .filter(|change| change.is_settled())
    {
        let owner = index.owner(change.queue, change.was_fence);
        if owner != Some(&change.who) {
            let (name, who) = (index.name(change.queue), &change.who);
            let fence = change.was_fence;
            faults.push(format!(
                "{name} was settled by {who}, its fence {fence} was {owner:?}'s"
            ));
        }
    }
    for settled in &scene.testimony.settled {
        let (name, task) = (index.name(settled.queue), settled.task);
        match settled.called {
            Some((fence, ..)) if fence != settled.fence => faults.push(format!(
                "task {task} of {name} was called under fence {fence} and settled under {}",
                settled.fence
            )),
            Some(_) if index.used(settled).is_some() => {}
            _ => faults.push(format!(
                "task {task} of {name} quotes `{}`, which is no answer to a call of its owner",
                settled.digest
            )),
        }
    }
    let seen = format!("{} of {}", faults.len(), scene.testimony.settled.len());
    verdicts.add("stale result", seen, faults);
}

/// Each fence has one owner: it is given once, and only its owner renews the lease. A process calls only for queues
/// that it had leased.
pub(super) fn two_owners(scene: &Scene<'_>, index: &Index<'_>, verdicts: &mut Verdicts) {
    let mut faults = Vec::new();
    let mut given: HashSet<(i64, i64)> = HashSet::new();
    // When each process first had each queue.
    let mut had: HashMap<(&str, i64), i64> = HashMap::new();
    for change in &scene.testimony.changes {
        let (name, who, fence) = (index.name(change.queue), &change.who, change.fence);
        if change.is_claim() {
            had.entry((who, change.queue)).or_insert(change.at_ms);
            if !given.insert((change.queue, fence)) {
                faults.push(format!("fence {fence} of {name} was given out again, to {who}"));
            }
        } else if change.is_renewal() && index.owner(change.queue, fence) != Some(who) {
            let owner = index.owner(change.queue, fence);
            faults.push(format!("{who} renewed {name}, its fence {fence} was {owner:?}'s"));
        }
    }
    for call in scene.calls.iter().filter(|call| call.mark != NO_MARK) {
        let caller = index.caller(call).unwrap_or("somebody unknown");
        let queue = index.queues.get(&call.mark.0);
        let since = queue.and_then(|queue| had.get(&(caller, *queue)));
        if since.is_none_or(|since| *since > call.began_ms + CLOCKS) {
            let name = work::custom_id(call.mark.0);
            faults.push(format!("{caller} called for {name} without having had it"));
        }
    }
    let seen = format!("{} of {} fences", faults.len(), given.len());
    verdicts.add("two owners", seen, faults);
}

/// A fence only grows, and does so at every claim, however the earlier lease ended.
pub(super) fn fence_falls(scene: &Scene<'_>, verdicts: &mut Verdicts) {
    let (mut losses, mut faults) = (0, Vec::new());
    for (queue, changes) in by_queue(&scene.testimony.changes) {
        let mut last = 0;
        for change in changes {
            losses += usize::from(change.is_loss());
            if !change.begins_lease() {
                continue;
            }
            if change.fence < last || (change.is_claim() && change.fence <= last) {
                let (was, state) = (&change.was_state, &change.state);
                let now = change.fence;
                faults.push(format!(
                    "queue {queue}: from {was} to {state} the fence went from {last} to {now}"
                ));
            }
            last = change.fence;
        }
    }
    let seen = format!("{} times; {losses} leases were lost", faults.len());
    verdicts.add("fence falls", seen, faults);
}

/// Only its owner ends a lease that has not expired.
pub(super) fn lease_taken_early(scene: &Scene<'_>, index: &Index<'_>, verdicts: &mut Verdicts) {
    let (mut taken, mut faults) = (0, Vec::new());
    for change in scene.testimony.changes.iter().filter(|change| change.is_loss()) {
        if index.owner(change.queue, change.was_fence) == Some(&change.who)
            && change.was_until >= Some(change.at_ms)
        {
            continue;
        }
        taken += 1;
        let left = change.was_until.unwrap_or(i64::MAX).saturating_sub(change.at_ms);
        if left > CLOCKS {
            let (name, who) = (index.name(change.queue), &change.who);
            faults.push(format!(
                "{who} took {name} away {left} ms before its lease was over"
            ));
        }
    }
    verdicts.add(
        "lease taken early",
        format!("{} of {taken}", faults.len()),
        faults,
    );
}

/// Returns by how many milliseconds calls began after their lease was lost. Their process was suspended and did not
/// know it yet.
pub(super) fn late_calls(scene: &Scene<'_>, index: &Index<'_>) -> Vec<i64> {
    // The leases of each process on each queue.
    let mut leases: HashMap<(&str, i64), Vec<Span>> = HashMap::new();
    for change in &scene.testimony.changes {
        if change.begins_lease() {
            let of = leases.entry((&change.who, change.queue)).or_default();
            of.push((change.at_ms, None));
        } else if change.ends_lease() {
            let owner = index.owner(change.queue, change.was_fence);
            let of = owner.and_then(|owner| leases.get_mut(&(owner, change.queue)));
            if let Some((_, end)) = of.and_then(|of| of.last_mut()) {
                *end = Some(change.at_ms);
            }
        }
    }
    let late = |call: &Call| {
        let queue = index.queues.get(&call.mark.0)?;
        let leases = leases.get(&(index.caller(call)?, *queue))?;
        let (_, end) = leases
            .iter()
            .rfind(|(begin, _)| *begin <= call.began_ms + CLOCKS)?;
        Some(call.began_ms - (*end)?).filter(|late| *late > CLOCKS)
    };
    scene.calls.iter().filter_map(late).collect()
}
