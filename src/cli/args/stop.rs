//! What ends a run before its work is done.

use clap::Args;

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Stop")]
pub(in crate::cli) struct StopArgs {
    /// Dollars that the run may cost, all its invocations together; every route needs a price
    #[arg(long, value_name = "USD", env = "NOVA3_MAX_COST")]
    pub(in crate::cli) max_cost: Option<f64>,
    /// Stop when so many requests have failed (`10`), or such a share of the finished ones (`5%`)
    #[arg(long, value_name = "N|P%", env = "NOVA3_MAX_FAILURES")]
    pub(in crate::cli) max_failures: Option<String>,
    /// What a request does behind a failed task: `fail`, or `continue` with the others and end as `partial` [default: fail]
    #[arg(long, value_name = "WHAT", env = "NOVA3_ON_TASK_FAILURE")]
    pub(in crate::cli) on_task_failure: Option<String>,
    /// Stop after this time (`30m`), or at this moment (`2026-11-25T06:00:00Z`)
    #[arg(long, value_name = "TIME", env = "NOVA3_DEADLINE")]
    pub(in crate::cli) deadline: Option<String>,
    /// Stop when every route of a chain is out of use for so long [default: 1h]
    #[arg(long, value_name = "TIME", env = "NOVA3_GIVE_UP")]
    pub(in crate::cli) give_up: Option<String>,
    /// Work on so many requests, then stop
    #[arg(long, value_name = "N", env = "NOVA3_LIMIT")]
    pub(in crate::cli) limit: Option<u64>,
    /// Memory to stay below, instead of the container's or machine's limit (`512MB`)
    #[arg(long, value_name = "SIZE", env = "NOVA3_MEMORY_LIMIT")]
    pub(in crate::cli) memory_limit: Option<String>,
}
