//! The agent that the command line describes: `--ask`, `--system`, `--schema`.
//!
//! Its prompt is the rendered template and nothing else. Its answer is one item: the text as `content`, or the object
//! that fits the schema.

use std::path::{Path, PathBuf};

use minijinja::Environment;
use toml::Spanned;

use super::agent_file::{AgentError, AgentFile, RawAgent, RawChecks};
use super::definition::{Agent, Surroundings};
use super::form::Form;
use super::prompt;
use crate::config::AskSettings;
use crate::llm::Sampling;

/// The action of the agent.
pub const ASK: &str = "ask";

/// The token limit of its answer.
const MAX_TOKENS: u32 = 4096;

/// Makes the agent. An error names the flag.
pub(super) fn agent(asked: &AskSettings, around: Surroundings<'_>) -> Result<Agent, AgentError> {
    let system = asked.system.as_deref().unwrap_or_default();
    let templates = prompt::environment("").map_err(|error| told("--ask", None, error.to_string()))?;
    for (flag, text) in [("--ask", asked.ask.as_str()), ("--system", system)] {
        check_names(&templates, flag, text)?;
    }
    if asked.ask.trim().is_empty() {
        return Err(told(
            "--ask",
            None,
            "expected a template, got an empty text".to_owned(),
        ));
    }
    let form = match &asked.schema {
        Some((file, text)) => schema(file, text)?,
        None => Form::Text,
    };
    let source = AgentFile {
        file: PathBuf::from("--ask"),
        text: format!("{asked:?}"),
        embedded: false,
    };
    let mut agent = Agent::of_raw(&source, &raw(asked, system), form, None, around)?;
    (agent.is_verbatim, agent.max_results) = (true, None);
    Ok(agent)
}

fn raw(asked: &AskSettings, system: &str) -> RawAgent {
    RawAgent {
        action: spanned(ASK.to_owned()),
        item: None,
        description: String::new(),
        max_tokens: spanned(MAX_TOKENS),
        max_results: None,
        search: None,
        writes: false,
        unsourced_facts: false,
        model: None,
        for_each: None,
        samples: None,
        keep: None,
        sampling: Sampling::default(),
        system: spanned(system.to_owned()),
        user: spanned(asked.ask.clone()),
        schema: None,
        checks: RawChecks::default(),
    }
}

fn spanned<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

/// Checks the form of a template, and that it names known variables only.
fn check_names(templates: &Environment<'_>, flag: &str, text: &str) -> Result<(), AgentError> {
    let template = templates
        .template_from_str(text)
        .map_err(|error| told(flag, error.line(), error.to_string()))?;
    let unknown = prompt::unknown_name(templates, template.undeclared_variables(false));
    match unknown {
        Some(name) => Err(told(
            flag,
            None,
            format!("it names `{name}`, expected a column such as `row.{name}`"),
        )),
        None => Ok(()),
    }
}

fn schema(file: &Path, text: &str) -> Result<Form, AgentError> {
    let problem = |line: usize, reason: &str| {
        told(
            "--schema",
            None,
            format!("file `{}` line {line}: {reason}", file.display()),
        )
    };
    let form = Form::of_schema(text).map_err(|(line, reason)| problem(line, &reason))?;
    if let Form::Json(schema) = &form
        && schema.value["properties"].get("id").is_some()
    {
        let reason =
            "its root has a property `id`, which is the name of the item's own id (rename the property)";
        return Err(problem(1, reason));
    }
    Ok(form)
}

fn told(flag: &str, line: Option<usize>, reason: String) -> AgentError {
    AgentError {
        place: format!("`{flag}`"),
        line,
        reason,
    }
}
