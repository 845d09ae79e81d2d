//! The arguments of `usage`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::ReadFrom;

#[derive(Debug, Args)]
pub(in crate::cli) struct UsageArgs {
    /// Keys by which calls are grouped, separated by commas: day (UTC), user, run, session, agent, route, model, lane (the
    /// service tier that served) or cause (why an answer was not used)
    #[arg(long, value_name = "KEYS", default_value = "day,model", value_delimiter = ',')]
    pub(in crate::cli) by: Vec<String>,
    /// Form of the output
    #[arg(long, value_enum, default_value = "table")]
    pub(in crate::cli) format: UsageFormat,
    /// Count only calls of this run
    #[arg(long = "run", value_name = "NAME")]
    pub(in crate::cli) run: Option<String>,
    /// Count only calls for requests of this user
    #[arg(long, value_name = "USER")]
    pub(in crate::cli) user: Option<String>,
    /// Count only calls on this day (UTC) or later
    #[arg(long, value_name = "DAY")]
    pub(in crate::cli) since: Option<String>,
    /// Count only calls on this day (UTC) or earlier
    #[arg(long, value_name = "DAY")]
    pub(in crate::cli) until: Option<String>,
    /// Compare with a usage export of a provider, by day and model: JSON of OpenAI's usage or costs API, or a CSV
    #[arg(long, value_name = "FILE", conflicts_with_all = ["by", "since", "until", "user", "run"])]
    pub(in crate::cli) reconcile: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) from: ReadFrom,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum UsageFormat {
    /// A table with its total, the waste by cause, and calls without a price
    Table,
    /// A row for each group, for spreadsheets (RFC 4180)
    Csv,
    /// One JSON object
    Json,
}
