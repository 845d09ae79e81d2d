//! The command lines of `agents` and `session`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
pub(in crate::cli) struct AgentsArgs {
    #[command(subcommand)]
    pub(in crate::cli) what: AgentsCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AgentsCommand {
    /// What agents there are
    List {
        /// One JSON object for each agent
        #[arg(long)]
        json: bool,
    },
    /// The prompts, schema and limits of one agent
    Show {
        /// Its action, or `supervisor`
        #[arg(value_name = "ACTION")]
        action: String,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SessionArgs {
    #[command(subcommand)]
    pub(in crate::cli) what: SessionCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum SessionCommand {
    /// The sessions of a store, the one used last first
    List {
        /// The durable store [default: nova3.db]
        #[arg(long, value_name = "FILE", env = "NOVA3_STORE")]
        store: Option<PathBuf>,
        /// One JSON object for each session
        #[arg(long)]
        json: bool,
    },
    /// Its queue, rounds and items
    Show {
        #[command(flatten)]
        which: WhichSession,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Its items, for use elsewhere
    Export {
        #[command(flatten)]
        which: WhichSession,
        /// In which form
        #[arg(long, value_enum, default_value = "text")]
        format: ExportFormat,
        /// Only these items, by comma (`insight1,xhs_post2`)
        #[arg(long, value_name = "IDS", value_delimiter = ',')]
        items: Vec<String>,
    },
    /// Forget its history, items and pending tasks; results stay, and numbers go on where they were
    Clear {
        #[command(flatten)]
        which: WhichSession,
        /// How long to wait for a store in use
        #[arg(long, value_name = "TIME", env = "NOVA3_WAIT_LOCK")]
        wait_lock: Option<String>,
    },
}

/// Which session of which store.
#[derive(Debug, Args)]
pub(in crate::cli) struct WhichSession {
    /// The session
    #[arg(value_name = "SESSION")]
    pub(in crate::cli) session: String,
    /// Its user
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
