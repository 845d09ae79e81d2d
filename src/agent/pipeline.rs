//! A pipeline file: the tasks of requests that name none, as a graph.
//!
//! The name of a task is its `id`, else its agent, and is its action in the run. A task with settings of its own makes an
//! agent of that name. A task needs tasks before it in the file, so that no circle can be written.

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::agent_file::{AgentError, line_of};
use super::condition::TaskCondition;
use super::definition::Agent;
use super::fan_out::FanOut;
use super::given_tasks::{GivenStep, GivenTasks, MOST_TASKS};
use super::library::bounded_text;
use crate::domain::ids::shortened;
use crate::domain::request::Action;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPipeline {
    #[serde(default)]
    task: Vec<Spanned<RawPipelineTask>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPipelineTask {
    id: Option<Spanned<String>>,
    action: Option<Spanned<String>>,
    agent: Option<Spanned<String>>,
    needs: Option<Vec<Spanned<String>>>,
    for_each: Option<Spanned<String>>,
    samples: Option<Spanned<u32>>,
    keep: Option<Spanned<String>>,
    when: Option<Spanned<String>>,
}

/// A pipeline file and its text.
struct PipelineFile<'a> {
    file: &'a Path,
    text: &'a str,
}

impl PipelineFile<'_> {
    fn problem(&self, at: usize, reason: impl Into<String>) -> AgentError {
        AgentError {
            place: format!("pipeline `{}`", self.file.display()),
            line: Some(line_of(self.text, at)),
            reason: reason.into(),
        }
    }
}

/// Reads a file. Agents of tasks with settings of their own are added, or replace the agent of their name.
pub(super) fn read(file: &Path, agents: &mut Vec<Agent>) -> Result<GivenTasks, AgentError> {
    let text = bounded_text(file).map_err(|reason| AgentError {
        place: format!("pipeline `{}`", file.display()),
        line: None,
        reason,
    })?;
    let source = PipelineFile { file, text: &text };
    let raw: RawPipeline = toml::from_str(&text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        source.problem(at, error.message().to_owned())
    })?;
    if !(1..=MOST_TASKS).contains(&raw.task.len()) {
        let reason = format!(
            "expected 1 to {MOST_TASKS} tasks (`[[task]]`), got {}",
            raw.task.len()
        );
        return Err(source.problem(0, reason));
    }
    let mut steps: Vec<GivenStep> = Vec::new();
    for task in &raw.task {
        let step = step(&source, task, &steps)?;
        steps.push(step);
    }
    let given = GivenTasks::of(steps);
    let mut made = Vec::new();
    for (index, task) in raw.task.iter().enumerate() {
        made.push(agent(&source, task, (&given, index), agents)?);
    }
    for agent in made {
        match agents.iter_mut().find(|known| known.action == agent.action) {
            Some(known) => *known = agent,
            None => agents.push(agent),
        }
    }
    Ok(given)
}

/// The name of the agent that a task uses.
fn base<'a>(
    source: &PipelineFile<'_>,
    task: &'a Spanned<RawPipelineTask>,
) -> Result<&'a Spanned<String>, AgentError> {
    let raw = task.get_ref();
    match (&raw.agent, &raw.action) {
        (Some(name), None) | (None, Some(name)) => Ok(name),
        (Some(agent), Some(_)) => {
            Err(source.problem(agent.span().start, "expected `agent` or `action`, got both"))
        }
        (None, None) => Err(source.problem(task.span().start, "expected `agent`, got a task without one")),
    }
}

/// The name and the needs of a task.
fn step(
    source: &PipelineFile<'_>,
    task: &Spanned<RawPipelineTask>,
    before: &[GivenStep],
) -> Result<GivenStep, AgentError> {
    let name = match &task.get_ref().id {
        Some(id) => id,
        None => base(source, task)?,
    };
    let problem = |reason: String| source.problem(name.span().start, reason);
    let action = Action::parse(name.get_ref()).ok_or_else(|| {
        problem(format!(
            "`{}` is no name of a task",
            shortened(name.get_ref(), 60)
        ))
    })?;
    if before.iter().any(|step| step.action == action) {
        return Err(problem(format!(
            "two tasks are named `{action}` (give one an `id` of its own)"
        )));
    }
    if task.get_ref().id.is_some() && action.as_str().ends_with(|c: char| c.is_ascii_digit()) {
        return Err(problem(format!(
            "`id` is `{action}`, expected a name that does not end in a digit"
        )));
    }
    let place = |needed: &Spanned<String>| {
        let found = before
            .iter()
            .position(|step| step.action.as_str() == needed.get_ref());
        found.ok_or_else(|| {
            let known: Vec<String> = before.iter().map(|step| format!("`{}`", step.action)).collect();
            let known = if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            };
            let reason = format!(
                "`needs` of `{action}` names `{}`, which is no task before it (tasks before it: {known})",
                shortened(needed.get_ref(), 60)
            );
            source.problem(needed.span().start, reason)
        })
    };
    let needs = task.get_ref().needs.as_ref();
    let needs = needs.map(|needs| needs.iter().map(place).collect::<Result<Vec<_>, _>>());
    let needs = needs.transpose()?.map(|mut needs| {
        needs.sort_unstable();
        needs.dedup();
        needs
    });
    // The same chain has the same form, however it is written.
    let is_chain = |needs: &Vec<usize>| before.len().checked_sub(1).into_iter().eq(needs.iter().copied());
    Ok(GivenStep {
        action,
        needs: needs.filter(|needs| !is_chain(needs)),
    })
}

/// The agent of a task: that of its name, with the settings of the task.
fn agent(
    source: &PipelineFile<'_>,
    task: &Spanned<RawPipelineTask>,
    (given, index): (&GivenTasks, usize),
    agents: &[Agent],
) -> Result<Agent, AgentError> {
    let (raw, name) = (task.get_ref(), base(source, task)?);
    let find = |name: &str| agents.iter().find(|agent| agent.action.as_str() == name);
    let Some(base) = find(name.get_ref()) else {
        let known: Vec<String> = agents.iter().map(|agent| format!("`{}`", agent.action)).collect();
        let reason = format!(
            "there is no agent `{}` (known: {})",
            shortened(name.get_ref(), 60),
            known.join(", ")
        );
        return Err(source.problem(name.span().start, reason));
    };
    let mut agent = base.clone();
    if let Some(id) = raw.id.as_ref().filter(|id| id.get_ref() != name.get_ref()) {
        if find(id.get_ref()).is_some() {
            let reason = format!("`id` is `{}`, which is the name of another agent", id.get_ref());
            return Err(source.problem(id.span().start, reason));
        }
        agent.item.clone_from(id.get_ref());
    }
    if let Some(action) = given.actions().nth(index) {
        agent.action = action.clone();
    }
    if raw.for_each.is_some() || raw.samples.is_some() || raw.keep.is_some() {
        agent.fan_out = FanOut::read(raw.for_each.as_ref(), raw.samples.as_ref(), raw.keep.as_ref())
            .map_err(|(at, reason)| source.problem(at, reason))?;
    }
    check_kind(source, raw, agents)?;
    let sees = given.before(index);
    if let Some(when) = &raw.when {
        let problem = |reason: String| source.problem(when.span().start, format!("`when`: {reason}"));
        let condition = TaskCondition::read(when.get_ref()).map_err(problem)?;
        agent.row.add(&condition.row);
        agent.tasks.add(&condition.tasks);
        agent.when = Some(condition);
    }
    if let Some(unseen) = agent.tasks.unknown(|name| sees.contains(name)) {
        let seen: Vec<String> = sees.iter().map(|name| format!("`{name}`")).collect();
        let seen = if seen.is_empty() {
            "none".to_owned()
        } else {
            seen.join(", ")
        };
        let reason = format!(
            "`{}` names `tasks.{unseen}`, and `needs` does not lead to that task (needed: {seen})",
            agent.action
        );
        return Err(source.problem(task.span().start, reason));
    }
    agent.source += &format!("\n{:?} {:?} {sees:?}", agent.fan_out, agent.when);
    agent.sees = Some(sees);
    Ok(agent)
}

/// Checks that an agent makes the items of `for_each`.
fn check_kind(source: &PipelineFile<'_>, raw: &RawPipelineTask, agents: &[Agent]) -> Result<(), AgentError> {
    let Some(kind) = &raw.for_each else { return Ok(()) };
    if agents.iter().any(|agent| agent.item == *kind.get_ref()) {
        return Ok(());
    }
    let reason = format!(
        "`for_each` is `{}`, and no agent makes items of that type",
        kind.get_ref()
    );
    Err(source.problem(kind.span().start, reason))
}
