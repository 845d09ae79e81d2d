//! The programs that observe nova3: the files for them in `deploy/`, a real Prometheus, and the report in a browser.
//!
//! Tests with a real program are ignored by default. `scripts/test-observers` runs them, one section for each program.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test cannot do, it fails with"
)]

mod browser;
mod expressions;
mod files;
mod prometheus;
mod report;
