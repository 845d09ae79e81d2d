//! The arguments of commands that have metrics.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Clone, Default, Args)]
pub(in crate::cli) struct MetricsArgs {
    /// Serve metrics for Prometheus at this address, as `GET /metrics` (`127.0.0.1:9464`)
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "NOVA3_METRICS_ADDR",
        help_heading = "Metrics"
    )]
    pub(in crate::cli) metrics_addr: Option<String>,
    /// Write metrics to this file every 15 seconds and at the end, for a textfile collector
    #[arg(
        long,
        value_name = "FILE",
        env = "NOVA3_METRICS_FILE",
        help_heading = "Metrics"
    )]
    pub(in crate::cli) metrics_file: Option<PathBuf>,
}
