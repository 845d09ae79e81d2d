//! Arguments of the commands about the program itself: settings, examples, explanations, completions, manual pages.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use super::ModelArgs;

#[derive(Debug, Args)]
pub(in crate::cli) struct ConfigArgs {
    #[command(flatten)]
    pub(in crate::cli) model: ModelArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct InitArgs {
    /// Folder to write the files to
    #[arg(value_name = "FOLDER", default_value = ".")]
    pub(in crate::cli) folder: PathBuf,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExplainArgs {
    /// The class or the code, such as `auth` or `106` [default: a list of all]
    #[arg(value_name = "NAME")]
    pub(in crate::cli) name: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CompletionsArgs {
    /// Shell that reads the script
    #[arg(value_enum)]
    pub(in crate::cli) shell: Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "Read a page with `nova3 man run | man -l -`.")]
pub(in crate::cli) struct ManArgs {
    /// The command whose page is printed, as in `run` or `session show` [default: nova3 itself]
    #[arg(value_name = "COMMAND", conflicts_with = "out")]
    pub(in crate::cli) command: Vec<String>,
    /// Write every page into this folder instead: nova3.1, nova3-run.1 and so on; pages that are there are replaced
    #[arg(long, value_name = "FOLDER")]
    pub(in crate::cli) out: Option<PathBuf>,
}
