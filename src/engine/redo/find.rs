//! Finds the tasks that a redo makes anew.

use std::collections::HashMap;

use super::choice::{RedoChoice, is_settled};
use super::stale::{self, CheckError};
use crate::agent::{Agents, MovedInput};
use crate::config::ContextBudget;
use crate::domain::outcome::{Finished, TaskRecord};
use crate::domain::request::Request;
use crate::domain::usage::Cost;
use crate::llm::Client;
use crate::store::{Order, RedoneQueue, RedoneTask, Run, Store, StoreError};

/// Requests that are read at a time.
const ROWS: usize = 256;

/// The parts of a run that decide whether a task is stale.
#[derive(Clone, Copy)]
pub struct RedoTools<'a> {
    /// The store.
    pub store: &'a dyn Store,
    /// The routes.
    pub client: &'a Client,
    /// The agents.
    pub agents: &'a Agents,
    /// The limits of prompts.
    pub budget: &'a ContextBudget,
}

/// Why a task is made anew.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RedoReason {
    /// The command names it.
    Asked,
    /// One of its inputs changed.
    Moved(MovedInput),
    /// A redo replaced this item, which the task was made from.
    Replaced(String),
    /// A task that it depends on is made anew: `task001`.
    Behind(String),
}

/// A task that is made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskToRedo {
    /// `task001` and so on.
    pub task_id: String,
    /// Its action.
    pub action: String,
    /// Why.
    pub reason: RedoReason,
    /// The cost of its present answer, with its parts and its search. `None` if the route has no price.
    pub cost: Option<Cost>,
}

/// A request with tasks that are made anew.
#[derive(Debug, Clone)]
pub struct RedoEntry {
    /// The `custom_id` of the request.
    pub custom_id: Option<String>,
    /// Its physical line, from 1.
    pub line: u64,
    /// Its queue, as the store takes it.
    pub queue: RedoneQueue,
    /// Its tasks that are made anew, in their order. Tasks that have not run yet are not among them.
    pub tasks: Vec<TaskToRedo>,
}

/// The tasks that a choice makes anew.
#[derive(Debug, Default)]
pub struct RedoList {
    /// The requests, in the order in which they finished.
    pub entries: Vec<RedoEntry>,
    /// Requests whose stored content cannot be read or checked. They are left out.
    pub unchecked: u64,
    /// The `custom_id`s of the choice that no finished request has.
    pub unknown: Vec<String>,
}

/// Finds the tasks of the run's finished requests that the choice makes anew. Nothing is sent, and nothing is written.
pub async fn find_redos(
    tools: RedoTools<'_>,
    run: &Run,
    choice: &RedoChoice,
) -> Result<RedoList, StoreError> {
    let mut list = RedoList {
        unknown: choice.ids.clone(),
        ..RedoList::default()
    };
    let mut after = 0;
    loop {
        let page = tools
            .store
            .finished(run.id, Order::Completion, None, after, ROWS)
            .await?;
        if page.rows.is_empty() {
            return Ok(list);
        }
        after = page.after;
        let rows = page
            .rows
            .into_iter()
            .filter(|row| !row.is_redone && !row.tasks.is_empty() && choice.takes(row));
        let rows: Vec<Finished> = rows.collect();
        list.unknown
            .retain(|id| rows.iter().all(|row| row.custom_id.as_ref() != Some(id)));
        add(tools, run, choice, rows, &mut list).await?;
    }
}

/// Adds the entries of a page.
async fn add(
    tools: RedoTools<'_>,
    run: &Run,
    choice: &RedoChoice,
    rows: Vec<Finished>,
    list: &mut RedoList,
) -> Result<(), StoreError> {
    let mut requests: HashMap<i64, Request> = HashMap::new();
    if choice.stale {
        let queues = rows.iter().map(|row| row.queue_id).collect();
        requests.extend(tools.store.requests(run.id, queues).await?);
    }
    for row in &rows {
        match chosen(tools, choice, row, requests.get(&row.queue_id)).await {
            Ok(tasks) if tasks.is_empty() => {}
            Ok(tasks) => list.entries.push(entry(row, &tasks)),
            Err(CheckError::Store(error)) => return Err(error),
            Err(CheckError::Unchecked) => list.unchecked += 1,
        }
    }
    Ok(())
}

/// Returns the tasks of a request that are made anew, by index: the chosen ones, and those that need one of them.
async fn chosen(
    tools: RedoTools<'_>,
    choice: &RedoChoice,
    row: &Finished,
    request: Option<&Request>,
) -> Result<Vec<(usize, RedoReason)>, CheckError> {
    let mut found: Vec<(usize, RedoReason)> = Vec::new();
    for (index, task) in row.tasks.iter().enumerate() {
        let is_redone = |need: &&usize| found.iter().any(|(other, _)| other == *need);
        let reason = match task.needs.iter().find(is_redone) {
            Some(need) => Some(RedoReason::Behind(row.tasks[*need].task_id.clone())),
            None if !choice.may_take(task) => None,
            None if choice.stale => {
                let request = request.ok_or(CheckError::Unchecked)?;
                stale::reason(tools, row, request, index).await?
            }
            None => Some(RedoReason::Asked),
        };
        found.extend(reason.map(|reason| (index, reason)));
    }
    Ok(found)
}

/// The request with these tasks.
fn entry(row: &Finished, chosen: &[(usize, RedoReason)]) -> RedoEntry {
    let tasks = chosen
        .iter()
        .filter_map(|(index, reason)| Some((row.tasks.get(*index)?, reason)));
    let shown = tasks
        .filter(|(task, _)| is_settled(task))
        .map(|(task, reason)| TaskToRedo {
            task_id: task.task_id.clone(),
            action: task.action.clone(),
            reason: reason.clone(),
            cost: cost(task),
        });
    let redone = chosen.iter().filter_map(|(index, _)| {
        let needs = row.tasks.get(*index)?.needs.clone();
        Some(RedoneTask { index: *index, needs })
    });
    RedoEntry {
        custom_id: row.custom_id.clone(),
        line: row.line,
        queue: RedoneQueue {
            queue_id: row.queue_id,
            tasks: redone.collect(),
        },
        tasks: shown.collect(),
    }
}

/// The cost of the answer that a task has now.
fn cost(task: &TaskRecord) -> Option<Cost> {
    let own = task
        .making
        .as_ref()
        .map_or(Some(Cost::ZERO), |making| making.cost)?;
    let search = task.search.as_ref().and_then(|search| search.making.as_ref());
    Some(own.plus(search.and_then(|making| making.cost).unwrap_or_default()))
}
