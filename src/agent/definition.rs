//! An agent, read from TOML and checked.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use minijinja::value::Serde;
use minijinja::{Environment, context};
use serde_json::Value;

use super::agent_file::{AgentError, AgentFile, RawAgent, parse};
use super::condition::TaskCondition;
use super::fan_out::FanOut;
use super::form::Form;
use super::probe;
use super::prompt;
use super::row::RowColumns;
use super::search_spec::SearchSpec;
use super::task_names::TaskNames;
use super::template_check::{DataNames, data_names, reads_query};
use crate::domain::post::PostRules;
use crate::domain::request::{Action, content_type, is_name};
use crate::llm::Sampling;
use crate::store::Material;

/// One agent.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Its action.
    pub action: Action,
    /// The word that begins the ids of its items.
    pub item: String,
    /// A description of its result, for the planner.
    pub description: String,
    /// Token limit of its answer.
    pub max_tokens: u32,
    /// Item limit of one task; `None` if limits are off.
    pub max_results: Option<usize>,
    /// The web search before each of its tasks.
    pub search: Option<SearchSpec>,
    /// Whether its items are texts for publication: they carry the label, hold what the product must say, are free of
    /// banned words, and state only what stands in their material. Its prompts hold no fact without a source.
    pub writes: bool,
    /// Whether its items must be free of banned words and of the words that the product must not say.
    pub checks_words: bool,
    /// Whether its prompts hold facts without a source, although it writes. They are marked.
    pub unsourced_facts: bool,
    /// Whether its answer is one item as it stands, without the checks of a text.
    pub is_verbatim: bool,
    /// Whether its prompt names the query or the task's input.
    pub reads_query: bool,
    /// The route it uses when a line names none.
    pub model: Option<String>,
    /// Whether its tasks are split into parts.
    pub fan_out: FanOut,
    /// Sampling parameters of its calls.
    pub sampling: Sampling,
    /// Rules for each item beside the schema.
    pub rules: PostRules,
    /// The form of its answer.
    pub form: Form,
    /// The columns of a table row that its templates name.
    pub row: RowColumns,
    /// The earlier tasks that its templates name.
    pub tasks: TaskNames,
    /// Whether its templates name the metadata of the request.
    pub reads_metadata: bool,
    /// The condition of its tasks. A task whose condition is false is skipped.
    pub when: Option<TaskCondition>,
    /// The actions whose results its tasks see: in a pipeline, those that it needs directly or through others. `None`: all.
    pub sees: Option<BTreeSet<String>>,
    /// Its file.
    pub file: PathBuf,
    /// Whether it is built in.
    pub embedded: bool,
    /// The text of its file. A digest of it shows whether the agent changed.
    pub source: String,
    pub(super) templates: Environment<'static>,
}

/// The shared data that an agent file is read with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// The shared part of every user template.
    pub(super) material: &'a str,
    /// The known actions, for the supervisor's schema.
    pub(super) actions: &'a [String],
    /// Names and descriptions of all agents, for the supervisor's prompt.
    pub(super) agents: &'a [(String, String)],
    /// The settings of limits and posts.
    pub(super) settings: &'a crate::config::AgentSettings,
    /// Words that no post may hold.
    pub(super) banned: &'a [String],
}

impl Agent {
    pub(super) fn read(source: &AgentFile, around: Surroundings<'_>) -> Result<Self, AgentError> {
        let mut raw = parse(source)?;
        let form = match &raw.schema {
            Some(schema) => Form::json(schema.get_ref(), around.actions)
                .map_err(|(line, reason)| source.within(schema, line, format!("`schema`: {reason}")))?,
            None => Form::Text,
        };
        let search = search(source, &mut raw)?;
        Self::of_raw(source, &raw, form, search, around)
    }

    /// Makes an agent of its written form.
    pub(super) fn of_raw(
        source: &AgentFile,
        raw: &RawAgent,
        form: Form,
        search: Option<SearchSpec>,
        around: Surroundings<'_>,
    ) -> Result<Self, AgentError> {
        let action = Action::parse(raw.action.get_ref()).ok_or_else(|| {
            source.problem(
                raw.action.span().start,
                format!(
                    "`action` is `{}`, expected a name such as `insight`",
                    raw.action.get_ref()
                ),
            )
        })?;
        let item = item_type(source, raw, &action)?;
        let (max_tokens, max_results) = limits(source, raw, around.settings)?;
        let templates = templates(source, raw, around)?;
        let DataNames {
            row,
            tasks,
            reads_metadata,
        } = data_names(source, raw, search.as_ref(), &templates, around)?;
        let agent = Self {
            row,
            tasks,
            reads_metadata,
            when: None,
            sees: None,
            is_verbatim: false,
            reads_query: reads_query(search.as_ref(), &templates),
            max_tokens,
            max_results,
            description: raw.description.clone(),
            search,
            writes: raw.writes,
            unsourced_facts: raw.unsourced_facts,
            checks_words: checks_words(raw),
            model: raw.model.as_ref().map(|model| model.get_ref().clone()),
            fan_out: fan_out(source, raw)?,
            sampling: raw.sampling,
            rules: rules(raw, around),
            form,
            file: source.file.clone(),
            embedded: source.embedded,
            source: source.text.clone(),
            templates,
            action,
            item,
        };
        agent.try_out(source, raw)?;
        Ok(agent)
    }

    /// Returns the type of its results in events and selections.
    pub fn content_type(&self) -> String {
        content_type(self.action.as_str(), &self.item).into_owned()
    }

    /// Renders the system message, which may name the row of a table, the metadata and earlier tasks.
    ///
    /// `chinese` says whether the request is in Chinese.
    pub fn system(&self, data: &minijinja::Value, chinese: bool) -> Result<String, minijinja::Error> {
        let limits = context! {
            chinese,
            max_results => self.max_results,
            label => self.rules.label.as_deref(),
            ..data.clone()
        };
        Ok(self
            .templates
            .get_template("system")?
            .render(limits)?
            .trim()
            .to_owned())
    }

    /// Renders the system message of a Chinese request for people. Each column holds a placeholder.
    pub fn shown_system(&self) -> String {
        self.system(&probe::data(&self.row, &self.tasks, true), true)
            .unwrap_or_default()
    }

    /// Renders the part of its prompt that depends on the request.
    pub fn user(&self, material: &minijinja::Value, chinese: bool) -> Result<String, minijinja::Error> {
        let all = context! { max_results => self.max_results, chinese, ..material.clone() };
        Ok(self
            .templates
            .get_template("user")?
            .render(all)?
            .trim()
            .to_owned())
    }

    /// Renders the search queries of a task, one a line.
    pub(super) fn query_text(&self, material: &minijinja::Value) -> Result<String, minijinja::Error> {
        let Some(spec) = &self.search else {
            return Ok(String::new());
        };
        self.templates.render_str(&spec.query, material)
    }

    /// Removes the results that its tasks do not see.
    pub fn keep_seen(&self, material: &mut Material) {
        if let Some(sees) = &self.sees {
            material.earlier.retain(|task| sees.contains(&task.action));
        }
    }

    /// Whether its templates name the row, the metadata or an earlier task, whose form is not known at the start.
    pub fn names_data(&self) -> bool {
        self.reads_metadata || !self.row.is_empty() || !self.tasks.is_empty()
    }
}

/// Returns the message with its causes, without the excerpt that minijinja appends.
pub(super) fn reason(error: &minijinja::Error) -> String {
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        reason += &format!(": {inner}");
        cause = inner.source();
    }
    reason
}

fn item_type(source: &AgentFile, raw: &RawAgent, action: &Action) -> Result<String, AgentError> {
    let Some(item) = &raw.item else {
        return Ok(action.as_str().to_owned());
    };
    let name = item.get_ref();
    // With a digit at the end, `post11` would be both item 1 of `post1` and item 11 of `post`.
    if is_name(name) && !name.ends_with(|c: char| c.is_ascii_digit()) {
        return Ok(name.clone());
    }
    Err(source.problem(
        item.span().start,
        format!("`item` is `{name}`, expected a name that does not end in a digit"),
    ))
}

fn limits(
    source: &AgentFile,
    raw: &RawAgent,
    settings: &crate::config::AgentSettings,
) -> Result<(u32, Option<usize>), AgentError> {
    let max_tokens = *raw.max_tokens.get_ref();
    if !(1..=1_000_000).contains(&max_tokens) {
        return Err(source.problem(
            raw.max_tokens.span().start,
            format!("`max_tokens` is {max_tokens}, expected 1 to 1000000"),
        ));
    }
    if let Some(most) = &raw.max_results
        && !(1..=100).contains(most.get_ref())
    {
        return Err(source.problem(
            most.span().start,
            format!("`max_results` is {}, expected 1 to 100", most.get_ref()),
        ));
    }
    let own = raw.max_results.as_ref().map(|most| *most.get_ref() as usize);
    let set = settings.of.get(raw.action.get_ref()).copied();
    let most = set.or(own).unwrap_or(settings.max_results);
    Ok((max_tokens, settings.limits.then_some(most)))
}

fn search(source: &AgentFile, raw: &mut RawAgent) -> Result<Option<SearchSpec>, AgentError> {
    let Some(table) = raw.search.take() else {
        return Ok(None);
    };
    let at = table.span().start;
    let spec = SearchSpec::read(table.into_inner());
    spec.map(Some).map_err(|reason| source.problem(at, reason))
}

fn fan_out(source: &AgentFile, raw: &RawAgent) -> Result<FanOut, AgentError> {
    FanOut::read(raw.for_each.as_ref(), raw.samples.as_ref(), raw.keep.as_ref())
        .map_err(|(at, reason)| source.problem(at, reason))
}

fn rules(raw: &RawAgent, around: Surroundings<'_>) -> PostRules {
    let checks = &raw.checks;
    let tags = checks.tags.map(|_| "tags".to_owned());
    PostRules {
        title_chars: checks.title_chars,
        content_chars: checks.content_chars,
        tags: checks.tags,
        label: around.settings.label.clone().filter(|_| raw.writes),
        banned: if checks_words(raw) {
            around.banned.to_vec()
        } else {
            Vec::new()
        },
        distinct: tags.into_iter().chain(checks.distinct.clone()).collect(),
    }
}

/// Whether banned words are looked up in the items of an agent: if it writes, asks for the check, or has bounds of a
/// post.
const fn checks_words(raw: &RawAgent) -> bool {
    let checks = &raw.checks;
    let is_bounded = checks.title_chars.is_some() || checks.content_chars.is_some() || checks.tags.is_some();
    raw.writes || checks.banned_words || is_bounded
}

fn templates(
    source: &AgentFile,
    raw: &RawAgent,
    around: Surroundings<'_>,
) -> Result<Environment<'static>, AgentError> {
    let mut templates = prompt::environment(around.material)
        .map_err(|error| AgentError::of_file(Path::new("material.jinja"), error.line(), reason(&error)))?;
    let agents: Vec<Value> = around
        .agents
        .iter()
        .map(|(action, description)| serde_json::json!({"action": action, "description": description}))
        .collect();
    templates.add_global("agents", minijinja::Value::from(Serde(agents)));
    for (name, text) in [("system", &raw.system), ("user", &raw.user)] {
        templates
            .add_template_owned(name, text.get_ref().clone())
            .map_err(|error| source.within(text, error.line().unwrap_or(1), reason(&error)))?;
    }
    Ok(templates)
}
