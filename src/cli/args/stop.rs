//! The flags that stop a run before its work is done.

use clap::Args;

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Stop")]
pub(in crate::cli) struct StopArgs {
    /// Cost cap of the run in dollars, over all its invocations; every route needs a price
    #[arg(long, value_name = "USD", env = "NOVA3_MAX_COST")]
    pub(in crate::cli) max_cost: Option<f64>,
    /// Stop when this many requests have failed (`10`), or this share of the finished ones (`5%`)
    #[arg(long, value_name = "N|P%", env = "NOVA3_MAX_FAILURES")]
    pub(in crate::cli) max_failures: Option<String>,
    /// After a failed task, `fail` the request, or `continue` with its other tasks and end it as `partial` [default: fail]
    #[arg(long, value_name = "fail|continue", env = "NOVA3_ON_TASK_FAILURE")]
    pub(in crate::cli) on_task_failure: Option<String>,
    /// Stop after this time (`30m`), or at this moment (`2026-11-25T06:00:00Z`)
    #[arg(long, value_name = "TIME", env = "NOVA3_DEADLINE")]
    pub(in crate::cli) deadline: Option<String>,
    /// Stop when every route of a chain has been unusable for this long [default: 1h]
    #[arg(long, value_name = "TIME", env = "NOVA3_GIVE_UP")]
    pub(in crate::cli) give_up: Option<String>,
    /// Work on this many requests, then stop
    #[arg(long, value_name = "N", env = "NOVA3_LIMIT")]
    pub(in crate::cli) limit: Option<u64>,
    /// Memory limit of this process, instead of the container's or machine's limit (`512MB`)
    #[arg(long, value_name = "SIZE", env = "NOVA3_MEMORY_LIMIT")]
    pub(in crate::cli) memory_limit: Option<String>,
}
