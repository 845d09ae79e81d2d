//! Refuses a run or worker whose routes have no model. Without this check every request of an agent would fail.

use std::io::BufRead;

use anyhow::Result;

use super::exit::{Exit, decided};
use crate::agent::{Agents, Planner};
use crate::config::Config;
use crate::domain::request::{Brief, Rules, Work, read_line};
use crate::engine::{Input, InputForm, InputPart, read_input};
use crate::store::NewRequest;

/// Refuses a worker whose default chain has no model, because any request may come to a worker.
pub(super) fn of_worker(config: &Config, agents: &Agents) -> Result<()> {
    of_agents(config, agents)?;
    if is_named(config, &config.chains[0].name) {
        return Ok(());
    }
    Err(missing(config, ""))
}

/// Refuses an input with a request whose agents have no model. An OpenAI Batch line names its own model.
pub(super) fn of_input(
    config: &Config,
    agents: &Agents,
    planner: &Planner,
    input: &Input,
    form: &InputForm,
) -> Result<()> {
    of_agents(config, agents)?;
    if is_named(config, &config.chains[0].name) {
        return Ok(());
    }
    let line = match input {
        // A table in a pipe cannot be looked at before it is read.
        Input::Stdin if form.is_table(input) => None,
        // The run reads the same line again.
        Input::Stdin => first_of_stdin(agents, form.rules),
        Input::File(_) | Input::Spooled(_) => first_of_file(agents, planner, input, form)?,
    };
    let word = form.row_word(input);
    line.map_or(Ok(()), |line| Err(missing(config, &format!("{word} {line}: "))))
}

/// Refuses an agent that names a route or chain without a model.
fn of_agents(config: &Config, agents: &Agents) -> Result<()> {
    let all = agents.all().iter().chain([agents.supervisor()]);
    for agent in all {
        if let Some(name) = agent.model.as_ref().filter(|name| !is_named(config, name)) {
            let message = format!(
                "agent file `{}`: `{name}` names no model (set `model` of its route)",
                agent.file.display()
            );
            return Err(decided(Exit::Usage, message));
        }
    }
    Ok(())
}

/// Whether a route of the chain has a model. An unknown chain is reported elsewhere.
fn is_named(config: &Config, chain: &str) -> bool {
    let chain = config.chains.iter().find(|known| known.name == chain);
    chain.is_none_or(|chain| {
        let routes = config
            .routes
            .iter()
            .filter(|route| chain.routes.contains(&route.name));
        routes.map(|route| &route.model).any(Option::is_some)
    })
}

fn missing(config: &Config, place: &str) -> anyhow::Error {
    let message = format!(
        "{place}route `{}` names no model (set `OPENAI_MODEL`, `-m`, or `model` of the route)",
        config.chains[0].routes[0]
    );
    decided(Exit::Usage, message)
}

/// The first line of a file that needs the default model.
fn first_of_file(agents: &Agents, planner: &Planner, input: &Input, form: &InputForm) -> Result<Option<u64>> {
    let mut found = None;
    read_input(input, form, planner, |seen| {
        let InputPart::Lines(lines) = seen else {
            return true;
        };
        let needing = lines.iter().find(|line| match &line.content {
            NewRequest::Good { request, plan, .. } => {
                let actions: Vec<&str> = plan.iter().map(|step| step.action.as_str()).collect();
                request.model.is_none() && needs(agents, &request.work, &actions)
            }
            NewRequest::Bad { .. } => false,
        });
        found = needing.map(|line| line.line);
        found.is_none()
    })?;
    Ok(found)
}

/// Line 1, if the buffered part of standard input holds it and it needs the default model. Consumes no input.
fn first_of_stdin(agents: &Agents, rules: Rules) -> Option<u64> {
    let mut stdin = std::io::stdin().lock();
    let begun = stdin.fill_buf().ok()?;
    let line = begun.split(|byte| *byte == b'\n').next()?;
    let request = read_line(line, rules).ok()?.request;
    (request.model.is_none() && needs(agents, &request.work, &[])).then_some(1)
}

/// Whether a request that names no model needs the default one. Its actions may still be unknown.
fn needs(agents: &Agents, work: &Work, actions: &[&str]) -> bool {
    let Work::Brief(brief) = work else { return false };
    let named = |action: &str| agents.get(action).is_some_and(|agent| agent.model.is_some());
    if !actions.is_empty() {
        return !actions.iter().all(|action| named(action));
    }
    let wanted: Vec<&str> = said(brief);
    if wanted.is_empty() {
        let all = agents.all().iter().chain([agents.supervisor()]);
        return all.map(|agent| &agent.model).any(Option::is_none);
    }
    !wanted.into_iter().all(named)
}

/// The actions that a line names.
fn said(brief: &Brief) -> Vec<&str> {
    let tasks = brief.tasks.iter().flatten();
    tasks.map(|task| task.action.as_str()).collect()
}
