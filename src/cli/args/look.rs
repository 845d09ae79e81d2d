//! The command lines of what looks into a store.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Which run of which store.
#[derive(Debug, Args)]
pub(in crate::cli) struct Which {
    /// The run [default: the one used last]
    #[arg(value_name = "RUN")]
    pub(in crate::cli) run: Option<String>,
    /// The durable store [default: nova3.db]
    #[arg(long, value_name = "FILE", env = "NOVA3_STORE")]
    pub(in crate::cli) store: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct StatusArgs {
    #[command(flatten)]
    pub(in crate::cli) which: Which,
    /// One JSON object
    #[arg(long)]
    pub(in crate::cli) json: bool,
    /// Again every second until everything is finished
    #[arg(long)]
    pub(in crate::cli) watch: bool,
    /// The queue of this session instead
    #[arg(long, value_name = "SESSION", conflicts_with_all = ["watch", "run"])]
    pub(in crate::cli) session: Option<String>,
    /// The session's user
    #[arg(long, value_name = "USER", default_value = "default", requires = "session")]
    pub(in crate::cli) user: String,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ResultsArgs {
    #[command(flatten)]
    pub(in crate::cli) which: Which,
    /// Only of this status
    #[arg(long, value_enum)]
    pub(in crate::cli) status: Option<StatusFilter>,
    /// Only of these `custom_id`s, by comma
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) id: Vec<String>,
    /// In which order
    #[arg(long, value_enum, default_value = "completion")]
    pub(in crate::cli) order: ResultOrder,
    /// In which form
    #[arg(long, value_enum, default_value = "jsonl")]
    pub(in crate::cli) format: ResultFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum StatusFilter {
    Completed,
    Partial,
    Failed,
    Paused,
    Continued,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ResultOrder {
    Completion,
    Input,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ResultFormat {
    /// Result lines, as `run` writes them
    Jsonl,
    /// The texts alone
    Text,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RetryArgs {
    #[command(flatten)]
    pub(in crate::cli) which: Which,
    /// Only failures of these classes, by comma
    #[arg(long, value_name = "CLASS", value_delimiter = ',')]
    pub(in crate::cli) class: Vec<String>,
    /// Only these `custom_id`s, by comma
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) id: Vec<String>,
    /// How long to wait for a store in use
    #[arg(long, value_name = "TIME", env = "NOVA3_WAIT_LOCK")]
    pub(in crate::cli) wait_lock: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyArgs {
    #[command(flatten)]
    pub(in crate::cli) which: Which,
    /// The result file [default: every file of the run on this host]
    #[arg(short, long, value_name = "FILE")]
    pub(in crate::cli) output: Option<PathBuf>,
    /// Read the whole store first and check it (`PRAGMA integrity_check`; on PostgreSQL the sums of each run, pages are
    /// checked by the server's `amcheck`)
    #[arg(long)]
    pub(in crate::cli) store_check: bool,
}
