//! The arguments of `redo`.

use clap::Args;

use super::RunArgs;

#[derive(Debug, Args)]
#[command(
    after_help = "The earlier result stays until the new one is settled. A redo that was interrupted goes on when the same command runs \
                  again.\nWithout INPUT the input and the result file of the run are used again. `retry` is for failed requests only."
)]
pub(in crate::cli) struct RedoArgs {
    /// Make the tasks with this action anew, and all tasks behind them
    #[arg(
        long,
        value_name = "ACTION",
        help_heading = "Choice",
        conflicts_with = "stale"
    )]
    pub(in crate::cli) from: Option<String>,
    /// Only requests with these `custom_id`s, separated by commas
    #[arg(long, value_name = "ID", help_heading = "Choice")]
    pub(in crate::cli) id: Vec<String>,
    /// Only requests with this `status`, `class`, `route`, `model`, `user`, `session` or `degraded`; can be repeated
    #[arg(long = "where", value_name = "KEY=VALUE", help_heading = "Choice")]
    pub(in crate::cli) filters: Vec<String>,
    /// Only tasks whose agent, model or context has changed, and all tasks behind them
    #[arg(long, help_heading = "Choice")]
    pub(in crate::cli) stale: bool,
    /// Do not ask before the calls; without a terminal nothing is asked
    #[arg(short, long, help_heading = "Choice")]
    pub(in crate::cli) yes: bool,

    #[command(flatten)]
    pub(in crate::cli) run: RunArgs,
}
