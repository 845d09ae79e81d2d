//! The invariants that hold after any storm. Each failure names its oracle, and each oracle has a mutant in
//! `scripts/cluster-mutants` that it has to find.

mod calls;
mod leases;
mod results;
mod sessions;

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::evidence::{Call, Fate, NO_MARK};
use super::form::Form;
use super::process::Ended;
use super::processes::Life;
use super::verdict::Verdicts;
use super::witness::{Change, Queue, Settled, Testimony};
use super::work::{self, Work};

pub(crate) use calls::{limits, measured};

/// The oracles and their allowed values.
pub(crate) const PROMISES: [(&str, &str); 12] = [
    ("unfinished", "0"),
    ("lost", "0"),
    ("written twice", "0"),
    ("stale result", "0"),
    ("two owners", "0"),
    ("fence falls", "0"),
    ("lease taken early", "0"),
    ("session order", "0 out of order, 0 at a time"),
    ("item numbers", "no gap, no repeat"),
    ("limits", "0 above the limit"),
    ("called twice", "at most 5 %"),
    ("ledger", "as the server counted"),
];

/// All evidence.
pub(crate) struct Scene<'a> {
    pub(crate) form: Form,
    pub(crate) work: &'a Work,
    /// The calls in the order of the mock's log. A call that asks for a better answer has no mark.
    pub(crate) calls: &'a [Call],
    pub(crate) lives: &'a [Life],
    /// Wrong exits of processes.
    pub(crate) faults: &'a [String],
    /// Why the runs could not be finished.
    pub(crate) stuck: Option<&'a str>,
    pub(crate) testimony: &'a Testimony,
    /// The lines of each run's result file.
    pub(crate) lines: [Vec<Value>; 2],
    /// The output of `status --json` for each run.
    pub(crate) status: [Value; 2],
    /// The output of `verify` for each file.
    pub(crate) verified: [Ended; 2],
}

/// Runs every oracle.
pub(crate) fn all(scene: &Scene<'_>, verdicts: &mut Verdicts) {
    let index = Index::of(scene);
    results::unfinished(scene, verdicts);
    results::lost(scene, verdicts);
    results::written_twice(scene, verdicts);
    leases::stale_result(scene, &index, verdicts);
    leases::two_owners(scene, &index, verdicts);
    leases::fence_falls(scene, verdicts);
    leases::lease_taken_early(scene, &index, verdicts);
    sessions::session_order(scene, &index, verdicts);
    sessions::item_numbers(scene, verdicts);
    if scene.form.long {
        limits(scene.calls, scene.form, verdicts);
    }
    calls::called_twice(scene, verdicts);
    calls::ledger(scene, &index, verdicts);
}

/// The evidence, indexed by its subject.
struct Index<'a> {
    /// The request of each queue.
    requests: HashMap<Queue, usize>,
    queues: HashMap<usize, Queue>,
    /// The first claim of a queue under each fence. Further claims are a fault of their own.
    claims: HashMap<(Queue, i64), &'a Change>,
    /// The calls with an answer, by the beginning of the prompt's digest.
    answers: HashMap<&'a str, Vec<&'a Call>>,
    /// The names of processes by their key in the mock.
    names: HashMap<String, &'a str>,
}

impl<'a> Index<'a> {
    fn of(scene: &Scene<'a>) -> Self {
        let mut requests = HashMap::new();
        for stand in &scene.testimony.stands {
            if let Some(request) = work::request(&stand.custom_id) {
                requests.insert(stand.queue, request);
            }
        }
        let queues = requests
            .iter()
            .map(|(queue, request)| (*request, *queue))
            .collect();
        let mut claims = HashMap::new();
        for change in scene.testimony.changes.iter().filter(|change| change.is_claim()) {
            claims.entry((change.queue, change.fence)).or_insert(change);
        }
        let mut answers: HashMap<&str, Vec<&Call>> = HashMap::new();
        for call in scene.calls.iter().filter(|call| call.fate() == Fate::Answered) {
            answers.entry(&call.digest).or_default().push(call);
        }
        let names = scene
            .lives
            .iter()
            .map(|life| (nova3::mock::key_id(&life.who), life.who.as_str()))
            .collect();
        Self {
            requests,
            queues,
            claims,
            answers,
            names,
        }
    }

    /// Returns the process that claimed the queue under that fence.
    fn owner(&self, queue: Queue, fence: i64) -> Option<&'a str> {
        self.claims.get(&(queue, fence)).map(|claim| claim.who.as_str())
    }

    /// Returns the process that made a call.
    fn caller(&self, call: &Call) -> Option<&'a str> {
        self.names.get(call.key.as_deref()?).copied()
    }

    /// Returns the call that gave the answer of a settled task: for the same request and prompt, by the process that
    /// settled it, and at the time which that process reports.
    fn used(&self, settled: &Settled) -> Option<&'a Call> {
        let (fence, began, lasted) = settled.called?;
        let request = self.requests.get(&settled.queue)?;
        let owner = self.owner(settled.queue, fence)?;
        let answers = self.answers.get(settled.digest.as_str())?;
        let is_it = |call: &&&Call| {
            (call.mark.0 == *request || call.mark == NO_MARK)
                && self.caller(call) == Some(owner)
                && (began - CLOCKS..=began + lasted + CLOCKS).contains(&call.began_ms)
        };
        answers.iter().find(is_it).copied()
    }

    /// The name of a queue for people.
    fn name(&self, queue: Queue) -> String {
        self.requests
            .get(&queue)
            .map_or_else(|| format!("queue {queue}"), |request| work::custom_id(*request))
    }
}

/// The most milliseconds between two readings of this machine's clock that count as the same moment, because times are
/// rounded.
const CLOCKS: i64 = 2;

/// Returns the changes of each queue, in their order.
fn by_queue(changes: &[Change]) -> BTreeMap<Queue, Vec<&Change>> {
    let mut queues: BTreeMap<Queue, Vec<&Change>> = BTreeMap::new();
    for change in changes {
        queues.entry(change.queue).or_default().push(change);
    }
    queues
}
