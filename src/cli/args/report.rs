//! The arguments of `report`.

use std::path::PathBuf;

use clap::Args;

use super::ReadFrom;

#[derive(Debug, Args)]
#[command(
    after_help = "The page needs no network and no other file. All figures are exact; the list of requests is a sample when the run is large."
)]
pub(in crate::cli) struct ReportArgs {
    /// File of the page; an earlier report there is replaced; `-`: standard output
    #[arg(short, long, value_name = "FILE", env = "NOVA3_REPORT")]
    pub(in crate::cli) output: Option<PathBuf>,
    /// Name of the run, unless two runs are compared [default: the run that was used last]
    #[arg(long, value_name = "NAME", env = "NOVA3_RUN")]
    pub(in crate::cli) run: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) from: ReadFrom,
    /// Leave out all texts of requests, answers, results, sources and messages; figures, ids and error classes remain
    #[arg(long)]
    pub(in crate::cli) no_text: bool,
    /// Show two runs of the store side by side, request by request
    #[arg(long, value_names = ["RUN_A", "RUN_B"], num_args = 2)]
    pub(in crate::cli) compare: Vec<String>,
}
