//! The command line of `mock`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(in crate::cli) struct MockArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(in crate::cli) listen: SocketAddr,
    /// Decides answers and faults
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(in crate::cli) seed: u64,
    /// Median time to the first token
    #[arg(long, value_name = "TIME", default_value = "0s")]
    pub(in crate::cli) latency: String,
    /// Time for each further token
    #[arg(long, value_name = "TIME", default_value = "0s")]
    pub(in crate::cli) token_latency: String,
    /// Share of calls that take up to ten times as long
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub(in crate::cli) tail: f64,
    /// Pieces of an answer; 0 for a natural length
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(in crate::cli) tokens: usize,
    /// A real limit of requests a minute
    #[arg(long, value_name = "N")]
    pub(in crate::cli) rpm: Option<u32>,
    /// A real limit of tokens a minute
    #[arg(long, value_name = "N")]
    pub(in crate::cli) tpm: Option<u64>,
    /// What a 429 asks for in `Retry-After`
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) retry_after: Option<String>,
    /// Refuse every other key than the one in this variable
    #[arg(long, value_name = "VARIABLE")]
    pub(in crate::cli) key_env: Option<String>,
    /// Write every call to this file
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) log: Option<PathBuf>,
    /// Faults as shares of calls, by comma: `429=0.03,500=0.05,disconnect=0.02,truncate=…,stall=…,garbage=…,error=…,529=…`
    #[arg(long, value_name = "LIST", default_value = "")]
    pub(in crate::cli) faults: String,
}
