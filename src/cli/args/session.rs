//! The arguments of `agents` and `session`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
pub(in crate::cli) struct AgentsArgs {
    #[command(subcommand)]
    pub(in crate::cli) what: AgentsCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AgentsCommand {
    /// List the agents
    List {
        /// Print one JSON object for each agent
        #[arg(long)]
        json: bool,
    },
    /// Show the prompts, schema and limits of one agent
    Show {
        /// Action of the agent, or `supervisor` or `search_queries`
        #[arg(value_name = "ACTION")]
        action: String,
    },
    /// Write a commented file for a new agent, into `agents.folder` or the present folder
    New {
        /// Its name, such as `score`
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Send one text to an agent, and show the prompt, the answer and the verdict; nothing is stored
    Test(AgentTestArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AgentTestArgs {
    /// The agent's file
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,
    /// The query of the request
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) input: String,
    /// Ask a mock server in this process: no key, no cost
    #[arg(long)]
    pub(in crate::cli) mock: bool,
    /// A route or chain of the settings, or a model for the only route; `model` of the agent's file beats it
    #[arg(short, long, value_name = "NAME", env = "NOVA3_MODEL")]
    pub(in crate::cli) model: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SessionArgs {
    #[command(subcommand)]
    pub(in crate::cli) what: SessionCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum SessionCommand {
    /// List the sessions of a store, the most recently used first
    List {
        /// The durable store [default: nova3.db]
        #[arg(long, value_name = "FILE", env = "NOVA3_STORE")]
        store: Option<PathBuf>,
        /// Print one JSON object for each session
        #[arg(long)]
        json: bool,
    },
    /// Show the queue, rounds and items of a session
    Show {
        #[command(flatten)]
        which: WhichSession,
        /// Show only what this item rests on, down to its sources; else the items that hold these words
        #[arg(long, value_name = "ID|TEXT")]
        trace: Option<String>,
        /// Print one JSON object; with `--trace` one for each item
        #[arg(long)]
        json: bool,
    },
    /// Print the items of a session, for use elsewhere
    Export {
        #[command(flatten)]
        which: WhichSession,
        /// Format of the output
        #[arg(long, value_enum, default_value = "text")]
        format: ExportFormat,
        /// Print only these items, separated by commas (`insight1,xhs_post2`)
        #[arg(long, value_name = "IDS", value_delimiter = ',')]
        items: Vec<String>,
    },
    /// Delete the history, items and pending tasks of a session; results stay, and item numbers do not start again at 1
    Clear {
        #[command(flatten)]
        which: WhichSession,
        /// Time to wait for a store that is in use [default: 0s]
        #[arg(long, value_name = "TIME", env = "NOVA3_WAIT_LOCK")]
        wait_lock: Option<String>,
    },
}

/// A session, and the store that holds it.
#[derive(Debug, Args)]
pub(in crate::cli) struct WhichSession {
    /// Id of the session
    #[arg(value_name = "SESSION")]
    pub(in crate::cli) session: String,
    /// User of the session
    #[arg(long, value_name = "USER", default_value = "default")]
    pub(in crate::cli) user: String,
    /// The durable store [default: nova3.db]
    #[arg(long, value_name = "FILE", env = "NOVA3_STORE")]
    pub(in crate::cli) store: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ExportFormat {
    /// The texts, each under its id
    Text,
    /// One JSON array
    Json,
    /// One row for each item
    Csv,
}
