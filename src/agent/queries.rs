//! The search queries of a task: from the template of its agent, or from a small model call.

use minijinja::value::Serde;

use super::context::{AgentContext, ConversationOutcome, ConversationResult, Validation, converse};
use super::definition::Agent;
use super::form::Form;
use super::parts::PromptParts;
use super::run::{RUNAWAY, TaskInput, prompt};
use super::search_spec::MOST_QUERIES;
use super::texts::says_something;
use crate::domain::failure::{Class, Failure};
use crate::domain::outcome::{Attempt, Provenance};
use crate::domain::references::references_in;
use crate::llm::{Answer, Route, Stopped};

/// The queries of a task.
#[derive(Debug)]
pub struct WrittenQueries {
    /// The queries, at most [`MOST_QUERIES`]. `Err` if the run stopped: nothing more is sent.
    pub queries: Result<Vec<String>, Stopped>,
    /// The bookkeeping of the model call, if there was one. It has the warnings in either case.
    pub making: Provenance,
    /// Every call.
    pub attempts: Vec<Attempt>,
}

/// Writes the queries of a task of `agent`. If the model call fails or gives no query, the template gives the queries,
/// with a warning.
pub async fn write_queries(
    context: AgentContext<'_>,
    writer: &Agent,
    agent: &Agent,
    task: TaskInput<'_>,
) -> WrittenQueries {
    let (mut making, mut attempts) = (
        Provenance::without_calls(String::new(), String::new()),
        Vec::new(),
    );
    if agent.search.as_ref().is_some_and(|spec| spec.ask) {
        let asked = ask(context, writer, task).await;
        (making, attempts) = (asked.making, asked.attempts);
        match asked.outcome {
            ConversationOutcome::Well(queries) => {
                return WrittenQueries {
                    queries: Ok(queries),
                    making,
                    attempts,
                };
            }
            ConversationOutcome::Interrupted(why) => {
                return WrittenQueries {
                    queries: Err(why),
                    making,
                    attempts,
                };
            }
            ConversationOutcome::Failed(failure) => making.warnings.push(format!(
                "the model wrote no search query ({}), the template of the agent `{}` gave it",
                failure.message, agent.action
            )),
        }
    }
    let queries = from_template(agent, task).unwrap_or_else(|failure| {
        making.warnings.push(failure.message);
        Vec::new()
    });
    WrittenQueries {
        queries: Ok(queries),
        making,
        attempts,
    }
}

/// Renders the template of the queries: one query a line.
pub fn from_template(agent: &Agent, task: TaskInput<'_>) -> Result<Vec<String>, Failure> {
    let (parts, _) = PromptParts::gather(task.brief, task.input, task.material, false);
    let parts = parts.with_data(agent, task);
    let text = agent
        .query_text(&minijinja::Value::from(Serde(&parts)))
        .map_err(|error| {
            let message = format!("the template of the search queries cannot be rendered: {error:#}");
            Failure::new(Class::Internal, message)
        })?;
    Ok(usable(text.lines()))
}

/// Returns the lines with words, at most [`MOST_QUERIES`], each once. References such as `@insight1` mean nothing to a
/// search provider and are left out.
fn usable<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut queries: Vec<String> = Vec::new();
    for line in lines {
        let mut query = line.to_owned();
        for id in references_in(line) {
            query = query.replace(&format!("@{id}"), " ");
        }
        let query = query.split_whitespace().collect::<Vec<_>>().join(" ");
        if queries.len() < MOST_QUERIES && says_something(&query) && !queries.contains(&query) {
            queries.push(query);
        }
    }
    queries
}

async fn ask(
    context: AgentContext<'_>,
    writer: &Agent,
    task: TaskInput<'_>,
) -> ConversationResult<Vec<String>> {
    let make = |route: &Route| prompt(writer, route, context.budget, task);
    converse(context, writer, "", make, |_, answer| validate(writer, answer)).await
}

fn validate(writer: &Agent, answer: &Answer) -> Validation<Vec<String>> {
    if let Err(error) = answer.verdict_of_finish() {
        return Validation::Refused(error);
    }
    if answer.runaway_from().is_some() {
        return Validation::Bad(RUNAWAY.to_owned());
    }
    if answer.finish_reason == "length" {
        return Validation::Cut("the queries were cut off at their longest length".to_owned());
    }
    let Form::Json(schema) = &writer.form else {
        return Validation::Bad("the writer of queries has no schema".to_owned());
    };
    match schema.read(answer.object_text()) {
        Ok(object) => {
            let list = object.get("queries").and_then(serde_json::Value::as_array);
            let lines = list.into_iter().flatten().filter_map(serde_json::Value::as_str);
            let queries = usable(lines);
            if queries.is_empty() {
                Validation::Bad("`queries` holds no query".to_owned())
            } else {
                Validation::Good(queries)
            }
        }
        Err(wrong) => Validation::Bad(wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_three_distinct_queries_are_used() {
        let text = " oat  milk \n\n…\n@insight12\noat milk @fact1\nwool\ncoffee\ntea";
        assert_eq!(usable(text.lines()), ["oat milk", "wool", "coffee"]);
    }
}
