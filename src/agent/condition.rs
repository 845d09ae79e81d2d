//! The condition of a task: `tasks.score[0].points < 3`. It is a Jinja expression over the row, the metadata, the query
//! and the results of earlier tasks.

use minijinja::value::Serde;
use minijinja::{Environment, Value, context};

use super::definition::{Agent, reason};
use super::parts::PromptParts;
use super::probe;
use super::prompt;
use super::row::RowColumns;
use super::run::TaskInput;
use super::task_names::TaskNames;
use crate::domain::failure::{Class, Failure};

/// The variables that a condition may name.
const NAMES: [&str; 4] = ["row", "metadata", "query", "tasks"];

/// A condition that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskCondition {
    source: String,
    /// The columns that it names.
    pub(super) row: RowColumns,
    /// The tasks that it names.
    pub(super) tasks: TaskNames,
}

impl TaskCondition {
    /// Reads a condition. `Err` has the reason.
    pub(super) fn read(source: &str) -> Result<Self, String> {
        let environment = environment()?;
        let expression = environment
            .compile_expression(source)
            .map_err(|error| reason(&error))?;
        let mut named: Vec<String> = expression.undeclared_variables(false).into_iter().collect();
        named.sort();
        let is_known = |name: &String| {
            NAMES.contains(&name.as_str()) || environment.globals().any(|(global, _)| global == name)
        };
        if let Some(name) = named.into_iter().find(|name| !is_known(name)) {
            return Err(format!(
                "it names `{name}`, expected `row.{name}`, `metadata.{name}` or `tasks.NAME`"
            ));
        }
        let condition = Self {
            row: RowColumns::of(&environment, &format!("{{{{ {source} }}}}"))
                .map_err(|error| reason(&error))?,
            tasks: TaskNames::among(expression.undeclared_variables(true)),
            source: source.to_owned(),
        };
        for texts in [true, false] {
            let data = probe::data(&condition.row, &condition.tasks, texts);
            match condition.value(&context! { query => "probe", ..data }) {
                Err(error) if !probe::depends_on_values(&error) => return Err(reason(&error)),
                _ => {}
            }
        }
        Ok(condition)
    }

    fn value(&self, data: &Value) -> Result<Value, minijinja::Error> {
        let environment = prompt::environment("")?;
        let expression = environment.compile_expression(&self.source)?;
        expression.eval(data.clone())
    }

    /// Whether it is true for these parts. `Err` has the reason.
    fn holds(&self, parts: &PromptParts) -> Result<bool, String> {
        let data = context! { query => Value::from(Serde(&parts.query)), ..parts.data() };
        let value = self.value(&data).map_err(|error| reason(&error))?;
        if value.is_undefined() {
            return Err("it names a value that does not exist".to_owned());
        }
        Ok(value.is_true())
    }
}

fn environment() -> Result<Environment<'static>, String> {
    prompt::environment("").map_err(|error| reason(&error))
}

/// Whether a task of the agent is to be done. A condition that cannot be evaluated fails its task.
pub fn is_due(agent: &Agent, task: TaskInput<'_>) -> Result<bool, Failure> {
    let Some(condition) = &agent.when else {
        return Ok(true);
    };
    let (parts, _) = PromptParts::gather(task.brief, task.input, task.material, false);
    let parts = parts.with_data(agent, task);
    condition.holds(&parts).map_err(|reason| {
        let message = format!(
            "the condition `{}` of `{}` cannot be evaluated: {reason}",
            condition.source, agent.action
        );
        Failure::new(Class::BadRequest, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_checked_when_it_is_read() {
        for source in [
            "tasks.score[0].points * 2 > 3",
            "tasks.score and row.lang == 'de'",
            "metadata.a.b or not query",
            "tasks.score | selectattr('good') | list | length > 1",
        ] {
            assert!(TaskCondition::read(source).is_ok(), "{source}");
        }
        for (source, told) in [
            ("tasks.score[0] >", "syntax error"),
            ("points > 3", "it names `points`, expected `row.points`"),
            ("row.a | shout", "unknown filter"),
            ("row.a is shouted", "unknown test"),
            ("", "syntax error"),
        ] {
            let reason = TaskCondition::read(source).unwrap_err();
            assert!(reason.contains(told), "{source}: {reason}");
        }
        let condition = TaskCondition::read("tasks.a[0].b and tasks.c and row['x y'] == row.z").unwrap();
        assert_eq!(condition.tasks.names.iter().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(condition.row.names.iter().collect::<Vec<_>>(), ["x y", "z"]);
    }
}
