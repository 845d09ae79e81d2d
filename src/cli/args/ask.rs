//! The arguments that describe work without a file of settings.

use std::path::PathBuf;

use clap::Args;

/// Work that the command line describes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Own work")]
pub(in crate::cli) struct AskArgs {
    /// Prompt of each request, as a template: `Is {{ row.review }} positive?`; `@FILE` reads the template from a file
    #[arg(long, value_name = "TEMPLATE", env = "NOVA3_ASK")]
    pub(in crate::cli) ask: Option<String>,
    /// System message of `--ask`, as a template; `@FILE` reads the template from a file
    #[arg(long, value_name = "TEMPLATE", env = "NOVA3_SYSTEM")]
    pub(in crate::cli) system: Option<String>,
    /// JSON schema of the answer to `--ask`; without one the answer is text
    #[arg(long, value_name = "FILE", env = "NOVA3_SCHEMA")]
    pub(in crate::cli) schema: Option<PathBuf>,
    /// Agent file; a single one is the task of requests that name none. Can be given several times
    #[arg(long, value_name = "FILE", env = "NOVA3_AGENT")]
    pub(in crate::cli) agent: Vec<PathBuf>,
    /// Tasks of requests that name none, as a graph: a TOML file
    #[arg(long, value_name = "FILE", env = "NOVA3_PIPELINE")]
    pub(in crate::cli) pipeline: Option<PathBuf>,
}
