//! Runs one task with one agent: compose, ask, validate.

use std::sync::Arc;

use minijinja::value::Serde;
use serde_json::value::RawValue;

use super::context::{
    AgentContext, ConversationOutcome, ConversationResult, Validation, converse, max_tokens,
};
use super::definition::{Agent, reason};
use super::fan_out;
use super::form::Form;
use super::items::{self, Asked};
use super::language::Language;
use super::parts::{PromptParts, shown_tokens};
use super::proof::{self, SourceText};
use crate::config::ContextBudget;
use crate::domain::failure::{Class, Failure};
use crate::domain::grounding::Grounds;
use crate::domain::outcome::{Attempt, NewItem, Product, Provenance};
use crate::domain::request::Brief;
use crate::domain::task_search::TaskSearch;
use crate::llm::{Answer, Message, Role, Route, Stopped, estimate_tokens};
use crate::store::Material;

/// Estimated tokens of the headings and fences in a prompt.
const AROUND: u64 = 300;

/// A finished task.
#[derive(Debug)]
pub struct TaskOutcome {
    /// The end of the task.
    pub end: TaskEnd,
    /// The bookkeeping.
    pub making: Provenance,
    /// Every call.
    pub attempts: Vec<Attempt>,
}

/// The end of a task.
#[derive(Debug)]
pub enum TaskEnd {
    /// The task has a result.
    Completed(Product),
    /// The task failed. A Batch line may still have a response.
    Failed(Failure, Option<Product>),
    /// The run stopped and sends nothing more. The task keeps its state.
    Interrupted(Stopped),
}

/// The input of a task.
#[derive(Debug, Clone, Copy)]
pub struct TaskInput<'a> {
    /// The content of the request.
    pub brief: &'a Brief,
    /// The task's own instruction.
    pub input: &'a str,
    /// The client's own data for the result.
    pub metadata: Option<&'a RawValue>,
    /// Results from before.
    pub material: &'a Material,
    /// The result of the task's search, if its agent searches.
    pub search: Option<&'a TaskSearch>,
    /// The part of the task, if it has fanned out.
    pub part: Option<PartOf<'a>>,
}

/// A part of a task that has fanned out.
#[derive(Debug, Clone, Copy)]
pub struct PartOf<'a> {
    /// Its number, from 1.
    pub number: usize,
    /// The number of parts.
    pub of: usize,
    /// The id of the item that it is about; `None` for a sample.
    pub subject: Option<&'a str>,
}

/// A prompt and its warnings.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// The conversation.
    pub messages: Vec<Message>,
    /// References that name nothing, and parts that were left out.
    pub warnings: Vec<String>,
    /// The parts of the prompt that a fact may name as its source.
    pub(super) sources: Vec<SourceText>,
    /// The statements that a text for publication may make; `None` for other texts.
    pub(super) grounds: Option<Arc<Grounds>>,
    /// The language of the request.
    pub(super) language: Language,
}

/// Returns the ids of items that a task references, to be looked up for its [`Material`].
pub fn wanted_items(brief: &Brief, input: &str) -> Vec<String> {
    super::lookup::wanted(brief, input)
}

/// Runs a task with its agent.
pub async fn run_agent(context: AgentContext<'_>, agent: &Agent, task: TaskInput<'_>) -> TaskOutcome {
    let share = task.part.map(|part| fan_out::of_part(agent, part));
    let agent = share.as_ref().unwrap_or(agent);
    let make = |route: &Route| prompt(agent, route, context.budget, task);
    let validate = |prompt: &Prompt, answer: &Answer| {
        let asked = Asked {
            agent,
            query: task.brief.query.as_deref().unwrap_or_default(),
            input: task.input,
            sources: &prompt.sources,
            grounds: prompt.grounds.as_deref(),
            search: task.search,
            product: task.brief.background.product.as_ref(),
        };
        validate(&asked, answer)
    };
    let ConversationResult {
        outcome,
        mut making,
        attempts,
    } = converse(context, agent, task.input, make, validate).await;
    let has_looked_up = task.search.is_some_and(TaskSearch::has_looked_up);
    making.degraded |= agent.search.is_some() && !has_looked_up;
    if agent.search.is_some() && task.search.is_none() {
        making.warnings.push(
            "the search failed: facts come from the request's own material only, and those without a source are marked"
                .to_owned(),
        );
    }
    let end = match outcome {
        ConversationOutcome::Well(mut kept) => {
            making.warnings.extend(kept.warnings);
            if let Some(subject) = task.part.and_then(|part| part.subject) {
                fan_out::name_subject(agent, task, subject, &mut kept.items);
            }
            making.sizes.result = Some(shown_tokens(&kept.items));
            TaskEnd::Completed(Product::Items(kept.items))
        }
        ConversationOutcome::Failed(failure) => TaskEnd::Failed(failure, None),
        ConversationOutcome::Interrupted(why) => TaskEnd::Interrupted(why),
    };
    TaskOutcome {
        end,
        making,
        attempts,
    }
}

/// Builds the prompt of a task within the bounds of its parts and the window of its route.
pub fn prompt(
    agent: &Agent,
    route: &Route,
    budget: &ContextBudget,
    task: TaskInput<'_>,
) -> Result<Prompt, Failure> {
    let settings = &route.settings;
    let broken = |error: minijinja::Error| {
        let class = if agent.names_data() {
            Class::BadRequest
        } else {
            Class::Internal
        };
        Failure::new(class, format!("the prompt cannot be made: {}", reason(&error)))
    };
    let language = Language::of(task.brief.query.as_deref().unwrap_or_default(), task.input);
    let is_chinese = language == Language::Chinese;
    let (mut parts, mut warnings) = PromptParts::gather(
        task.brief,
        task.input,
        task.material,
        agent.writes && !agent.unsourced_facts,
    );
    parts = parts.with_sources(task.search).with_data(agent, task);
    if let (Some(kind), Some(subject)) = (agent.fan_out.each(), task.part.and_then(|part| part.subject)) {
        parts.keep_only(kind, subject);
        if agent.sees.is_some() {
            parts.keep_only_earlier(kind, subject);
        }
    }
    let system = agent.system(&parts.data(), is_chinese).map_err(broken)?;
    let taken = estimate_tokens(&system) + u64::from(max_tokens(route, agent)) + AROUND;
    let room = settings.context_window.saturating_sub(taken);
    let left_out = parts
        .fit(budget, room)
        .map_err(|needed| too_long(needed, room, &settings.name))?;
    warnings.extend(left_out);
    let user = agent
        .user(&minijinja::Value::from(Serde(&parts)), is_chinese)
        .map_err(broken)?;
    if agent.names_data() && estimate_tokens(&user) > room {
        return Err(too_long(estimate_tokens(&user), room, &settings.name));
    }
    let language = if agent.is_verbatim {
        Language::of(&user, "")
    } else {
        language
    };
    Ok(Prompt {
        messages: messages(system, user),
        warnings,
        sources: parts.sources(proof::quotes(&agent.form)),
        grounds: agent.writes.then(|| Arc::new(parts.grounds())),
        language,
    })
}

fn too_long(needed: u64, room: u64, route: &str) -> Failure {
    let message = format!(
        "the request has about {needed} tokens, and the window of route `{route}` leaves {room} for it (shorten it, or \
         set `context_window` of the route if its model takes more)"
    );
    Failure::new(Class::ContextLength, message)
}

/// The conversation. An agent without a system message sends none.
fn messages(system: String, user: String) -> Vec<Message> {
    let message = |role, content| Message { role, content };
    let system = Some(message(Role::System, system)).filter(|system| !system.content.is_empty());
    system.into_iter().chain([message(Role::User, user)]).collect()
}

/// The message about an answer that ended at its token limit.
pub(super) const CUT: &str = "the answer was cut off at its longest length";

/// The message about an answer that repeats itself without end.
pub(super) const RUNAWAY: &str = "the answer repeated itself without end and was stopped";

/// Items that are kept, and the warnings about them.
struct Kept {
    items: Vec<NewItem>,
    warnings: Vec<String>,
}

/// Reads an answer as items and validates them.
fn validate(asked: &Asked<'_>, answer: &Answer) -> Validation<Kept> {
    if let Err(error) = answer.verdict_of_finish() {
        return Validation::Refused(error);
    }
    if let Some(from) = answer.runaway_from() {
        return validate_runaway(asked, answer, from);
    }
    let cut = answer.finish_reason == "length";
    let read = match &asked.agent.form {
        Form::Json(_) if cut => return Validation::Cut(CUT.to_owned()),
        Form::Text if answer.is_cut_before_its_text() => {
            return Validation::Cut("the answer was cut off before its text began".to_owned());
        }
        Form::Text => match items::from_text(asked, &answer.text, cut) {
            Err(_) if cut => return Validation::Cut(CUT.to_owned()),
            Ok((items, mut warnings)) if cut => {
                warnings.push(format!(
                    "{CUT} (raise `max_tokens` of the agent `{}` or of its route)",
                    asked.agent.action
                ));
                Ok((items, warnings))
            }
            read => read,
        },
        Form::Json(schema) => schema
            .read(answer.object_text())
            .and_then(|object| items::from_object(asked, object)),
    };
    match read {
        Ok((items, mut warnings)) => {
            let complaints = items::complaints(asked, &items);
            warnings.extend(items::doubts(asked, &items));
            let kept = Kept { items, warnings };
            if complaints.is_empty() {
                Validation::Good(kept)
            } else {
                Validation::Mend(kept, complaints)
            }
        }
        Err(wrong) => Validation::Bad(wrong),
    }
}

/// Validates an answer that repeats itself. The model is asked once more, and the items before the repetitions are
/// kept in case the second answer is unusable. If whole items repeat, the answer counts as complete, because equal
/// items are merged.
fn validate_runaway(asked: &Asked<'_>, answer: &Answer, from: usize) -> Validation<Kept> {
    let repeated = answer.text.len() - from;
    let read = match &asked.agent.form {
        Form::Text => items::from_text(asked, answer.text.get(..from).unwrap_or_default(), true)
            .map(|read| (read, false)),
        Form::Json(schema) => schema.read_begun(&answer.text).and_then(|(object, left)| {
            let read = items::from_object(asked, object)?;
            Ok((read, left < repeated))
        }),
    };
    match read {
        Ok(((items, mut warnings), complete)) => {
            let mut complaints = items::complaints(asked, &items);
            if complete && complaints.is_empty() {
                warnings.push(RUNAWAY.to_owned());
                return Validation::Good(Kept { items, warnings });
            }
            complaints.insert(0, RUNAWAY.to_owned());
            Validation::Mend(Kept { items, warnings }, complaints)
        }
        Err(_) => Validation::Bad(RUNAWAY.to_owned()),
    }
}
