//! All agents: the built-in ones, and those of a folder that replace or extend them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::agent_file::{AgentError, AgentFile, outline};
use super::asked::{self, ASK};
use super::definition::{Agent, Surroundings};
use super::form::Form;
use super::given_tasks::GivenTasks;
use super::pipeline;
use crate::config::AgentSettings;
use crate::domain::request::{Action, Digest};

/// The action of the supervisor. No request can ask for it.
pub const SUPERVISOR: &str = "supervisor";

/// The action of the agent that writes search queries. No request can ask for it.
pub const QUERY_WRITER: &str = "search_queries";

const MATERIAL: &str = include_str!("../../agents/material.jinja");
const BANNED: &str = include_str!("../../agents/banned_words.txt");

const EMBEDDED: [(&str, &str); 10] = [
    ("agents/insight.toml", include_str!("../../agents/insight.toml")),
    ("agents/profile.toml", include_str!("../../agents/profile.toml")),
    ("agents/hitpoint.toml", include_str!("../../agents/hitpoint.toml")),
    ("agents/facts.toml", include_str!("../../agents/facts.toml")),
    (
        "agents/xhs_writing.toml",
        include_str!("../../agents/xhs_writing.toml"),
    ),
    (
        "agents/tiktok_script.toml",
        include_str!("../../agents/tiktok_script.toml"),
    ),
    (
        "agents/wechat_article.toml",
        include_str!("../../agents/wechat_article.toml"),
    ),
    ("agents/answer.toml", include_str!("../../agents/answer.toml")),
    (
        "agents/supervisor.toml",
        include_str!("../../agents/supervisor.toml"),
    ),
    (
        "agents/search_queries.toml",
        include_str!("../../agents/search_queries.toml"),
    ),
];

/// The size limit of a file, in bytes.
const LARGEST: u64 = 1 << 20;

/// All agents.
#[derive(Debug)]
pub struct Agents {
    supervisor: Agent,
    query_writer: Agent,
    workers: Vec<Agent>,
    default_plan: Vec<Action>,
    /// The tasks of requests that name none, from a pipeline file.
    pipeline: Option<GivenTasks>,
    /// The template that shows earlier work in every prompt.
    material: String,
}

impl Agents {
    /// Reads and checks all agents. Every fault of an agent file is an error here, before any call is paid.
    pub fn load(settings: &AgentSettings) -> Result<Self, AgentError> {
        let mut sources: Vec<AgentFile> = EMBEDDED
            .iter()
            .map(|(file, text)| AgentFile {
                file: PathBuf::from(file),
                text: (*text).to_owned(),
                embedded: true,
            })
            .collect();
        let mut material = MATERIAL.to_owned();
        let mut banned = words(BANNED);
        if let Some(folder) = &settings.folder {
            let found = Folder::read(folder)?;
            merge(&mut sources, found.agents)?;
            material = found.material.unwrap_or(material);
            banned.extend(found.banned);
        }
        let read = |file: &PathBuf| {
            Ok(AgentFile {
                text: text_of(file)?,
                file: file.clone(),
                embedded: false,
            })
        };
        let files = settings
            .files
            .iter()
            .map(read)
            .collect::<Result<_, AgentError>>()?;
        merge(&mut sources, files)?;
        banned.extend(settings.banned_words.iter().cloned());
        Self::read(&sources, &material, &banned, settings)
    }

    fn read(
        sources: &[AgentFile],
        material: &str,
        banned: &[String],
        settings: &AgentSettings,
    ) -> Result<Self, AgentError> {
        let outlines: Vec<(String, String)> = sources
            .iter()
            .map(outline)
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .filter(|(action, _)| ![SUPERVISOR, QUERY_WRITER].contains(&action.as_str()))
            .collect();
        let actions: Vec<String> = outlines.iter().map(|(action, _)| action.clone()).collect();
        let around = Surroundings {
            material,
            actions: &actions,
            agents: &outlines,
            settings,
            banned,
        };
        let read = sources
            .iter()
            .map(|source| Agent::read(source, around))
            .collect::<Result<Vec<_>, _>>()?;
        let mut agents = read;
        let supervisor = taken(&mut agents, SUPERVISOR)?;
        let query_writer = taken(&mut agents, QUERY_WRITER)?;
        if let Some(settings) = &settings.asked {
            if let Some(other) = agents.iter().find(|agent| agent.action.as_str() == ASK) {
                return Err(told(
                    &other.file,
                    "`action` is `ask`, as the agent of `--ask` (rename one)",
                ));
            }
            agents.push(asked::agent(settings, around)?);
        }
        let pipeline = settings.pipeline.as_deref();
        let pipeline = pipeline
            .map(|file| pipeline::read(file, &mut agents))
            .transpose()?;
        one_agent_an_item(&agents)?;
        named_tasks_exist(&agents)?;
        Ok(Self {
            default_plan: default_plan(&agents, settings)?,
            pipeline,
            supervisor,
            query_writer,
            workers: agents,
            material: material.to_owned(),
        })
    }

    /// Returns the agent for an action.
    pub fn get(&self, action: &str) -> Option<&Agent> {
        self.workers.iter().find(|agent| agent.action.as_str() == action)
    }

    /// Returns the agent with this name, also one that no request can ask for.
    pub fn named(&self, action: &str) -> Option<&Agent> {
        match action {
            SUPERVISOR => Some(&self.supervisor),
            QUERY_WRITER => Some(&self.query_writer),
            action => self.get(action),
        }
    }

    /// Returns the supervisor.
    pub const fn supervisor(&self) -> &Agent {
        &self.supervisor
    }

    /// Returns the agent that writes search queries.
    pub const fn query_writer(&self) -> &Agent {
        &self.query_writer
    }

    /// Returns every agent that a request can ask for.
    pub fn all(&self) -> &[Agent] {
        &self.workers
    }

    /// Returns the actions for a request whose plan cannot be used.
    pub fn default_plan(&self) -> &[Action] {
        &self.default_plan
    }

    /// Returns the tasks of requests that name none, if a pipeline file gives them.
    pub const fn pipeline(&self) -> Option<&GivenTasks> {
        self.pipeline.as_ref()
    }

    /// Returns the names of all actions in backticks, for messages.
    pub fn known(&self) -> String {
        let names: Vec<String> = self
            .workers
            .iter()
            .map(|agent| format!("`{}`", agent.action.as_str()))
            .collect();
        names.join(", ")
    }

    /// Returns a digest of everything that makes prompts and checks answers: the agent files, the template of earlier work,
    /// item limits and rules.
    pub fn fingerprint(&self) -> String {
        let mut all = format!("{}\n", self.material);
        for agent in self.workers.iter().chain([&self.supervisor, &self.query_writer]) {
            all += &format!("{}\n{:?}\n{:?}\n", agent.source, agent.max_results, agent.rules);
        }
        Digest::of(all.as_bytes()).hex()
    }
}

/// The content of an agent folder.
struct Folder {
    agents: Vec<AgentFile>,
    material: Option<String>,
    banned: Vec<String>,
}

impl Folder {
    fn read(folder: &Path) -> Result<Self, AgentError> {
        let entries = std::fs::read_dir(folder).map_err(|error| {
            told(
                folder,
                &format!("the folder of `agents.folder` cannot be read: {error}"),
            )
        })?;
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        let mut found = Self {
            agents: Vec::new(),
            material: None,
            banned: Vec::new(),
        };
        for path in paths {
            match path.file_name().and_then(|name| name.to_str()) {
                Some("material.jinja") => found.material = Some(text_of(&path)?),
                Some("banned_words.txt") => found.banned = words(&text_of(&path)?),
                Some(name) if name.to_ascii_lowercase().ends_with(".toml") => found.agents.push(AgentFile {
                    text: text_of(&path)?,
                    file: path,
                    embedded: false,
                }),
                _ => {}
            }
        }
        Ok(found)
    }
}

fn text_of(path: &Path) -> Result<String, AgentError> {
    bounded_text(path).map_err(|reason| told(path, &reason))
}

/// Reads a file of a bounded size. `Err` has the reason.
pub(super) fn bounded_text(path: &Path) -> Result<String, String> {
    let data = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if data.len() > LARGEST {
        return Err(format!("it has {} bytes, at most {LARGEST} are read", data.len()));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

/// Merges the agents of a folder: each replaces the agent with the same action or is appended.
fn merge(sources: &mut Vec<AgentFile>, added: Vec<AgentFile>) -> Result<(), AgentError> {
    let mut known = BTreeMap::new();
    for (index, source) in sources.iter().enumerate() {
        known.insert(outline(source)?.0, (index, PathBuf::new()));
    }
    for source in added {
        let action = outline(&source)?.0;
        match known.get(&action) {
            Some((_, file)) if !file.as_os_str().is_empty() => {
                let reason = format!(
                    "`action` is `{action}`, as in `{}` (one file for each)",
                    file.display()
                );
                return Err(told(&source.file, &reason));
            }
            Some((index, _)) => {
                let index = *index;
                known.insert(action, (index, source.file.clone()));
                sources[index] = source;
            }
            None => {
                known.insert(action, (sources.len(), source.file.clone()));
                sources.push(source);
            }
        }
    }
    Ok(())
}

/// Takes the agent with this action, which needs a schema, out of the list.
fn taken(agents: &mut Vec<Agent>, action: &str) -> Result<Agent, AgentError> {
    let place = agents.iter().position(|agent| agent.action.as_str() == action);
    let place = place.ok_or_else(|| told(Path::new("agents"), &format!("there is no agent `{action}`")))?;
    let agent = agents.remove(place);
    if !matches!(agent.form, Form::Json(_)) {
        return Err(told(
            &agent.file,
            &format!("the agent `{action}` needs a `schema`"),
        ));
    }
    Ok(agent)
}

/// Checks that no two agents share an `item`, so that an item id identifies its agent.
fn one_agent_an_item(agents: &[Agent]) -> Result<(), AgentError> {
    for (index, agent) in agents.iter().enumerate() {
        if let Some(other) = agents[..index].iter().find(|other| other.item == agent.item) {
            let reason = format!("`item` is `{}`, as in `{}`", agent.item, other.file.display());
            return Err(told(&agent.file, &reason));
        }
    }
    Ok(())
}

/// Checks that templates name known tasks only.
fn named_tasks_exist(agents: &[Agent]) -> Result<(), AgentError> {
    for agent in agents {
        let is_known = |name: &str| agents.iter().any(|other| other.action.as_str() == name);
        if let Some(name) = agent.tasks.unknown(is_known) {
            let reason = format!("it names `tasks.{name}`, and there is no agent `{name}`");
            return Err(told(&agent.file, &reason));
        }
    }
    Ok(())
}

fn default_plan(agents: &[Agent], settings: &AgentSettings) -> Result<Vec<Action>, AgentError> {
    settings
        .default_plan
        .iter()
        .map(|name| {
            let agent = agents.iter().find(|agent| agent.action.as_str() == name);
            agent.map(|agent| agent.action.clone()).ok_or_else(|| {
                told(
                    Path::new("nova3.toml"),
                    &format!("`agents.default_plan` names `{name}`, for which there is no agent"),
                )
            })
        })
        .collect()
}

/// Reads one word a line. `#` starts a comment.
fn words(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn told(file: &Path, reason: &str) -> AgentError {
    AgentError::of_file(file, None, reason)
}
