//! The use of earlier calls by agent and route, from the ledger.

use std::collections::{BTreeMap, HashMap};

use super::sums::number;
use crate::agent::{COMPLETION, QUERY_WRITER, SUPERVISOR};
use crate::domain::task::TaskNo;
use crate::domain::usage::TextSizes;
use crate::store::RecentCall;

/// The most different plans that the expectation of a plan is made of.
const PLANS: usize = 8;

/// The use of the finished tasks of an agent, all their calls together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Observed {
    tasks: f64,
    calls: f64,
    input: f64,
    cached: f64,
    written: f64,
    output: f64,
    busy_ms: f64,
    /// The counted tokens of the prompts whose text was measured, and the likely tokens of that text.
    measured: (f64, f64),
    /// How many results were measured, and their likely tokens.
    results: (f64, f64),
}

impl Observed {
    fn add(&mut self, task: &SeenTask) {
        self.tasks += 1.0;
        self.calls += task.calls;
        self.input += task.input;
        self.cached += task.cached;
        self.written += task.written;
        self.output += task.output;
        self.busy_ms += task.busy_ms;
        if let Some(likely) = task.sizes.prompt.filter(|likely| *likely > 0) {
            self.measured.0 += task.input;
            self.measured.1 += number(likely);
        }
        if let Some(result) = task.sizes.result {
            self.results.0 += 1.0;
            self.results.1 += number(result);
        }
    }

    /// Calls of a task.
    pub(super) fn calls(&self) -> f64 {
        mean(self.calls, self.tasks).unwrap_or(1.0)
    }

    /// Tokens of the answers of a task.
    pub(super) fn output(&self) -> f64 {
        mean(self.output, self.tasks).unwrap_or(0.0)
    }

    /// Milliseconds of the calls of a task.
    pub(super) fn busy_ms(&self) -> f64 {
        mean(self.busy_ms, self.tasks).unwrap_or(0.0)
    }

    /// The shares of prompt tokens that were read from the provider's cache and written to it.
    pub(super) fn cache_shares(&self) -> (f64, f64) {
        let share = |tokens: f64| mean(tokens, self.input).unwrap_or(0.0);
        (share(self.cached), share(self.written))
    }

    /// Counted tokens of all prompts of a task for each likely token of its text.
    pub(super) fn ratio(&self) -> Option<f64> {
        mean(self.measured.0, self.measured.1)
    }

    /// Likely tokens of a result in later prompts.
    pub(super) fn result(&self) -> Option<f64> {
        mean(self.results.1, self.results.0)
    }
}

fn mean(sum: f64, count: f64) -> Option<f64> {
    (count > 0.0).then(|| sum / count)
}

/// The calls of one task.
#[derive(Debug)]
struct SeenTask {
    action: String,
    route: String,
    model: String,
    has_answer: bool,
    calls: f64,
    input: f64,
    cached: f64,
    written: f64,
    output: f64,
    busy_ms: f64,
    sizes: TextSizes,
}

/// The agent of calls, their route, and the model if it is a Batch line, which names its own.
type LengthKey = (String, String, String);

/// The use of earlier calls by agent and route.
#[derive(Debug, Default)]
pub struct History {
    lengths: HashMap<LengthKey, Observed>,
    by_agent: HashMap<String, Observed>,
    by_route: HashMap<String, Observed>,
    /// Likely tokens of the search results of an agent.
    searches: HashMap<String, Observed>,
    /// Plans of the supervisor, each with its share.
    plans: Vec<(Vec<String>, f64)>,
}

impl History {
    /// Reads the calls of a ledger.
    pub fn of(calls: &[RecentCall]) -> Self {
        let mut history = Self::default();
        let mut queues: BTreeMap<i64, (Option<u64>, BTreeMap<TaskNo, SeenTask>)> = BTreeMap::new();
        for call in calls {
            let (tasks, seen) = queues.entry(call.queue_id).or_default();
            *tasks = call.tasks;
            seen.entry(call.task)
                .or_insert_with(|| SeenTask::new(call))
                .add(call);
        }
        let mut plans: BTreeMap<Vec<String>, f64> = BTreeMap::new();
        for (count, tasks) in queues.values() {
            for (no, task) in tasks {
                history.add(*no, task);
            }
            if let Some(plan) = plan_of(*count, tasks) {
                *plans.entry(plan).or_default() += 1.0;
            }
        }
        history.keep_plans(plans);
        history
    }

    fn add(&mut self, no: TaskNo, task: &SeenTask) {
        if no.is_search() {
            self.searches.entry(task.action.clone()).or_default().add(task);
        }
        if !task.has_answer || task.calls <= 0.0 {
            return;
        }
        let agent = match no {
            TaskNo::PLAN => SUPERVISOR,
            no if no.is_search() => QUERY_WRITER,
            _ => task.action.as_str(),
        };
        self.lengths
            .entry(key(agent, &task.route, &task.model))
            .or_default()
            .add(task);
        self.by_agent.entry(agent.to_owned()).or_default().add(task);
        self.by_route.entry(task.route.clone()).or_default().add(task);
    }

    fn keep_plans(&mut self, plans: BTreeMap<Vec<String>, f64>) {
        let mut plans: Vec<(Vec<String>, f64)> = plans.into_iter().collect();
        plans.sort_by(|a, b| b.1.total_cmp(&a.1));
        plans.truncate(PLANS);
        let all: f64 = plans.iter().map(|(_, count)| count).sum();
        self.plans = plans
            .into_iter()
            .map(|(plan, count)| (plan, count / all))
            .collect();
    }

    /// The use of an agent on a route, or else on all routes. `model` is the model of a Batch line.
    pub(super) fn observed(&self, agent: &str, route: &str, model: &str) -> Option<&Observed> {
        let of_route = self.lengths.get(&key(agent, route, model));
        of_route.or_else(|| self.by_agent.get(agent))
    }

    /// Counted tokens for each likely token of a prompt: of the agent on the route, else of the route, else of the agent.
    pub(super) fn ratio(&self, agent: &str, route: &str, model: &str) -> f64 {
        let of_agent = self
            .lengths
            .get(&key(agent, route, model))
            .and_then(Observed::ratio);
        let of_route = || self.by_route.get(route).and_then(Observed::ratio);
        let elsewhere = || self.by_agent.get(agent).and_then(Observed::ratio);
        of_agent.or_else(of_route).or_else(elsewhere).unwrap_or(1.0)
    }

    /// The share of each of these routes in the finished tasks of an agent. The first one has all if none was used.
    pub(super) fn shares(&self, agent: &str, routes: &[&str]) -> Vec<f64> {
        let tasks = |route: &str| -> f64 {
            let of_route = self
                .lengths
                .iter()
                .filter(|((known, at, _), _)| known == agent && at == route);
            of_route.map(|(_, observed)| observed.tasks).sum()
        };
        let counts: Vec<f64> = routes.iter().map(|route| tasks(route)).collect();
        let all: f64 = counts.iter().sum();
        if all > 0.0 {
            return counts.into_iter().map(|count| count / all).collect();
        }
        (0..routes.len())
            .map(|place| if place == 0 { 1.0 } else { 0.0 })
            .collect()
    }

    /// Likely tokens of the search results of an agent's task.
    pub(super) fn search_result(&self, agent: &str) -> Option<f64> {
        self.searches.get(agent).and_then(Observed::result)
    }

    /// The plans of the supervisor, each with its share; empty if there is none.
    pub(super) fn plans(&self) -> &[(Vec<String>, f64)] {
        &self.plans
    }
}

fn key(agent: &str, route: &str, model: &str) -> LengthKey {
    let model = if agent == COMPLETION { model } else { "" };
    (agent.to_owned(), route.to_owned(), model.to_owned())
}

/// The actions of a planned queue, if the supervisor planned it and each of its tasks has calls.
fn plan_of(count: Option<u64>, tasks: &BTreeMap<TaskNo, SeenTask>) -> Option<Vec<String>> {
    tasks.get(&TaskNo::PLAN)?;
    let mut actions = BTreeMap::new();
    for (no, task) in tasks {
        if let Some(index) = no.index().filter(|_| !no.is_search()) {
            actions.insert(index, task.action.clone());
        }
    }
    (count == Some(actions.len() as u64) && !actions.is_empty()).then(|| actions.into_values().collect())
}

impl SeenTask {
    fn new(call: &RecentCall) -> Self {
        Self {
            action: call.action.clone(),
            route: call.route.clone(),
            model: call.model.clone(),
            has_answer: false,
            calls: 0.0,
            input: 0.0,
            cached: 0.0,
            written: 0.0,
            output: 0.0,
            busy_ms: 0.0,
            sizes: call.sizes,
        }
    }

    fn add(&mut self, call: &RecentCall) {
        if call.route.starts_with("search:") {
            return;
        }
        if call.used || !self.has_answer {
            self.route.clone_from(&call.route);
            self.model.clone_from(&call.model);
        }
        // The model call of a search is not its result.
        self.has_answer |= call.used || call.task.is_search();
        self.calls += 1.0;
        self.input += number(call.usage.input_tokens);
        self.cached += number(call.usage.cached_input_tokens);
        self.written += number(call.usage.cache_write_tokens);
        self.output += number(call.usage.output_tokens);
        self.busy_ms += number(call.duration_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::usage::Usage;

    fn call(queue_id: i64, task: TaskNo, action: &str, (input, output): (u64, u64)) -> RecentCall {
        RecentCall {
            queue_id,
            task,
            action: action.to_owned(),
            tasks: Some(2),
            route: "primary".to_owned(),
            model: "m-2026".to_owned(),
            used: true,
            usage: Usage {
                input_tokens: input,
                output_tokens: output,
                ..Usage::default()
            },
            duration_ms: 1000,
            sizes: TextSizes {
                prompt: Some(100),
                result: Some(20),
            },
        }
    }

    #[test]
    fn lengths_are_means_over_tasks_and_failed_calls_count_for_their_task() {
        let task = TaskNo::planned(0);
        let refused = RecentCall {
            used: false,
            ..call(1, task, "insight", (50, 30))
        };
        let calls = [
            call(1, task, "insight", (120, 40)),
            refused,
            call(2, task, "insight", (100, 10)),
        ];
        let history = History::of(&calls);
        let seen = history.observed("insight", "primary", "other").unwrap();
        assert_eq!((seen.calls(), seen.output(), seen.busy_ms()), (1.5, 40.0, 1500.0));
        assert_eq!((seen.result(), seen.ratio()), (Some(20.0), Some(1.35)));
        let ratios =
            ["primary", "another"].map(|route| format!("{:.2}", history.ratio("profile", route, "")));
        assert_eq!(ratios, ["1.35", "1.00"], "that of the route, and none");
        assert_eq!(history.shares("insight", &["other", "primary"]), [0.0, 1.0]);
        assert_eq!(history.shares("profile", &["other", "primary"]), [1.0, 0.0]);
    }

    #[test]
    fn a_batch_line_is_known_by_its_model() {
        let mini = call(1, TaskNo::planned(0), COMPLETION, (10, 5));
        let large = RecentCall {
            queue_id: 2,
            model: "large".to_owned(),
            ..call(2, TaskNo::planned(0), COMPLETION, (10, 500))
        };
        let history = History::of(&[mini, large]);
        let output = |model| {
            history
                .observed(COMPLETION, "primary", model)
                .map(Observed::output)
        };
        assert_eq!(
            [output("m-2026"), output("large"), output("new")],
            [Some(5.0), Some(500.0), Some(252.5)]
        );
    }

    #[test]
    fn whole_plans_of_the_supervisor_are_kept_with_their_shares() {
        let plan = |queue, actions: [&str; 2]| {
            let tasks = (0..)
                .zip(actions)
                .map(move |(index, action)| call(queue, TaskNo::planned(index), action, (10, 1)));
            std::iter::once(call(queue, TaskNo::PLAN, SUPERVISOR, (10, 1)))
                .chain(tasks)
                .collect::<Vec<_>>()
        };
        let mut calls = plan(1, ["insight", "profile"]);
        calls.extend(plan(2, ["insight", "profile"]));
        calls.extend(plan(3, ["insight", "answer"]));
        calls.extend(plan(4, ["facts", "answer"]).into_iter().take(2));
        let history = History::of(&calls);
        let names: Vec<(String, f64)> = history
            .plans()
            .iter()
            .map(|(plan, share)| (plan.join(","), (share * 3.0).round()))
            .collect();
        assert_eq!(
            names,
            [
                ("insight,profile".to_owned(), 2.0),
                ("insight,answer".to_owned(), 1.0)
            ]
        );
    }
}
