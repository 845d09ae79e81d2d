//! Planning: the supervisor model chooses the tasks of a request. Its plan is checked like any untrusted text.

use serde_json::{Map, Value, json};

use super::context::{AgentContext, ConversationOutcome, ConversationResult, Validation, converse};
use super::form::Form;
use super::library::Agents;
use super::run::{Prompt, RUNAWAY, TaskInput, prompt};
use super::texts::{keep_distinct, says_something};
use crate::domain::failure::{Class, Failure};
use crate::domain::ids::shortened;
use crate::domain::outcome::{Attempt, PlanOrigin, Provenance};
use crate::domain::printable::counted;
use crate::domain::request::Brief;
use crate::llm::{Answer, Route, Stopped};
use crate::store::{PlanEnd, Planned};

/// The largest number of tasks in a plan.
pub const MOST_TASKS: usize = 10;

/// The length limit of an instruction, in characters.
pub(super) const LONGEST_INPUT: usize = 5000;

/// The length limit of a description, in characters. It is one line.
const LONGEST_DESCRIPTION: usize = 200;

/// Finished planning.
#[derive(Debug)]
pub struct PlanDone {
    /// The plan, or the failure of planning. `Err` if the run stopped: nothing more is sent, and the request keeps its
    /// state.
    pub end: Result<PlanEnd, Stopped>,
    /// The bookkeeping.
    pub making: Provenance,
    /// Every call.
    pub attempts: Vec<Attempt>,
}

/// Asks the supervisor for a plan. A plan that is unusable after one repair is replaced by the default plan, with a
/// warning.
pub async fn run_supervisor(context: AgentContext<'_>, agents: &Agents, task: TaskInput<'_>) -> PlanDone {
    let supervisor = agents.supervisor();
    let make = |route: &Route| prompt(supervisor, route, context.budget, task);
    let validate = |_: &Prompt, answer: &Answer| validate(agents, answer);
    let ConversationResult {
        outcome,
        mut making,
        attempts,
    } = converse(context, supervisor, "", make, validate).await;
    let end = match outcome {
        ConversationOutcome::Well((steps, dropped)) => {
            if dropped > 0 {
                making.warnings.push(format!(
                    "the plan had {} that an earlier one says already, dropped",
                    counted(dropped, "task")
                ));
            }
            Ok(PlanEnd::Planned(PlanOrigin::Model, steps))
        }
        ConversationOutcome::Failed(failure) if failure.class == Class::Schema => {
            making.warnings.push(format!(
                "the model's plan could not be used ({}), the default plan was taken",
                failure.message
            ));
            Ok(PlanEnd::Planned(
                PlanOrigin::Default,
                default_steps(agents, task.brief),
            ))
        }
        ConversationOutcome::Failed(failure) => Ok(PlanEnd::Failed(Failure {
            message: format!("planning failed: {}", failure.message),
            ..failure
        })),
        ConversationOutcome::Interrupted(why) => Err(why),
    };
    PlanDone {
        end,
        making,
        attempts,
    }
}

fn validate(agents: &Agents, answer: &Answer) -> Validation<Steps> {
    if let Err(error) = answer.verdict_of_finish() {
        return Validation::Refused(error);
    }
    if answer.runaway_from().is_some() {
        return Validation::Bad(RUNAWAY.to_owned());
    }
    if answer.finish_reason == "length" {
        return Validation::Cut("the plan was cut off at its longest length".to_owned());
    }
    let Form::Json(schema) = &agents.supervisor().form else {
        return Validation::Bad("the supervisor has no schema".to_owned());
    };
    match schema
        .read(answer.object_text())
        .and_then(|plan| steps(agents, &plan))
    {
        Ok(steps) => Validation::Good(steps),
        Err(wrong) => Validation::Bad(wrong),
    }
}

/// The tasks of a plan, and the number of repeated tasks that were dropped.
type Steps = (Vec<Planned>, u64);

/// Reads the tasks of a plan: one to [`MOST_TASKS`], each with an action that has an agent.
fn steps(agents: &Agents, plan: &Map<String, Value>) -> Result<Steps, String> {
    let list = plan
        .values()
        .find_map(Value::as_array)
        .ok_or("the plan has no list of tasks")?;
    let steps: Result<Vec<Planned>, String> = list.iter().map(|task| step(agents, task)).collect();
    let mut steps = steps?;
    let dropped = keep_distinct(&mut steps, |step| json!([step.action, step.input])) as u64;
    if !(1..=MOST_TASKS).contains(&steps.len()) {
        return Err(format!(
            "the plan has {} tasks, 1 to {MOST_TASKS} are asked",
            steps.len()
        ));
    }
    Ok((steps, dropped))
}

fn step(agents: &Agents, task: &Value) -> Result<Planned, String> {
    let text = |key: &str| task[key].as_str().unwrap_or_default().trim();
    let action = text("action");
    if agents.get(action).is_none() {
        return Err(format!(
            "the plan has a task of the action `{}` (known: {})",
            shortened(action, 60),
            agents.known()
        ));
    }
    let input = [text("input"), text("description")]
        .into_iter()
        .find(|text| says_something(text))
        .ok_or_else(|| format!("the plan's task `{action}` has no `input`"))?;
    let description = Some(text("description")).filter(|text| says_something(text));
    let description = description
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>();
    // PostgreSQL cannot store NUL.
    let clean = |text: &str, most: usize| text.chars().filter(|c| *c != '\0').take(most).collect::<String>();
    Ok(Planned {
        action: action.to_owned(),
        description: shortened(&description.join(" "), LONGEST_DESCRIPTION),
        input: clean(input, LONGEST_INPUT),
        needs: None,
    })
}

/// Returns the default plan of the settings.
fn default_steps(agents: &Agents, brief: &Brief) -> Vec<Planned> {
    let input = super::plan::own_input(brief);
    agents
        .default_plan()
        .iter()
        .map(|action| Planned {
            action: action.as_str().to_owned(),
            description: String::new(),
            input: input.clone(),
            needs: None,
        })
        .collect()
}
