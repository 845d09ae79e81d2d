//! Work that the command line describes: a prompt, agent files, or a pipeline.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use super::args::AskArgs;
use super::exit::{Exit, decided};
use super::setup;
use crate::agent::{ASK, Agent, Agents, GivenTasks};
use crate::config::{AgentSettings, AskSettings};
use crate::domain::request::Action;

/// The most bytes of a file that a flag names.
const LARGEST: u64 = 1 << 20;

/// The agents of a command, and the tasks of requests that name none.
#[derive(Debug)]
pub(super) struct OwnWork {
    pub(super) agents: Arc<Agents>,
    pub(super) tasks: Option<GivenTasks>,
    /// The flag that gives the tasks.
    pub(super) flag: &'static str,
}

/// Loads the agents with those of the command line. `tasks` is `--tasks`.
pub(super) fn load(args: &AskArgs, tasks: Option<&str>, settings: &AgentSettings) -> Result<OwnWork> {
    let chain = tasks.map(GivenTasks::chain).transpose();
    let chain = chain
        .map_err(|reason| usage(format!("`--tasks`: {reason}")))?
        .flatten();
    let asked = asked(args)?;
    one_source([
        ("--ask", "NOVA3_ASK", asked.is_some()),
        ("--pipeline", "NOVA3_PIPELINE", args.pipeline.is_some()),
        ("--tasks", "NOVA3_TASKS", chain.is_some()),
    ])?;
    let is_asked = asked.is_some();
    let agents = setup::agents(&AgentSettings {
        files: args.agent.clone(),
        pipeline: args.pipeline.clone(),
        asked,
        ..settings.clone()
    })?;
    let (tasks, flag) = match (chain, agents.pipeline(), args.agent.as_slice()) {
        (Some(chain), _, _) => (Some(chain), "--tasks"),
        (None, Some(graph), _) => (Some(graph.clone()), "--pipeline"),
        (None, None, _) if is_asked => (Action::parse(ASK).map(GivenTasks::one), "--ask"),
        (None, None, [file]) => (Some(GivenTasks::one(action_of(&agents, file)?)), "--agent"),
        (None, None, _) => (None, "--tasks"),
    };
    Ok(OwnWork { agents, tasks, flag })
}

/// Refuses two flags that both give the tasks.
fn one_source(flags: [(&str, &str, bool); 3]) -> Result<()> {
    let given: Vec<_> = flags.into_iter().filter(|(_, _, is_given)| *is_given).collect();
    match given.as_slice() {
        [(flag, variable, _), (other, its_variable, _), ..] => Err(usage(format!(
            "`{flag}` and `{other}` both give the tasks of a request (leave one out; `{variable}` and `{its_variable}` count \
             too)"
        ))),
        _ => Ok(()),
    }
}

impl OwnWork {
    /// The agents of the tasks, if the tasks are known.
    pub(super) fn of_tasks(&self) -> Option<Vec<&Agent>> {
        let actions = self.tasks.as_ref()?.actions();
        actions.map(|action| self.agents.get(action.as_str())).collect()
    }

    /// Whether a task is done by an agent that is not built in. Lines of JSON are rows of a table then.
    pub(super) fn is_own(&self) -> bool {
        let of_tasks = self.of_tasks().unwrap_or_default();
        of_tasks.iter().any(|agent| !agent.embedded)
    }

    /// Whether no task needs a query.
    pub(super) fn is_without_query(&self) -> bool {
        let of_tasks = self.of_tasks();
        of_tasks.is_some_and(|agents| !agents.iter().any(|agent| agent.reads_query))
    }
}

fn asked(args: &AskArgs) -> Result<Option<AskSettings>> {
    let Some(ask) = &args.ask else {
        let alone = [
            ("--system", args.system.is_some()),
            ("--schema", args.schema.is_some()),
        ];
        return match alone.iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) => Err(usage(format!(
                "`{flag}` belongs to `--ask`, which is not given (add `--ask`, or leave `{flag}` out)"
            ))),
            None => Ok(None),
        };
    };
    let schema = args.schema.as_ref().map(|file| {
        let text = read("--schema", file)?;
        Ok::<_, anyhow::Error>((file.clone(), text))
    });
    let system = args.system.as_ref();
    Ok(Some(AskSettings {
        ask: template("--ask", ask)?,
        system: system.map(|text| template("--system", text)).transpose()?,
        schema: schema.transpose()?,
    }))
}

/// The template of a flag. `@FILE` is the text of a file, and `@@` stands for a text that begins with `@`.
fn template(flag: &str, given: &str) -> Result<String> {
    match given.strip_prefix('@') {
        None => Ok(given.to_owned()),
        Some(text) if text.starts_with('@') => Ok(text.to_owned()),
        Some(file) => read(flag, Path::new(file)),
    }
}

fn read(flag: &str, file: &Path) -> Result<String> {
    let problem = |reason: String| usage(format!("`{flag}`: file `{}`: {reason}", file.display()));
    let data = std::fs::metadata(file).map_err(|error| problem(error.to_string()))?;
    if data.len() > LARGEST {
        return Err(problem(format!(
            "expected at most {LARGEST} bytes, got {}",
            data.len()
        )));
    }
    std::fs::read_to_string(file).map_err(|error| problem(error.to_string()))
}

/// The action of an agent file. The supervisor and the writer of queries do no task of a request.
fn action_of(agents: &Agents, file: &Path) -> Result<Action> {
    let agent = agents.all().iter().find(|agent| agent.file == file);
    agent.map(|agent| agent.action.clone()).ok_or_else(|| {
        usage(format!(
            "`--agent`: the agent of `{}` does no task of a request",
            file.display()
        ))
    })
}

fn usage(message: String) -> anyhow::Error {
    decided(Exit::Usage, message)
}
