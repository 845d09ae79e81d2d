//! The command line of `search`.

use clap::Args;

#[derive(Debug, Args)]
pub(in crate::cli) struct SearchArgs {
    /// The words to search for
    #[arg(value_name = "QUERY")]
    pub(in crate::cli) query: String,
    /// Ask this provider only, instead of the chain in the settings
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) provider: Option<String>,
    /// The most results, 1 to 50 [default: `search.results` in the settings]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) limit: Option<usize>,
    /// Read the pages of the first N results, at most 5 [default: `search.pages` in the settings]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) pages: Option<usize>,
    /// Print the results and the attempts as one JSON object
    #[arg(long)]
    pub(in crate::cli) json: bool,
}
