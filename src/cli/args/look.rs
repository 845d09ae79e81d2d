//! The arguments of `status`, `runs`, `results`, `retry` and `verify`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The store that a command only reads.
#[derive(Debug, Args)]
pub(in crate::cli) struct ReadFrom {
    /// The durable store [default: nova3.db]
    #[arg(long, value_name = "FILE", env = "NOVA3_STORE")]
    pub(in crate::cli) store: Option<PathBuf>,
    /// A replica of the store, such as a hot standby (`postgres://user@replica/database`), that is read in its place
    #[arg(long, value_name = "URL", env = "NOVA3_READ_STORE")]
    pub(in crate::cli) read_store: Option<PathBuf>,
}

/// A run, and the store that it is read from.
#[derive(Debug, Args)]
pub(in crate::cli) struct WhichToRead {
    /// Name of the run [default: the run that was used last]
    #[arg(value_name = "RUN")]
    pub(in crate::cli) run: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) from: ReadFrom,
}

/// A run, and the store that holds it.
#[derive(Debug, Args)]
pub(in crate::cli) struct Which {
    /// Name of the run [default: the run that was used last]
    #[arg(value_name = "RUN")]
    pub(in crate::cli) run: Option<String>,
    /// The durable store [default: nova3.db]
    #[arg(long, value_name = "FILE", env = "NOVA3_STORE")]
    pub(in crate::cli) store: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct StatusArgs {
    #[command(flatten)]
    pub(in crate::cli) which: WhichToRead,
    /// Print one JSON object
    #[arg(long)]
    pub(in crate::cli) json: bool,
    /// Print the status again every second until all requests are finished; on a terminal in place, cut to its window
    #[arg(long)]
    pub(in crate::cli) watch: bool,
    /// Show the queue of this session instead of a run
    #[arg(long, value_name = "SESSION", conflicts_with_all = ["watch", "run"])]
    pub(in crate::cli) session: Option<String>,
    /// User of the session
    #[arg(long, value_name = "USER", default_value = "default", requires = "session")]
    pub(in crate::cli) user: String,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ResultsArgs {
    #[command(flatten)]
    pub(in crate::cli) which: WhichToRead,
    /// Print only requests with this status
    #[arg(long, value_enum)]
    pub(in crate::cli) status: Option<StatusFilter>,
    /// Print only requests with these `custom_id`s, separated by commas
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) id: Vec<String>,
    /// Order of the results
    #[arg(long, value_enum, default_value = "completion")]
    pub(in crate::cli) order: ResultOrder,
    /// Format of the output [default: text on a terminal, otherwise jsonl]
    #[arg(long, value_enum)]
    pub(in crate::cli) format: Option<ResultFormat>,
    /// A row for each item instead of each request: for items of these types, separated by commas (`xhs_post,fact`), or
    /// without a value for the items of each output
    #[arg(long, value_name = "TYPE", num_args = 0..=1, value_delimiter = ',')]
    pub(in crate::cli) items: Option<Vec<String>>,
    /// Columns in this order, separated by commas: `title`, or a path into the result line (`tasks.0.route`,
    /// `metadata.sku`)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(in crate::cli) columns: Option<Vec<String>>,
    /// Begin with a UTF-8 byte order mark, so that Excel reads the characters right
    #[arg(long)]
    pub(in crate::cli) bom: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RunsArgs {
    /// The durable store [default: nova3.db]
    #[arg(long, value_name = "FILE", env = "NOVA3_STORE")]
    pub(in crate::cli) store: Option<PathBuf>,
    /// Print one JSON object for each run
    #[arg(long)]
    pub(in crate::cli) json: bool,
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
    /// Only the texts
    Text,
    /// A table for spreadsheets (RFC 4180)
    Csv,
    /// A table with a tab between two cells
    Tsv,
    /// A table in Markdown
    Md,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RetryArgs {
    #[command(flatten)]
    pub(in crate::cli) which: Which,
    /// Put back only failures of these error classes, separated by commas
    #[arg(long, value_name = "CLASS", value_delimiter = ',')]
    pub(in crate::cli) class: Vec<String>,
    /// Put back only requests with these `custom_id`s, separated by commas
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) id: Vec<String>,
    /// Time to wait for a store that is in use [default: 0s]
    #[arg(long, value_name = "TIME", env = "NOVA3_WAIT_LOCK")]
    pub(in crate::cli) wait_lock: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyArgs {
    #[command(flatten)]
    pub(in crate::cli) which: Which,
    /// Result file to check [default: all files that the run wrote on this host]
    #[arg(short, long, value_name = "FILE")]
    pub(in crate::cli) output: Option<PathBuf>,
    /// Check the whole store first: `PRAGMA integrity_check` on SQLite, the sums of each run on PostgreSQL (use the
    /// server's `amcheck` to check its pages)
    #[arg(long)]
    pub(in crate::cli) store_check: bool,
}
