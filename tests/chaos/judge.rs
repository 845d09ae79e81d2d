//! The invariants that hold after any storm. Each failure names its oracle, and each oracle has a mutant in
//! `scripts/chaos-mutants` that it alone has to find.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::evidence::{Call, Fate, Mark, quoted};
use super::output::Output;
use super::verdict::Verdicts;
use super::work::{self, Place, Work};

/// The oracles of the storm and their allowed values.
pub(crate) const PROMISES: [(&str, &str); 10] = [
    ("finished", "all, none failed"),
    ("none lost", "each request once"),
    ("right answer", "each task its own"),
    ("none twice", "0"),
    ("session order", "0 out of order, 0 at a time"),
    ("item numbers", "no gap, no repeat"),
    ("calls", "needed + faults + in flight at kills"),
    ("whole", "after every kill"),
    ("ledger", "as the server counted"),
    ("free", "0"),
];

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// By `kill -9`.
    Killed,
    /// By a signal that let calls in flight finish.
    Stopped,
    /// By itself, with no work left.
    Finished,
}

/// All evidence.
pub(crate) struct Scene<'a> {
    pub(crate) work: &'a Work,
    /// The calls in the order of the mock's log.
    pub(crate) calls: &'a [Call],
    /// Calls that belong to no task.
    pub(crate) unmarked: usize,
    pub(crate) lives: &'a [Life],
    pub(crate) output: &'a Output,
    /// The lines of the result file.
    pub(crate) lines: Vec<Value>,
    /// The output of `status --json`.
    pub(crate) status: &'a Value,
    pub(crate) concurrency: usize,
    /// Why the run could not be finished.
    pub(crate) stuck: Option<&'a str>,
}

/// Runs every oracle.
pub(crate) fn all(scene: &Scene<'_>, verdicts: &mut Verdicts) {
    finished(scene, verdicts);
    none_lost(scene, verdicts);
    right_answer(scene, verdicts);
    none_twice(scene, verdicts);
    session_order(scene, verdicts);
    item_numbers(scene, verdicts);
    calls(scene, verdicts);
    whole(scene, verdicts);
    ledger(scene, verdicts);
}

impl Scene<'_> {
    /// Returns the lines by their requests, the last one of each.
    fn by_request(&self) -> BTreeMap<usize, &Value> {
        let named = |line: &'_ Value| line["custom_id"].as_str().and_then(work::request);
        self.lines
            .iter()
            .filter_map(|line| Some((named(line)?, line)))
            .collect()
    }

    /// Returns the call of each task whose answer was used: the last one that was answered.
    fn used(&self) -> BTreeMap<Mark, &Call> {
        let answered = self.calls.iter().filter(|call| call.fate() == Fate::Answered);
        answered.map(|call| (call.mark, call)).collect()
    }
}

/// Every request is finished and none failed, by the store and by the lines.
pub(crate) fn finished(scene: &Scene<'_>, verdicts: &mut Verdicts) {
    let number = |key: &str| scene.status[key].as_u64().unwrap_or(u64::MAX);
    let requests = scene.work.requests() as u64;
    let mut faults: Vec<String> = scene.stuck.map(str::to_owned).into_iter().collect();
    for (key, expected) in [
        ("total", requests),
        ("done", requests),
        ("failed", 0),
        ("left", 0),
    ] {
        if number(key) != expected {
            faults.push(format!(
                "`status` says {key} is {}, expected {expected}",
                number(key)
            ));
        }
    }
    let bad = scene
        .lines
        .iter()
        .filter(|line| line["status"] != "completed" || line["ok"] != true);
    faults.extend(bad.map(|line| format!("{} is {}: {}", line["custom_id"], line["status"], line["error"])));
    verdicts.add("finished", format!("{} of {requests}", number("done")), faults);
}

/// One line for each request, once.
pub(crate) fn none_lost(scene: &Scene<'_>, verdicts: &mut Verdicts) {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for line in &scene.lines {
        *times
            .entry(line["custom_id"].as_str().unwrap_or_default().to_owned())
            .or_default() += 1;
    }
    let mut faults = Vec::new();
    for id in (0..scene.work.requests()).map(work::custom_id) {
        match times.remove(&id).unwrap_or(0) {
            1 => {}
            found => faults.push(format!("{id} has {found} lines")),
        }
    }
    faults.extend(times.keys().map(|id| format!("no request has the id `{id}`")));
    verdicts.add("none lost", format!("{} lines", scene.lines.len()), faults);
}

/// Each task of each line has the answer to its own prompt, from a call that was answered completely. A killed mock may
/// have sent an answer without logging it; such a call is accepted.
pub(crate) fn right_answer(scene: &Scene<'_>, verdicts: &mut Verdicts) {
    let whole: BTreeSet<(Mark, &str)> = scene
        .calls
        .iter()
        .filter(|call| call.fate() == Fate::Answered || call.end.is_none())
        .map(|call| (call.mark, call.digest.as_str()))
        .collect();
    let (mut good, mut faults) = (0, Vec::new());
    if scene.unmarked > 0 {
        faults.push(format!("{} calls ask for no task", scene.unmarked));
    }
    for (request, line) in scene.by_request() {
        let tasks = line["tasks"].as_array().map_or(&[][..], Vec::as_slice);
        let actions: Vec<_> = tasks
            .iter()
            .map(|task| task["action"].as_str().unwrap_or_default())
            .collect();
        if request < scene.work.requests() && actions != work::plan(request) {
            faults.push(format!("{} did {actions:?}", work::custom_id(request)));
        }
        for (index, task) in tasks.iter().enumerate() {
            let result = task["result"].to_string();
            let quoted: Vec<&str> = quoted(&result).collect();
            if quoted.len() == 1 && whole.contains(&((request, index), quoted[0])) {
                good += 1;
            } else {
                faults.push(format!(
                    "task {index} of {}: {result:.300}",
                    work::custom_id(request)
                ));
            }
        }
    }
    verdicts.add(
        "right answer",
        format!("{good} tasks of {}", scene.work.tasks()),
        faults,
    );
}

/// A task whose answer is settled is never asked again. It is settled when its next task is asked, when the line of its
/// request was seen, and while its process lives.
fn none_twice(scene: &Scene<'_>, verdicts: &mut Verdicts) {
    let mut faults = Vec::new();
    let mut reached: BTreeMap<usize, usize> = BTreeMap::new();
    let mut paid: BTreeSet<(usize, Mark)> = BTreeSet::new();
    for call in scene.calls {
        let (request, task) = call.mark;
        let name = work::custom_id(request);
        let reached = reached.entry(request).or_default();
        if task < *reached {
            faults.push(format!(
                "task {task} of {name} was asked again after task {reached}"
            ));
        }
        *reached = task.max(*reached);
        if scene
            .output
            .seen
            .get(&request)
            .is_some_and(|seen| *seen < call.life)
        {
            faults.push(format!(
                "task {task} of {name} was asked again after its line was written"
            ));
        }
        if call.fate() != Fate::Fault && !paid.insert((call.life, call.mark)) {
            faults.push(format!(
                "task {task} of {name} was answered and asked again by one process"
            ));
        }
    }
    verdicts.add(
        "none twice",
        format!("{} of {} settled tasks", faults.len(), scene.work.tasks()),
        faults,
    );
}

/// The requests of a session, and the tasks of a request, run one after the other in the order of their lines.
fn session_order(scene: &Scene<'_>, verdicts: &mut Verdicts) {
    let mut faults = Vec::new();
    // The last call of each place, and the end of its last answer.
    let mut last: BTreeMap<&Place, (Mark, usize)> = BTreeMap::new();
    for call in scene.calls {
        let place = scene.work.place(call.mark.0);
        let (mark, over) = last.get(place).copied().unwrap_or_default();
        if call.mark.0 < mark.0 {
            faults.push(format!("{:?} was asked after {mark:?} ({place:?})", call.mark));
        }
        if call.mark != mark && call.began < over {
            faults.push(format!(
                "{:?} was asked while {mark:?} was on its way ({place:?})",
                call.mark
            ));
        }
        // The mock notices late when a client has dropped a call.
        let end = call
            .end
            .as_ref()
            .filter(|end| end.outcome != "stall" && end.outcome != "client_gone");
        last.insert(
            place,
            (call.mark.max(mark), end.map_or(over, |end| end.at.max(over))),
        );
    }
    let sessions = scene
        .work
        .by_place()
        .into_values()
        .filter(|requests| requests.len() > 1)
        .count();
    verdicts.add(
        "session order",
        format!("{} faults in {sessions} sessions of several lines", faults.len()),
        faults,
    );
}

/// The items of a place are numbered from 1 for each kind, in the order of its tasks, without gap or repeat.
pub(crate) fn item_numbers(scene: &Scene<'_>, verdicts: &mut Verdicts) {
    let lines = scene.by_request();
    let (mut items, mut faults) = (0, Vec::new());
    for (place, requests) in scene.work.by_place() {
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        let lines = requests.iter().filter_map(|request| lines.get(request));
        let tasks = lines.flat_map(|line| line["tasks"].as_array().into_iter().flatten());
        for task in tasks {
            let kind = task["action"].as_str().unwrap_or_default();
            let results = task["result"].as_array().map_or(&[][..], Vec::as_slice);
            for item in results {
                let number = numbers.entry(kind).or_default();
                *number += 1;
                items += 1;
                if item["id"] != format!("{kind}{number}") {
                    faults.push(format!(
                        "{place:?} has {} where {kind}{number} is due",
                        item["id"]
                    ));
                }
            }
            if results.is_empty() {
                faults.push(format!("{place:?} has a task without items"));
            }
        }
    }
    verdicts.add(
        "item numbers",
        format!("{items} items in {} places", scene.work.by_place().len()),
        faults,
    );
}

/// The calls beyond one for each task are the injected faults and, at each kill, the calls in flight: called and not
/// yet durable, twice the concurrency at most. A process that ends by a signal loses none. Every call is of one of
/// these kinds, so only the bounds of each process are judged.
fn calls(scene: &Scene<'_>, verdicts: &mut Verdicts) {
    let used = scene.used();
    let mut lost = vec![0; scene.lives.len()];
    let mut injected = 0;
    for call in scene.calls {
        match call.fate() {
            Fate::Fault => injected += 1,
            Fate::Answered if used.get(&call.mark).is_some_and(|used| used.began == call.began) => {}
            Fate::Answered | Fate::Gone => lost[call.life] += 1,
        }
    }
    let mut faults = Vec::new();
    for (number, (life, lost)) in scene.lives.iter().zip(&lost).enumerate() {
        let most = if *life == Life::Killed {
            2 * scene.concurrency
        } else {
            0
        };
        if *lost > most {
            faults.push(format!(
                "life {number}, {life:?}, lost {lost} calls, at most {most} may be"
            ));
        }
    }
    let sum: usize = lost.iter().sum();
    let most = lost.iter().max().copied().unwrap_or_default();
    let seen = format!(
        "{} beyond {}: {injected} faults, {sum} in flight at kills ({most} at most)",
        scene.calls.len() - scene.work.tasks().min(scene.calls.len()),
        scene.work.tasks()
    );
    verdicts.add("calls", seen, faults);
}

/// The result file only grew, by complete lines.
fn whole(scene: &Scene<'_>, verdicts: &mut Verdicts) {
    let output = scene.output;
    let seen = format!(
        "{} looks; {} torn last lines and {} appends taken back, all made good by a later start",
        output.looks, output.torn, output.taken_back
    );
    verdicts.add("whole", seen, output.faults.clone());
}

/// The store's ledger equals the mock's count: the tokens of each used answer, and the calls. A call may only be
/// missing if no settled answer followed it in the same process.
fn ledger(scene: &Scene<'_>, verdicts: &mut Verdicts) {
    let used = scene.used();
    let mut faults = Vec::new();
    let (mut input, mut output) = (0, 0);
    for (request, line) in scene.by_request() {
        for (index, task) in line["tasks"].as_array().into_iter().flatten().enumerate() {
            let tokens = |key: &str| task["usage"][key].as_u64().unwrap_or_default();
            let told = (tokens("input_tokens"), tokens("output_tokens"));
            let counted = used.get(&(request, index)).map_or((0, 0), |call| call.tokens());
            (input, output) = (input + counted.0, output + counted.1);
            if told != counted {
                let name = work::custom_id(request);
                faults.push(format!(
                    "task {index} of {name} has {told:?} tokens, the server counted {counted:?}"
                ));
            }
        }
    }
    let number = |key: &str| scene.status[key].as_u64().unwrap_or_default();
    if number("input_tokens") < input || number("output_tokens") < output {
        let told = (number("input_tokens"), number("output_tokens"));
        faults.push(format!(
            "`status` tells of {told:?} tokens, the answers alone have {:?}",
            (input, output)
        ));
    }
    let settled = |call: &&Call| used.get(&call.mark).is_some_and(|used| used.life == call.life);
    let least = scene.calls.iter().filter(settled).count();
    let attempts = usize::try_from(number("attempts")).expect("few attempts");
    if attempts < least || attempts > scene.calls.len() {
        let most = scene.calls.len();
        faults.push(format!(
            "`status` tells of {attempts} attempts, expected {least} to {most}"
        ));
    }
    let seen = format!(
        "{attempts} attempts ({least} to {}), {input} + {output} tokens",
        scene.calls.len()
    );
    verdicts.add("ledger", seen, faults);
}
