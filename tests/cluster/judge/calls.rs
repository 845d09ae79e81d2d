//! The calls, their cost, and the speed of the fleet.

use std::collections::HashMap;

use super::{Index, Scene, leases};
use crate::cluster::evidence::Call;
use crate::cluster::form::{Form, LEASE};
use crate::cluster::verdict::Verdicts;

/// The number of needed calls: one for each task and each plan of a model.
fn needed(scene: &Scene<'_>) -> usize {
    scene.testimony.settled.len()
}

/// Extra calls happen only when an answer was lost with a process or a lease.
pub(super) fn called_twice(scene: &Scene<'_>, verdicts: &mut Verdicts) {
    let mut faults = Vec::new();
    let (calls, needed) = (scene.calls.len(), needed(scene));
    let share = 100.0 * ratio(calls.saturating_sub(needed), needed);
    if share > scene.form.twice {
        faults.push(format!("expected {} % at most", scene.form.twice));
    }
    let seen = format!("{share:.1} % ({} beyond {needed})", calls.saturating_sub(needed));
    verdicts.add("called twice", seen, faults);
}

/// No minute has more calls of the limited route than its limit. No ten seconds have more than their share of it, plus
/// the calls that a tenth of a second and the way to the server add. The second rule makes a short run show the faults
/// of a long one.
pub(crate) fn limits(calls: &[Call], form: Form, verdicts: &mut Verdicts) {
    let times: Vec<i64> = calls
        .iter()
        .filter(|call| call.model == "limited")
        .map(|call| call.began_ms)
        .collect();
    let most = |span: i64| {
        let within =
            |(first, began): (usize, &i64)| times.partition_point(|time| *time < began + span) - first;
        times.iter().enumerate().map(within).max().unwrap_or(0)
    };
    let (minute, short) = (most(60_000), most(10_000));
    let share = form.rpm * 106 / 600 + 2;
    let mut faults = Vec::new();
    if minute > form.rpm {
        faults.push(format!("{minute} calls in a minute, {} are allowed", form.rpm));
    }
    if short > share {
        faults.push(format!(
            "{short} calls in ten seconds, at most {share} are a minute's share"
        ));
    }
    let seen = format!(
        "{minute} of {} in the fullest minute, {short} of {share} in the fullest ten seconds, {} calls",
        form.rpm,
        times.len()
    );
    verdicts.add("limits", seen, faults);
}

/// The store's ledger has each call of a process once. Only calls in flight at a kill may be missing: called and not
/// yet durable, twice the concurrency at most.
pub(super) fn ledger(scene: &Scene<'_>, index: &Index<'_>, verdicts: &mut Verdicts) {
    let mut called: HashMap<&str, usize> = HashMap::new();
    for call in scene.calls {
        *called
            .entry(index.caller(call).unwrap_or("somebody unknown"))
            .or_default() += 1;
    }
    let mut booked: HashMap<&str, usize> = HashMap::new();
    // These calls were given up, perhaps before the server saw them.
    let mut abandoned: HashMap<&str, usize> = HashMap::new();
    for attempt in &scene.testimony.attempts {
        let owner = index.owner(attempt.queue, attempt.fence).unwrap_or("nobody");
        *booked.entry(owner).or_default() += 1;
        *abandoned.entry(owner).or_default() += usize::from(attempt.class == "abandoned");
    }
    let mut faults = Vec::new();
    for life in scene.lives {
        let count =
            |counts: &HashMap<&str, usize>| counts.get(life.who.as_str()).copied().unwrap_or_default();
        let (called, booked, abandoned) = (count(&called), count(&booked), count(&abandoned));
        let most = if life.killed.is_some() {
            2 * scene.form.concurrency
        } else {
            0
        };
        if booked > called + abandoned || called > booked + most {
            faults.push(format!(
                "{} called {called} times, of which {booked} are booked; {most} may be missing",
                life.who
            ));
        }
    }
    if let Some(calls) = booked.get("nobody") {
        faults.push(format!("{calls} calls are booked under fences that no lease had"));
    }
    let seen = format!(
        "{} of {} calls are booked",
        scene.testimony.attempts.len(),
        scene.calls.len()
    );
    verdicts.add("ledger", seen, faults);
}

/// Figures that are measured and not judged.
pub(crate) fn measured(scene: &Scene<'_>, seconds: f64) -> Vec<(String, String, String)> {
    let rate = ratio(needed(scene), 1) / seconds;
    let mut after = recovered(scene);
    after.sort_unstable();
    let at = |share: usize| {
        let place = (after.len() * share / 100).min(after.len().saturating_sub(1));
        ratio(
            after.get(place).map_or(0, |ms| usize::try_from(*ms).unwrap_or(0)),
            1000,
        )
    };
    let late = leases::late_calls(scene, &Index::of(scene));
    vec![
        (
            "calls begun after their lease was lost".to_owned(),
            format!(
                "{} of {}, {} ms at most",
                late.len(),
                scene.calls.len(),
                late.iter().max().unwrap_or(&0)
            ),
            "their answers are not used".to_owned(),
        ),
        (
            "throughput in the storm, restarts included".to_owned(),
            format!("{rate:.0} tasks a second, {seconds:.0} s"),
            "–".to_owned(),
        ),
        (
            "from a kill until others have what it held".to_owned(),
            format!(
                "{:.1} s (median), {:.1} s (99 of 100), {:.1} s at most, of {} leases",
                at(50),
                at(99),
                at(100),
                after.len()
            ),
            format!("about a lease of {} s and a third of it", LEASE.as_secs()),
        ),
    ]
}

/// For each queue that a killed process held, the time until it was leased again.
fn recovered(scene: &Scene<'_>) -> Vec<i64> {
    let mut held: HashMap<i64, &str> = HashMap::new();
    let killed: HashMap<&str, i64> = scene
        .lives
        .iter()
        .filter_map(|life| Some((life.who.as_str(), life.killed?)))
        .collect();
    let mut orphans: HashMap<i64, i64> = HashMap::new();
    let mut times = Vec::new();
    for change in &scene.testimony.changes {
        if change.is_claim() {
            if let Some(since) = orphans.remove(&change.queue) {
                times.push(change.at_ms - since);
            }
            held.insert(change.queue, &change.who);
        } else if change.begins_lease() {
            held.insert(change.queue, &change.who);
        } else if change.ends_lease() {
            let owner = held.remove(&change.queue);
            let dead = owner.and_then(|owner| killed.get(owner));
            if let Some(since) = dead.filter(|since| change.is_loss() && change.at_ms > **since) {
                orphans.insert(change.queue, *since);
            }
        }
    }
    times
}

#[expect(clippy::cast_precision_loss, reason = "counts of a test are small")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}
