//! `nova3 plan --show-prompt`: the prompt of each task of a request, as far as it is known now.

use anyhow::{Context, Result};

use super::exit::{Exit, decided};
use super::plan::{KnownRequests, PlannedRequest};
use crate::agent::{self, Agent, Agents, PartOf, Prompt, TaskInput};
use crate::config::Config;
use crate::domain::failure::Class;
use crate::domain::printable::printable;
use crate::domain::request::{Brief, Work};
use crate::domain::state::TaskStatus;
use crate::domain::task_search::TaskSearch;
use crate::llm::{Client, Route};
use crate::store::{Material, Store, Wanted};

/// The prompts of a request's tasks, or the supervisor's if they are not known yet.
pub(super) async fn text(
    entry: &PlannedRequest<'_>,
    known: Option<&KnownRequests>,
    agents: &Agents,
    config: &Config,
) -> Result<String> {
    let Work::Brief(brief) = &entry.request.work else {
        return Err(decided(
            Exit::Usage,
            "an OpenAI Batch line has no nova3 prompt; its body is sent unchanged",
        ));
    };
    let client = Client::new(config).context("failed to set up the client")?;
    let shown = Shown {
        entry,
        known,
        brief,
        client,
        config,
    };
    let Some(tasks) = entry.tasks() else {
        let input = agent::planning_input(brief);
        return shown.one("plan", agents.supervisor(), &input, 0).await;
    };
    let mut text = String::new();
    for (index, (task, _)) in tasks.iter().enumerate() {
        let agent = agents
            .get(&task.action)
            .with_context(|| format!("there is no agent for `{}` any more", task.action))?;
        text += &shown.one(&task.task_id, agent, &task.input, index).await?;
    }
    Ok(text)
}

struct Shown<'a> {
    entry: &'a PlannedRequest<'a>,
    known: Option<&'a KnownRequests>,
    brief: &'a Brief,
    client: Client,
    config: &'a Config,
}

impl Shown<'_> {
    async fn one(&self, name: &str, agent: &Agent, input: &str, index: usize) -> Result<String> {
        let mut material = self.material(input, index).await?;
        agent.keep_seen(&mut material);
        let search = self.search(agent, index).await?;
        let task = TaskInput {
            search: search.as_ref(),
            part: None,
            brief: self.brief,
            input,
            metadata: self.entry.request.metadata.as_deref(),
            material: &material,
        };
        let parts = agent::split(agent, task);
        if parts.is_empty() {
            return self.prompt(name, agent, task);
        }
        let mut text = String::new();
        for (number, part) in (1..).zip(&parts) {
            let part = PartOf {
                number,
                of: parts.len(),
                subject: part.subject.as_deref(),
            };
            let task = TaskInput {
                part: Some(part),
                ..task
            };
            text += &self.prompt(&format!("{name}.{number}"), &agent::of_part(agent, part), task)?;
        }
        Ok(text)
    }

    fn prompt(&self, name: &str, agent: &Agent, task: TaskInput<'_>) -> Result<String> {
        let route = self.route(agent)?;
        let prompt = agent::prompt(agent, route, &self.config.context, task);
        if matches!(&prompt, Err(failure) if failure.class == Class::BadRequest && !agent.tasks.is_empty()) {
            return Ok(format!(
                "=== {name} {} ===\nits prompt names results of earlier tasks, which have not run\n\n",
                agent.action
            ));
        }
        let prompt = prompt.map_err(|failure| {
            let exit = match failure.class {
                Class::ContextLength => Exit::BadInput,
                _ => Exit::Usage,
            };
            decided(exit, failure.message)
        })?;
        Ok(rendered(name, agent, &prompt))
    }

    fn route(&self, agent: &Agent) -> Result<&Route> {
        let wanted = self.entry.request.model.as_deref().or(agent.model.as_deref());
        let chain = self.client.chain(wanted).context("the route is not configured")?;
        Ok(chain.first())
    }

    /// The sources that the store holds for the task.
    async fn search(&self, agent: &Agent, index: usize) -> Result<Option<TaskSearch>> {
        let stored = self.entry.stored.as_ref();
        let (Some(known), Some(queue), Some(_)) = (self.known, stored, &agent.search) else {
            return Ok(None);
        };
        let found = known.store.task_search(queue.queue_id, index).await?;
        Ok(found.and_then(Result::ok))
    }

    async fn material(&self, input: &str, index: usize) -> Result<Material> {
        match self.known {
            Some(known) => {
                let rounds = self.config.context.rounds;
                stored_material(&*known.store, self.entry, self.brief, input, index, rounds).await
            }
            None => Ok(Material::default()),
        }
    }
}

/// The context that the store holds for a task. Results of later tasks of its queue are left out, because the task does not
/// have them when it runs.
pub(super) async fn stored_material(
    store: &dyn Store,
    entry: &PlannedRequest<'_>,
    brief: &Brief,
    input: &str,
    index: usize,
    rounds: usize,
) -> Result<Material> {
    let stored = entry.stored.as_ref();
    let mut material = store
        .context(&Wanted {
            queue_id: stored.map(|queue| queue.queue_id),
            user: entry.request.user.clone(),
            session: entry.request.session.clone(),
            items: agent::wanted_items(brief, input),
            rounds,
        })
        .await?;
    let completed = |queue: &crate::store::KnownQueue| {
        let later = queue.tasks.iter().skip(index);
        later
            .filter(|(_, status)| *status == TaskStatus::Completed)
            .count()
    };
    let keep = material.earlier.len().saturating_sub(stored.map_or(0, completed));
    material.earlier.truncate(keep);
    Ok(material)
}

fn rendered(name: &str, agent: &Agent, prompt: &Prompt) -> String {
    let mut text = String::new();
    for message in &prompt.messages {
        let role = message.role.name();
        text += &format!(
            "=== {name} {} · {role} ===\n{}\n\n",
            agent.action,
            printable(&message.content)
        );
    }
    for warning in &prompt.warnings {
        text += &format!(
            "=== {name} {} · warning ===\n{}\n\n",
            agent.action,
            printable(warning)
        );
    }
    text
}
