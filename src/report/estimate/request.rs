//! The rest of a request: its tasks in their order, each with what the tasks before it will add to its prompt.

use std::collections::{HashMap, VecDeque};

use super::searches::IsAnswered;
use super::sums::{Estimate, number};
use super::task::{Estimator, LIKELY_SHARE, MaterialAhead};
use crate::agent::{Agent, COMPLETION, FanOut, LaterMaterial, TaskInput, wanted_items};
use crate::domain::failure::{Class, Failure};
use crate::domain::references::ItemId;
use crate::domain::request::{Brief, Request, Stops, Work};
use crate::domain::task_search::TaskSearch;
use crate::llm::likely_tokens;
use crate::store::{Material, StoredItem};

/// A request to estimate.
#[derive(Debug, Clone, Copy)]
pub struct RequestToEstimate<'a> {
    /// The request.
    pub request: &'a Request,
    /// Its tasks; `None` if the supervisor plans them.
    pub tasks: Option<&'a [TaskToEstimate]>,
    /// The stored context of its planning.
    pub planning: &'a Material,
    /// Where its queue pauses.
    pub stops: &'a Stops,
    /// The likely tokens of the rounds that earlier requests of the same input will add to its session.
    pub rounds: f64,
}

/// A task of a request.
#[derive(Debug, Clone)]
pub struct TaskToEstimate {
    /// Its action.
    pub action: String,
    /// Its instruction.
    pub input: String,
    /// Whether it needs no call any more.
    pub is_done: bool,
    /// Its context as the store holds it.
    pub material: Material,
    /// The stored result of its search.
    pub search: Option<TaskSearch>,
}

impl Estimator<'_> {
    /// Estimates all that is left of a request. `is_answered` says whether a search has a stored answer.
    pub fn request(&self, of: RequestToEstimate<'_>, is_answered: &mut IsAnswered<'_>) -> Estimate {
        let estimate = match (&of.request.work, of.tasks) {
            (Work::Completion(completion), tasks) => {
                if tasks.is_some_and(|tasks| tasks.iter().all(|task| task.is_done)) {
                    return Estimate::default();
                }
                self.chain(of.request.model.as_deref(), None)
                    .and_then(|chain| self.line(completion, chain))
            }
            (Work::Brief(brief), Some(tasks)) => {
                let later = LaterMaterial::default();
                Ok(self.tasks(&of, brief, tasks, later, is_answered))
            }
            (Work::Brief(brief), None) => self.planned(&of, brief, is_answered),
        };
        estimate.unwrap_or_else(|failure| Estimate {
            refused: Some(failure.message),
            ..Estimate::default()
        })
    }

    /// Sums up tasks in their order, up to the first pause. `later` holds for each of them.
    pub(super) fn tasks(
        &self,
        of: &RequestToEstimate<'_>,
        brief: &Brief,
        tasks: &[TaskToEstimate],
        later: LaterMaterial,
        is_answered: &mut IsAnswered<'_>,
    ) -> Estimate {
        let mut sum = Estimate::default();
        let mut earlier = 0.0;
        let mut has_earlier = later.earlier;
        for task in tasks {
            if !task.is_done {
                let ahead = MaterialAhead {
                    later: LaterMaterial {
                        earlier: has_earlier,
                        ..later
                    },
                    tokens: bounded(earlier, self.budget.earlier_tokens),
                };
                match self.one(of, brief, task, ahead, is_answered) {
                    Ok(one) => {
                        sum.add(&one);
                        sum.serial_ms += one.serial_ms;
                        sum.result_tokens = one.result_tokens;
                        earlier += one.result_tokens;
                    }
                    Err(failure) => {
                        sum.refused = Some(failure.message);
                        return sum;
                    }
                }
                has_earlier = true;
            }
            if of.stops.after(&task.action) && !task.is_done {
                break;
            }
        }
        sum
    }

    /// Estimates one task with its search.
    fn one(
        &self,
        of: &RequestToEstimate<'_>,
        brief: &Brief,
        task: &TaskToEstimate,
        mut ahead: MaterialAhead,
        is_answered: &mut IsAnswered<'_>,
    ) -> Result<Estimate, Failure> {
        let agent = self
            .agents
            .get(&task.action)
            .filter(|_| task.action != COMPLETION);
        let agent = agent.ok_or_else(|| {
            let message = format!("there is no agent for the action `{}`", task.action);
            Failure::new(Class::BadRequest, message)
        })?;
        let chain = self.chain(of.request.model.as_deref(), Some(agent))?;
        let (material, is_short) = completed(agent, brief, task);
        ahead.tokens += bounded(of.rounds, self.budget.round_tokens);
        ahead.later.session |= is_short || of.request.session.is_some();
        let input = TaskInput {
            brief,
            input: &task.input,
            metadata: of.request.metadata.as_deref(),
            material: &material,
            search: task.search.as_ref(),
            part: None,
        };
        let mut sum = Estimate::default();
        if agent.search.is_some() && task.search.is_none() {
            let (search, found) = self.search(agent, chain, input, ahead, is_answered)?;
            sum.add(&search);
            sum.serial_ms += search.serial_ms;
            ahead.later.search = true;
            ahead.tokens += found;
        }
        let call = self.task(agent, chain, input, ahead)?;
        sum.add(&call);
        sum.serial_ms += call.serial_ms;
        sum.result_tokens = call.result_tokens;
        Ok(sum)
    }
}

/// The likely tokens of a part of a prompt, within its bound in the settings.
fn bounded(tokens: f64, bound: u64) -> f64 {
    tokens.min(number(bound) * LIKELY_SHARE)
}

/// Returns the context of a task with an empty item in place of each one that is still to be made, so that a task for each of
/// them fans out. Also returns whether items are missing.
fn completed(agent: &Agent, brief: &Brief, task: &TaskToEstimate) -> (Material, bool) {
    let mut material = task.material.clone();
    let wanted = wanted_items(brief, &task.input);
    let chosen: Vec<&str> = brief.selections.chosen().map(|item| item.id.as_str()).collect();
    let is_missing =
        |id: &String| !material.items.iter().any(|item| item.id == *id) && !chosen.contains(&id.as_str());
    let missing: Vec<String> = wanted.into_iter().filter(is_missing).collect();
    let is_short = !missing.is_empty();
    if let FanOut::Each(kind) = &agent.fan_out {
        let of_kind = missing
            .into_iter()
            .filter(|id| ItemId::parse(id).is_some_and(|parsed| parsed.kind == *kind));
        material.items.extend(of_kind.map(|id| StoredItem {
            id,
            body: serde_json::Map::new(),
        }));
    }
    (material, is_short)
}

/// The rounds that the requests of an input will add to their sessions.
#[derive(Debug)]
pub struct SessionRounds {
    /// How many rounds a prompt holds.
    most: usize,
    sessions: HashMap<(String, String), VecDeque<f64>>,
}

/// The most sessions whose rounds are kept. Requests of further sessions count as the first ones of their session.
const SESSIONS: usize = 50_000;

impl SessionRounds {
    /// Makes an empty record for prompts with this many rounds.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            sessions: HashMap::new(),
        }
    }

    /// Returns the likely tokens of the rounds before this request.
    pub fn before(&self, request: &Request) -> f64 {
        let known = key(request).and_then(|key| self.sessions.get(&key));
        known.map_or(0.0, |rounds| rounds.iter().sum())
    }

    /// Adds the round of a request whose result has these likely tokens.
    pub fn add(&mut self, request: &Request, result: f64) {
        let Some(key) = key(request) else { return };
        if self.sessions.len() >= SESSIONS && !self.sessions.contains_key(&key) {
            return;
        }
        let query = match &request.work {
            Work::Brief(brief) => brief.query.as_deref().map_or(0, likely_tokens),
            Work::Completion(_) => 0,
        };
        let rounds = self.sessions.entry(key).or_default();
        rounds.push_back(number(query) + result);
        while rounds.len() > self.most {
            rounds.pop_front();
        }
    }
}

fn key(request: &Request) -> Option<(String, String)> {
    let session = request.session.as_ref()?;
    Some((request.user.as_str().to_owned(), session.as_str().to_owned()))
}
