//! Whether a finished task is stale: whether the same task would be made from other inputs now.

use super::find::{RedoReason, RedoTools};
use crate::agent::{self, Agent, Fingerprint, MovedInput, PartOf, TaskInput};
use crate::domain::outcome::{Finished, TaskRecord};
use crate::domain::request::{Brief, Request, Work};
use crate::domain::state::TaskStatus;
use crate::domain::task_search::TaskSearch;
use crate::llm::Route;
use crate::store::{Material, StoreError, Wanted};

/// Why a request was not checked.
pub(super) enum CheckError {
    /// The store failed.
    Store(StoreError),
    /// Its agent or its route is gone, or its prompt cannot be made any more.
    Unchecked,
}

impl From<StoreError> for CheckError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Returns why the task with this index is stale, if it is. A Batch line has no agent and is never stale.
pub(super) async fn reason(
    tools: RedoTools<'_>,
    row: &Finished,
    request: &Request,
    index: usize,
) -> Result<Option<RedoReason>, CheckError> {
    let (Work::Brief(brief), Some(task)) = (&request.work, row.tasks.get(index)) else {
        return Ok(None);
    };
    if task.status != TaskStatus::Completed {
        return Ok(None);
    }
    let check = TaskCheck {
        tools,
        row,
        request,
        brief,
        index,
        task,
    };
    check.reason().await
}

/// A completed task of a finished request.
struct TaskCheck<'a> {
    tools: RedoTools<'a>,
    row: &'a Finished,
    request: &'a Request,
    brief: &'a Brief,
    index: usize,
    task: &'a TaskRecord,
}

impl TaskCheck<'_> {
    async fn reason(&self) -> Result<Option<RedoReason>, CheckError> {
        let agent = self
            .tools
            .agents
            .get(&self.task.action)
            .ok_or(CheckError::Unchecked)?;
        let mut material = self.material().await?;
        agent.keep_seen(&mut material);
        if let Some(item) = material.replaced.first() {
            return Ok(Some(RedoReason::Replaced(item.clone())));
        }
        let search = self.search(agent).await?;
        let whole = TaskInput {
            brief: self.brief,
            input: &self.task.input,
            metadata: self.request.metadata.as_deref(),
            material: &material,
            search: search.as_ref(),
            part: None,
        };
        if self.task.parts.is_empty() {
            let stored = self
                .task
                .making
                .as_ref()
                .and_then(|making| making.made_from.as_deref());
            return self.compare(agent, stored, whole, self.route_name());
        }
        let parts = agent::split(agent, whole);
        let subjects = parts.iter().map(|part| part.subject.as_deref());
        if !subjects.eq(self.task.parts.iter().map(|part| part.subject.as_deref())) {
            return Ok(Some(RedoReason::Moved(MovedInput::Context)));
        }
        for (number, (part, record)) in (1..).zip(parts.iter().zip(&self.task.parts)) {
            let making = record.making.as_ref();
            let input = TaskInput {
                input: &part.input,
                part: Some(PartOf {
                    number,
                    of: parts.len(),
                    subject: part.subject.as_deref(),
                }),
                ..whole
            };
            let stored = making.and_then(|making| making.made_from.as_deref());
            let route = making.map(|making| making.route.as_str());
            if let Some(reason) = self.compare(agent, stored, input, route)? {
                return Ok(Some(reason));
            }
        }
        Ok(None)
    }

    /// Compares the stored fingerprint with the present one of each route of the chain. An answer of a fallback route is
    /// as fresh as one of the first route.
    fn compare(
        &self,
        agent: &Agent,
        stored: Option<&str>,
        input: TaskInput<'_>,
        answered: Option<&str>,
    ) -> Result<Option<RedoReason>, CheckError> {
        let Some(stored) = stored.and_then(Fingerprint::parse) else {
            return Ok(None);
        };
        let wanted = self.request.model.as_deref().or(agent.model.as_deref());
        let chain = self.tools.client.chain(wanted).ok_or(CheckError::Unchecked)?;
        let now = |route: &Route| agent::fingerprint(agent, route, self.tools.budget, input);
        let mut reason = None;
        for route in &chain.routes {
            let Ok(now) = now(route) else { continue };
            let Some(moved) = stored.moved(&now) else {
                return Ok(None);
            };
            // The route that answered tells most precisely which input changed.
            if reason.is_none() || Some(route.settings.name.as_str()) == answered {
                reason = Some(RedoReason::Moved(moved));
            }
        }
        reason.map(Some).ok_or(CheckError::Unchecked)
    }

    fn route_name(&self) -> Option<&str> {
        self.task.making.as_ref().map(|making| making.route.as_str())
    }

    /// The material that the task would get now: results of tasks before it, and rounds before its own.
    async fn material(&self) -> Result<Material, StoreError> {
        let items = agent::wanted_items(self.brief, &self.task.input);
        if self.request.session.is_none() && self.row.tasks.len() <= 1 && items.is_empty() {
            return Ok(Material::default());
        }
        let mut material = self
            .tools
            .store
            .context(&Wanted {
                queue_id: Some(self.row.queue_id),
                user: self.request.user.clone(),
                session: self.request.session.clone(),
                items,
                rounds: self.tools.budget.rounds,
            })
            .await?;
        let earlier: Vec<&str> = self.row.tasks[..self.index]
            .iter()
            .map(|task| task.task_id.as_str())
            .collect();
        material
            .earlier
            .retain(|task| !task.own || earlier.contains(&task.task_id.as_str()));
        Ok(material)
    }

    async fn search(&self, agent: &Agent) -> Result<Option<TaskSearch>, StoreError> {
        if agent.search.is_none() {
            return Ok(None);
        }
        let found = self
            .tools
            .store
            .task_search(self.row.queue_id, self.index)
            .await?;
        Ok(found.and_then(Result::ok))
    }
}
