//! The displays of a run as other programs see them: the report in a browser.
//!
//! These tests need programs that not every machine has, and take longer. `scripts/test-observers` runs them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test cannot do, it fails with"
)]

mod browser;
mod report;
