//! `nova3 agents test`: sends one text to one agent, and shows the prompt, the answer and the verdict.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::args::{AgentTestArgs, Global};
use super::exit::{Exit, decided};
use super::{print, rehearsal, setup};
use crate::agent::{self, Agent, AgentContext, Prompt, TaskEnd, TaskInput, TaskOutcome};
use crate::config::{Config, Flags, Given, Source};
use crate::domain::outcome::Product;
use crate::domain::printable::{counted, printable};
use crate::domain::request::{Brief, Rules, Work, read_line};
use crate::llm::{Client, Stop};
use crate::observe::tell;
use crate::store::Material;

pub(super) fn main(args: &AgentTestArgs, global: &Global) -> Result<Exit> {
    let flags = Flags {
        config: global.config.clone(),
        model: args.model.clone().map(|value| Given {
            value,
            source: Source::Flag("--model"),
        }),
        ..Flags::default()
    };
    super::runtime()?.block_on(test(args, &flags, global))
}

async fn test(args: &AgentTestArgs, flags: &Flags, global: &Global) -> Result<Exit> {
    let (mock, mut config) = rehearsal::settings(args.mock, flags).await?;
    config.agents.files = vec![args.file.clone()];
    let agents = setup::agents(&config.agents)?;
    let agent = of_file(agents.all(), &args.file)?;
    let brief = brief(args, agent)?;
    let tested = ask(&config, agent, &brief, args, global).await;
    if let Some(mock) = mock {
        mock.stop().await;
    }
    tested
}

/// The agent that the file describes. The supervisor and the writer of queries do no task of a request.
fn of_file<'a>(agents: &'a [Agent], file: &Path) -> Result<&'a Agent> {
    agents.iter().find(|agent| agent.file == file).ok_or_else(|| {
        let message = format!(
            "agent file `{}`: this agent does no task of a request",
            file.display()
        );
        decided(Exit::Usage, message)
    })
}

/// The request that a line with this query and this task makes.
fn brief(args: &AgentTestArgs, agent: &Agent) -> Result<Box<Brief>> {
    let line = json!({"query": args.input, "tasks": [agent.action.as_str()]}).to_string();
    let known = read_line(line.as_bytes(), Rules::default())
        .map_err(|error| decided(Exit::Usage, format!("`--input`: {error}")))?;
    match known.request.work {
        Work::Brief(brief) => Ok(brief),
        Work::Completion(_) => Err(decided(Exit::Internal, "a query was read as a Batch line")),
    }
}

async fn ask(
    config: &Config,
    agent: &Agent,
    brief: &Brief,
    args: &AgentTestArgs,
    global: &Global,
) -> Result<Exit> {
    let client = Client::new(config).context("failed to set up the client")?;
    let wanted = agent.model.as_deref();
    let chain = client.chain(wanted).ok_or_else(|| {
        let message = format!(
            "agent file `{}`: its `model` `{}` is no route or chain",
            agent.file.display(),
            wanted.unwrap_or_default()
        );
        decided(Exit::Usage, message)
    })?;
    let (material, stop) = (Material::default(), Stop::default());
    let task = TaskInput {
        brief,
        input: &args.input,
        metadata: None,
        material: &material,
        search: None,
        part: None,
    };
    let prompt = agent::prompt(agent, chain.first(), &config.context, task)
        .map_err(|failure| decided(Exit::BadInput, failure.message))?;
    print(shown(&prompt).as_bytes())?;
    let context = AgentContext {
        client: &client,
        chain,
        budget: &config.context,
        stop: &stop,
        reservation: None,
        marks: None,
        events: None,
    };
    let outcome = agent::run_agent(context, agent, task).await;
    if agent.search.is_some() && !global.quiet {
        tell("the search of the agent was left out (try it with `nova3 search`)");
    }
    verdict(&outcome, global)
}

fn shown(prompt: &Prompt) -> String {
    let mut text = String::new();
    for message in &prompt.messages {
        let role = message.role.name();
        text += &format!("=== {role} ===\n{}\n\n", printable(&message.content));
    }
    text + "=== answer ===\n"
}

/// Prints the items or the failure, and what the calls cost.
fn verdict(outcome: &TaskOutcome, global: &Global) -> Result<Exit> {
    let making = &outcome.making;
    let exit = match &outcome.end {
        TaskEnd::Completed(Product::Items(items)) => {
            let items: Vec<Value> = items
                .iter()
                .map(|item| Value::Object(item.body.clone()))
                .collect();
            let text = serde_json::to_string_pretty(&items).context("failed to write JSON")?;
            print(format!("{}\n", printable(&text)).as_bytes())?;
            Exit::Good
        }
        TaskEnd::Completed(_) => return Err(decided(Exit::Internal, "the agent gave no items")),
        TaskEnd::Failed(failure, _) => {
            tell(&format!(
                "failed ({}): {}",
                failure.class.as_str(),
                failure.message
            ));
            Exit::Failed
        }
        TaskEnd::Interrupted(_) => Exit::Stopped,
    };
    if global.quiet {
        return Ok(exit);
    }
    for warning in &making.warnings {
        tell(&format!("warning: {warning}"));
    }
    let calls = outcome.attempts.len() as u64;
    let repaired = if exit == Exit::Good && calls > 1 {
        ", the first answer was not good enough"
    } else {
        ""
    };
    let cost = making.cost.map_or_else(
        || "no price configured".to_owned(),
        |cost| format!("${:.4}", cost.plus(making.wasted).usd()),
    );
    tell(&format!(
        "{}{repaired}; {} tokens in, {} out; route `{}`, model `{}`; {cost}",
        counted(calls, "call"),
        making.usage.input_tokens,
        making.usage.output_tokens,
        making.route,
        making.model
    ));
    Ok(exit)
}
