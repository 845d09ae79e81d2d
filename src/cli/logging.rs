//! Log lines on stderr, for `-v`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::args::{Global, LogFormat, When};
use crate::config::process_env;

/// Whether stderr gets colours: the flag, then `NO_COLOR`, then whether it is a terminal.
pub(super) fn colours(global: &Global) -> bool {
    match global.color {
        Some(When::Always) => true,
        Some(When::Never) => false,
        Some(When::Auto) | None => process_env("NO_COLOR").is_none() && std::io::stderr().is_terminal(),
    }
}

/// Starts logging. Only nova3's own events are shown: those of libraries could hold a request's headers.
pub(super) fn start(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "off",
        (false, 0) => "nova3=error",
        (false, 1) => "nova3=info",
        (false, 2) => "nova3=debug",
        (false, _) => "nova3=trace",
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(level))
        .with_writer(std::io::stderr)
        .with_ansi(colours(global))
        .with_target(false);
    // A second start in one process keeps the first.
    match global.log_format {
        Some(LogFormat::Json) => builder.json().try_init().unwrap_or_default(),
        Some(LogFormat::Text) | None => builder.try_init().unwrap_or_default(),
    }
}
