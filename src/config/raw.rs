//! The form of a settings file. Every key is optional; an unknown key is an error.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// A settings file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfig {
    pub(super) run: RawRun,
    pub(super) input: RawInput,
    pub(super) timeouts: RawTimeouts,
    pub(super) retry: RawRetry,
    pub(super) breaker: RawBreaker,
    pub(super) http: RawHttp,
    pub(super) agents: RawAgents,
    pub(super) context: RawContext,
    pub(super) search: RawSearch,
    pub(super) prices: RawPrices,
    pub(super) metrics: RawMetrics,
    pub(super) routes: BTreeMap<String, RawRoute>,
    pub(super) chains: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRun {
    pub(super) concurrency: Option<usize>,
    pub(super) store: Option<PathBuf>,
    pub(super) grace: Option<String>,
    pub(super) lease: Option<String>,
    pub(super) wait_lock: Option<String>,
    pub(super) model: Option<String>,
    pub(super) give_up: Option<String>,
    pub(super) max_cost: Option<f64>,
    pub(super) max_failures: Option<String>,
    pub(super) on_task_failure: Option<String>,
    pub(super) max_queues: Option<usize>,
    pub(super) memory_limit: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawInput {
    pub(super) query: Option<String>,
    pub(super) id_column: Option<String>,
    pub(super) session_column: Option<String>,
    pub(super) encoding: Option<String>,
    pub(super) map: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTimeouts {
    pub(super) connect: Option<String>,
    pub(super) first_token: Option<String>,
    pub(super) idle: Option<String>,
    pub(super) total: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRetry {
    pub(super) retries: Option<u32>,
    pub(super) base: Option<String>,
    pub(super) longest: Option<String>,
    pub(super) patience: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawBreaker {
    pub(super) failures: Option<u32>,
    pub(super) open: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawHttp {
    pub(super) idle_connections: Option<usize>,
    pub(super) ca_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAgents {
    pub(super) folder: Option<PathBuf>,
    pub(super) enable_limits: Option<bool>,
    pub(super) max_results: Option<u32>,
    pub(super) max_results_of: BTreeMap<String, u32>,
    pub(super) default_plan: Option<Vec<String>>,
    pub(super) ai_label: Option<String>,
    pub(super) banned_words: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawContext {
    pub(super) rounds: Option<u32>,
    pub(super) round_tokens: Option<u64>,
    pub(super) search_tokens: Option<u64>,
    pub(super) background_tokens: Option<u64>,
    pub(super) earlier_tokens: Option<u64>,
    pub(super) reference_tokens: Option<u64>,
    pub(super) chosen_tokens: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSearch {
    pub(super) providers: Option<Vec<String>>,
    pub(super) folder: Option<PathBuf>,
    pub(super) results: Option<usize>,
    pub(super) timeout: Option<String>,
    pub(super) retries: Option<u32>,
    pub(super) fresh: Option<String>,
    pub(super) stale: Option<String>,
    pub(super) cache_mb: Option<usize>,
    pub(super) pages: Option<usize>,
    pub(super) reader: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPrices {
    pub(super) file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawMetrics {
    pub(super) addr: Option<String>,
    pub(super) file: Option<PathBuf>,
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRoute {
    pub(super) dialect: Option<String>,
    pub(super) base_url: Option<String>,
    pub(super) model: Option<String>,
    pub(super) key_header: Option<String>,
    pub(super) api_key_env: Option<String>,
    pub(super) api_key_file: Option<PathBuf>,
    pub(super) no_key: Option<bool>,
    pub(super) key_over_http: Option<bool>,
    pub(super) rpm: Option<u32>,
    pub(super) tpm: Option<u64>,
    pub(super) max_tokens: Option<u32>,
    pub(super) token_field: Option<String>,
    /// The former name of `token_field`. It is refused.
    pub(super) max_tokens_field: Option<String>,
    pub(super) stream: Option<bool>,
    pub(super) stream_usage: Option<bool>,
    pub(super) structured: Option<String>,
    pub(super) context_window: Option<u64>,
    pub(super) tokenizer: Option<PathBuf>,
    pub(super) input_usd_per_million: Option<f64>,
    pub(super) output_usd_per_million: Option<f64>,
    pub(super) cached_input_usd_per_million: Option<f64>,
    pub(super) cache_write_usd_per_million: Option<f64>,
    pub(super) price: Option<RawPrice>,
    pub(super) timeouts: RawTimeouts,
    pub(super) body: toml::Table,
    pub(super) headers: BTreeMap<String, toml::Value>,
}

/// The parts of a price besides its amounts.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPrice {
    pub(super) steps: Vec<RawStep>,
    pub(super) hours: Vec<RawHours>,
    pub(super) tiers: BTreeMap<String, f64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStep {
    pub(super) above_input_tokens: u64,
    pub(super) input_factor: f64,
    pub(super) output_factor: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHours {
    #[serde(default)]
    pub(super) days: Option<Vec<String>>,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) factor: f64,
}
