//! The arguments of `worker`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;

use super::{AskArgs, MetricsArgs, ModelArgs, ProgressMode};

#[derive(Debug, Args)]
pub(in crate::cli) struct WorkerArgs {
    /// The database that holds the runs: `postgres://user@host/database`
    #[arg(long, value_name = "URL", env = "NOVA3_STORE", help_heading = "Run")]
    pub(in crate::cli) store: Option<PathBuf>,
    /// Work only on this run [default: every run that has work, the oldest first]
    #[arg(long = "run", value_name = "NAME", env = "NOVA3_RUN", help_heading = "Run")]
    pub(in crate::cli) name: Option<String>,
    /// Exit when no work is left, instead of waiting for more
    #[arg(long, value_parser = FalseyValueParser::new(), env = "NOVA3_UNTIL_IDLE", help_heading = "Run")]
    pub(in crate::cli) until_idle: bool,
    /// Join runs although agents or limits differ from the stored ones; the stored limits apply
    #[arg(long, value_parser = FalseyValueParser::new(), env = "NOVA3_ACCEPT_DRIFT", help_heading = "Run")]
    pub(in crate::cli) accept_drift: bool,
    /// Time that calls have to finish after the first signal [default: 30s]
    #[arg(long, value_name = "TIME", env = "NOVA3_GRACE", help_heading = "Run")]
    pub(in crate::cli) grace: Option<String>,
    /// Time to wait at the start for a database that does not answer [default: 0s]
    #[arg(long, value_name = "TIME", env = "NOVA3_WAIT_LOCK", help_heading = "Run")]
    pub(in crate::cli) wait_lock: Option<String>,
    /// Stop when every route of a chain has been unusable for this long [default: 1h]
    #[arg(long, value_name = "TIME", env = "NOVA3_GIVE_UP", help_heading = "Run")]
    pub(in crate::cli) give_up: Option<String>,
    /// Memory limit of this process, instead of the container's or machine's limit (`2GB`)
    #[arg(long, value_name = "SIZE", env = "NOVA3_MEMORY_LIMIT", help_heading = "Run")]
    pub(in crate::cli) memory_limit: Option<String>,

    #[command(flatten)]
    pub(in crate::cli) ask: AskArgs,

    #[command(flatten)]
    pub(in crate::cli) model: ModelArgs,
    /// Rehearse: work on rehearsals, and send all calls to a mock server in this process
    #[arg(long, value_parser = FalseyValueParser::new(), env = "NOVA3_MOCK", help_heading = "Model")]
    pub(in crate::cli) mock: bool,
    #[command(flatten)]
    pub(in crate::cli) metrics: MetricsArgs,

    /// Progress display on stderr
    #[arg(long, value_enum, value_name = "HOW", env = "NOVA3_PROGRESS")]
    pub(in crate::cli) progress: Option<ProgressMode>,
}
