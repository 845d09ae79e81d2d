//! One task through one model: compose, ask, judge.

use minijinja::value::Serde;

use super::definition::Agent;
use super::desk::{Conversation, Desk, Judged, Talked, converse, max_tokens};
use super::items::{self, Asked};
use super::parts::Parts;
use crate::config::ContextBudget;
use crate::domain::failure::{Class, Failure};
use crate::domain::outcome::{Attempt, Making, NewItem, Product};
use crate::domain::request::Brief;
use crate::llm::wire::{self, Answer, Message, Role};
use crate::llm::{Route, Stopped};
use crate::store::Material;

/// What headings and fences take in a prompt beside the texts, about.
const AROUND: u64 = 300;

/// A task that came to its end.
#[derive(Debug)]
pub struct Done {
    /// Its end.
    pub end: TaskEnd,
    /// How it was made.
    pub making: Making,
    /// Every call.
    pub attempts: Vec<Attempt>,
}

/// Where a task ends.
#[derive(Debug)]
pub enum TaskEnd {
    /// With a result.
    Completed(Product),
    /// With a failure; a Batch line may still have a response.
    Failed(Failure, Option<Product>),
    /// Nowhere: nothing more is sent. The task is as good as before.
    Interrupted(Stopped),
}

/// What a task is to be done with.
#[derive(Debug, Clone, Copy)]
pub struct TaskInput<'a> {
    /// What the request says.
    pub brief: &'a Brief,
    /// The task's own instruction.
    pub input: &'a str,
    /// What was made before.
    pub material: &'a Material,
}

/// A prompt with what was noted while it was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// The conversation.
    pub messages: Vec<Message>,
    /// References that name nothing, parts that were left out.
    pub warnings: Vec<String>,
    /// Under which names material was given.
    pub(super) sources: Vec<String>,
}

/// The ids of items that a task refers to, to be looked up for its [`Material`].
pub fn wanted_items(brief: &Brief, input: &str) -> Vec<String> {
    super::parts::wanted(brief, input)
}

/// Lets the agent do its task.
pub async fn run_agent(desk: Desk<'_>, agent: &Agent, task: TaskInput<'_>) -> Done {
    let make = |route: &Route| prompt(agent, route, desk.budget, task);
    let judge = |prompt: &Prompt, answer: &Answer| {
        let asked = Asked {
            agent,
            query: task.brief.query.as_deref().unwrap_or_default(),
            input: task.input,
            sources: &prompt.sources,
        };
        judge(&asked, answer)
    };
    let Conversation {
        end,
        mut making,
        attempts,
    } = converse(desk, agent, make, judge).await;
    if agent.search {
        making.degraded = true;
        making.warnings.push(
            "no search: facts come from the request's own material only, and those without a source are marked"
                .to_owned(),
        );
    }
    let end = match end {
        Talked::Well(kept) => {
            making.warnings.extend(kept.warnings);
            TaskEnd::Completed(Product::Items(kept.items))
        }
        Talked::Failed(failure) => TaskEnd::Failed(failure, None),
        Talked::Interrupted(why) => TaskEnd::Interrupted(why),
    };
    Done {
        end,
        making,
        attempts,
    }
}

/// The prompt of a task, within the bounds of its parts and the window of its route.
pub fn prompt(
    agent: &Agent,
    route: &Route,
    budget: &ContextBudget,
    task: TaskInput<'_>,
) -> Result<Prompt, Failure> {
    let settings = &route.settings;
    let broken = |error: minijinja::Error| {
        Failure::new(Class::Internal, format!("the prompt cannot be made: {error:#}"))
    };
    let system = agent.system().map_err(broken)?;
    let (mut parts, mut warnings) = Parts::gather(task.brief, task.input, task.material);
    let taken = wire::estimate_tokens(&system) + u64::from(max_tokens(route, agent)) + AROUND;
    let room = settings.context_window.saturating_sub(taken);
    let left_out = parts.fit(budget, room).map_err(|needed| {
        let message = format!(
            "the request has about {needed} tokens, and the window of route `{}` leaves {room} for it \
             (shorten it, or set `context_window` of the route if its model takes more)",
            settings.name
        );
        Failure::new(Class::ContextLength, message)
    })?;
    warnings.extend(left_out);
    let user = agent
        .user(&minijinja::Value::from(Serde(&parts)))
        .map_err(broken)?;
    let message = |role, content| Message { role, content };
    Ok(Prompt {
        messages: vec![message(Role::System, system), message(Role::User, user)],
        warnings,
        sources: parts.sources(),
    })
}

/// Items that are kept, and what is to be said about them.
struct Kept {
    items: Vec<NewItem>,
    warnings: Vec<String>,
}

/// An answer becomes items, or the reason why it cannot.
fn judge(asked: &Asked<'_>, answer: &Answer) -> Judged<Kept> {
    if let Err(error) = answer.verdict_of_finish() {
        return Judged::Refused(error);
    }
    let read = match &asked.agent.form {
        super::Form::Text if answer.is_cut_before_its_text() => {
            return Judged::Cut("the answer was cut off before its text began".to_owned());
        }
        super::Form::Text => items::from_text(asked, answer),
        super::Form::Json(_) if answer.finish_reason == "length" => {
            return Judged::Cut("the answer was cut off at its longest length".to_owned());
        }
        super::Form::Json(schema) => schema
            .read(answer.object_text())
            .map(|object| items::from_object(asked, object)),
    };
    match read {
        Ok((items, warnings)) => {
            let complaints = items::complaints(asked, &items);
            let kept = Kept { items, warnings };
            if complaints.is_empty() {
                Judged::Good(kept)
            } else {
                Judged::Mend(kept, complaints)
            }
        }
        Err(wrong) => Judged::Bad(wrong),
    }
}
