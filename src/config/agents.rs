//! Settings of agents and of the material in their prompts.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::path::PathBuf;

use super::Env;
use super::error::ConfigError;
use super::origin::{Given, Layers, Source};
use super::raw::{RawAgents, RawConfig};
use crate::domain::request::is_name;

/// Characters of the label: it is a part of a post, which has few.
const LONGEST_LABEL: usize = 60;

/// An agent that the command line describes: `--ask`, `--system`, `--schema`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskSettings {
    /// The template of the prompt.
    pub ask: String,
    /// The template of the system message.
    pub system: Option<String>,
    /// The file of the JSON schema, and its text.
    pub schema: Option<(PathBuf, String)>,
}

/// The settings of agents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentSettings {
    /// A folder of agent files that override the embedded ones or add to them.
    pub folder: Option<PathBuf>,
    /// Further agent files. Each replaces the agent with its action, also one of the folder.
    pub files: Vec<PathBuf>,
    /// An agent that the command line describes.
    pub asked: Option<AskSettings>,
    /// The file of the tasks of requests that name none.
    pub pipeline: Option<PathBuf>,
    /// Whether the number of a task's items is limited.
    pub limits: bool,
    /// Items of a task at most, unless `of` or its agent sets another number.
    pub max_results: usize,
    /// Items of a task at most, by action. Overrides the agent's number.
    pub of: BTreeMap<String, usize>,
    /// The plan of a request whose model plan cannot be used: its actions.
    pub default_plan: Vec<String>,
    /// The label that marks the texts of agents that write as made with a model.
    pub label: Option<String>,
    /// Words that no post may contain, in addition to the list of banned words.
    pub banned_words: Vec<String>,
}

/// The most earlier material that a prompt may contain, in tokens for each part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextBudget {
    /// Rounds of the session, at most.
    pub rounds: usize,
    /// Tokens of these rounds.
    pub round_tokens: u64,
    /// Tokens of background, product, earlier content and free-form context.
    pub background_tokens: u64,
    /// Tokens of the results of earlier tasks.
    pub earlier_tokens: u64,
    /// Tokens of the results of the task's search.
    pub search_tokens: u64,
    /// Tokens of referenced items.
    pub reference_tokens: u64,
    /// Tokens of chosen items and the comments on them.
    pub chosen_tokens: u64,
}

/// A list in the form that `nova3 config` shows.
struct Listed<'a>(&'a [String]);

impl Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

pub(super) fn agents(
    written: &RawConfig,
    default: &RawConfig,
    env: Env<'_>,
    layers: &mut Layers,
) -> Result<AgentSettings, ConfigError> {
    let (raw, base) = (&written.agents, &default.agents);
    let limits = layers.pick(
        "agents.enable_limits",
        from_env(env, "NOVA3_ENABLE_LIMITS", "true or false", switch)?.as_ref(),
        raw.enable_limits,
        base.enable_limits,
    )?;
    let max_results = layers.pick(
        "agents.max_results",
        from_env(env, "NOVA3_DEFAULT_MAX_RESULTS", "1 to 100", |text| {
            text.parse().ok().filter(|most| is_most(*most))
        })?
        .as_ref(),
        raw.max_results,
        base.max_results,
    )?;
    bounded("agents.max_results", max_results)?;
    for (action, most) in &raw.max_results_of {
        bounded(&format!("agents.max_results_of.{action}"), *most)?;
        layers.note(
            &format!("agents.max_results_of.{action}"),
            most,
            layers.file_source(),
        );
    }
    let plan = raw
        .default_plan
        .clone()
        .or_else(|| base.default_plan.clone())
        .unwrap_or_default();
    let source = if raw.default_plan.is_some() {
        layers.file_source()
    } else {
        Source::Default
    };
    layers.note("agents.default_plan", Listed(&plan), source);
    if !(1..=10).contains(&plan.len()) || !plan.iter().all(|action| is_name(action)) {
        return Err(ConfigError::value(
            "agents.default_plan",
            Listed(&plan),
            "1 to 10 actions",
        ));
    }
    if let Some(folder) = &raw.folder {
        layers.note("agents.folder", folder.display(), layers.file_source());
    }
    Ok(AgentSettings {
        folder: raw.folder.clone(),
        files: Vec::new(),
        asked: None,
        pipeline: None,
        limits,
        max_results: max_results as usize,
        of: raw
            .max_results_of
            .iter()
            .map(|(action, most)| (action.clone(), *most as usize))
            .collect(),
        default_plan: plan,
        label: label(raw, base, layers)?,
        banned_words: raw.banned_words.clone(),
    })
}

/// Reads the label; an empty one turns it off.
fn label(raw: &RawAgents, base: &RawAgents, layers: &mut Layers) -> Result<Option<String>, ConfigError> {
    let label = layers.pick(
        "agents.ai_label",
        None,
        raw.ai_label.clone(),
        base.ai_label.clone(),
    )?;
    if label.chars().count() > LONGEST_LABEL || label.contains(char::is_control) {
        let expected = format!("one line of at most {LONGEST_LABEL} characters");
        return Err(ConfigError::value("agents.ai_label", &label, &expected));
    }
    Ok(Some(label).filter(|label| !label.trim().is_empty()))
}

pub(super) fn context(
    written: &RawConfig,
    default: &RawConfig,
    layers: &mut Layers,
) -> Result<ContextBudget, ConfigError> {
    let (raw, base) = (&written.context, &default.context);
    Ok(ContextBudget {
        rounds: layers.pick("context.rounds", None, raw.rounds, base.rounds)? as usize,
        round_tokens: layers.pick("context.round_tokens", None, raw.round_tokens, base.round_tokens)?,
        search_tokens: layers.pick(
            "context.search_tokens",
            None,
            raw.search_tokens,
            base.search_tokens,
        )?,
        background_tokens: layers.pick(
            "context.background_tokens",
            None,
            raw.background_tokens,
            base.background_tokens,
        )?,
        earlier_tokens: layers.pick(
            "context.earlier_tokens",
            None,
            raw.earlier_tokens,
            base.earlier_tokens,
        )?,
        reference_tokens: layers.pick(
            "context.reference_tokens",
            None,
            raw.reference_tokens,
            base.reference_tokens,
        )?,
        chosen_tokens: layers.pick(
            "context.chosen_tokens",
            None,
            raw.chosen_tokens,
            base.chosen_tokens,
        )?,
    })
}

/// Reads a variable that has no flag. The names of these variables come from the Python service.
fn from_env<T>(
    env: Env<'_>,
    name: &str,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<Given<T>>, ConfigError> {
    let Some(text) = env(name) else { return Ok(None) };
    let value = parse(text.trim()).ok_or_else(|| ConfigError::value(name, &text, expected))?;
    Ok(Some(Given {
        value,
        source: Source::Env(name.to_owned()),
    }))
}

fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

const fn is_most(most: u32) -> bool {
    matches!(most, 1..=100)
}

fn bounded(key: &str, most: u32) -> Result<(), ConfigError> {
    if is_most(most) {
        return Ok(());
    }
    Err(ConfigError::value(key, most, "1 to 100"))
}
