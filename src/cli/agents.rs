//! `nova3 agents`.

use anyhow::Result;
use serde_json::{Value, json};

use super::args::{AgentsArgs, AgentsCommand, Global};
use super::exit::{Exit, decided};
use super::{agents_new, agents_test, print, setup};
use crate::agent::{Agent, Agents, Form, QUERY_WRITER, SUPERVISOR};
use crate::config::{Flags, agents_in_force, process_env};
use crate::domain::ids::shortened;
use crate::domain::printable::printable;

pub(super) fn main(args: &AgentsArgs, global: &Global) -> Result<Exit> {
    let flags = Flags {
        config: global.config.clone(),
        ..Flags::default()
    };
    if let AgentsCommand::Test(test) = &args.what {
        return agents_test::main(test, global);
    }
    let (settings, _) = agents_in_force(&flags, &process_env)?;
    let agents = setup::agents(&settings)?;
    let text = match &args.what {
        AgentsCommand::New { name } => return agents_new::main(name, settings.folder.as_deref(), &agents),
        AgentsCommand::Test(_) => String::new(),
        AgentsCommand::List { json: true } => lines(&agents),
        AgentsCommand::List { json: false } => list(&agents),
        AgentsCommand::Show { action } => {
            let agent = agents.named(action).ok_or_else(|| {
                let message = format!(
                    "there is no agent `{}` (known: {}, `{SUPERVISOR}`, `{QUERY_WRITER}`)",
                    shortened(action, 60),
                    agents.known()
                );
                decided(Exit::Nothing, message)
            })?;
            show(agent)
        }
    };
    print(text.as_bytes())?;
    Ok(Exit::Good)
}

fn all(agents: &Agents) -> impl Iterator<Item = &Agent> {
    agents
        .all()
        .iter()
        .chain([agents.supervisor(), agents.query_writer()])
}

fn list(agents: &Agents) -> String {
    let mut text = String::new();
    for agent in all(agents) {
        let file = if agent.embedded {
            String::new()
        } else {
            format!("  ({})", agent.file.display())
        };
        text += &format!(
            "{:<15}  {}{}\n",
            agent.action.as_str(),
            printable(&agent.description),
            printable(&file)
        );
    }
    text
}

fn lines(agents: &Agents) -> String {
    let mut text = String::new();
    for agent in all(agents) {
        text += &format!("{}\n", facts(agent));
    }
    text
}

fn facts(agent: &Agent) -> Value {
    json!({
        "action": agent.action.as_str(),
        "item": agent.item,
        "content_type": agent.content_type(),
        "description": agent.description,
        "max_tokens": agent.max_tokens,
        "max_results": agent.max_results,
        "search": agent.search,
        "model": agent.model,
        "file": agent.file,
        "embedded": agent.embedded,
    })
}

fn show(agent: &Agent) -> String {
    let schema = match &agent.form {
        Form::Text => "free text".to_owned(),
        Form::Json(schema) => serde_json::to_string_pretty(&schema.value).unwrap_or_default(),
    };
    let system = agent.shown_system();
    format!(
        "{}\n\n# system\n\n{}\n\n# answer\n\n{}\n\n# file: {}\n\n{}\n",
        facts(agent),
        printable(&system),
        printable(&schema),
        printable(&agent.file.display().to_string()),
        printable(agent.source.trim())
    )
}
