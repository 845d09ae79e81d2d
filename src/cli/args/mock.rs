//! The arguments of `mock`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(in crate::cli) struct MockArgs {
    /// Address to listen on; port 0 means any free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(in crate::cli) listen: SocketAddr,
    /// Seed of answers and faults
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
    /// Tokens of an answer; 0 means a natural length
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(in crate::cli) tokens: usize,
    /// Limit of requests a minute; a call above it gets a 429
    #[arg(long, value_name = "N")]
    pub(in crate::cli) rpm: Option<u32>,
    /// Limit of tokens a minute; a call above it gets a 429
    #[arg(long, value_name = "N")]
    pub(in crate::cli) tpm: Option<u64>,
    /// Value of `Retry-After` in each 429
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) retry_after: Option<String>,
    /// Accept only the key in this environment variable
    #[arg(long, value_name = "VARIABLE")]
    pub(in crate::cli) key_env: Option<String>,
    /// Write every call to this file
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) log: Option<PathBuf>,
    /// Share of calls that get each fault, separated by commas: `429=0.03,500=0.05,disconnect=0.02,truncate=…,stall=…,garbage=…,error=…,529=…`
    #[arg(long, value_name = "LIST", default_value = "")]
    pub(in crate::cli) faults: String,
}
