//! Settings from the command line.

use std::path::PathBuf;

use super::Given;

/// Settings that flags or `NOVA3_…` variables set.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--store`.
    pub store: Option<Given<PathBuf>>,
    /// `--concurrency`.
    pub concurrency: Option<Given<usize>>,
    /// `--model`: the name of a route or chain, or a model for the only route.
    pub model: Option<Given<String>>,
    /// `--rpm`.
    pub rpm: Option<Given<u32>>,
    /// `--tpm`.
    pub tpm: Option<Given<u64>>,
    /// `--first-token-timeout`.
    pub first_token: Option<Given<String>>,
    /// `--idle-timeout`.
    pub idle: Option<Given<String>>,
    /// `--timeout`.
    pub total: Option<Given<String>>,
    /// `--query`: the template that makes the query of a row.
    pub query: Option<Given<String>>,
    /// `--map`: fields and the columns that they are taken from.
    pub map: Vec<Given<String>>,
    /// `--id-column`.
    pub id_column: Option<Given<String>>,
    /// `--session-column`.
    pub session_column: Option<Given<String>>,
    /// `--input-encoding`.
    pub encoding: Option<Given<String>>,
    /// `--grace`.
    pub grace: Option<Given<String>>,
    /// `--wait-lock`.
    pub wait_lock: Option<Given<String>>,
    /// `--max-cost`, in dollars.
    pub max_cost: Option<Given<f64>>,
    /// `--max-failures`.
    pub max_failures: Option<Given<String>>,
    /// `--on-task-failure`.
    pub on_task_failure: Option<Given<String>>,
    /// `--deadline`.
    pub deadline: Option<Given<String>>,
    /// `--give-up`.
    pub give_up: Option<Given<String>>,
    /// `--limit`.
    pub limit: Option<Given<u64>>,
    /// `--memory-limit`.
    pub memory_limit: Option<Given<String>>,
    /// `--metrics-addr`.
    pub metrics_addr: Option<Given<String>>,
    /// `--metrics-file`.
    pub metrics_file: Option<Given<PathBuf>>,
}
