//! The programs that observe nova3: the files for them in `deploy/`, and these programs themselves.
//!
//! Tests with a real program are ignored by default. `scripts/test-observers` runs them, one section for each program.
#![expect(clippy::unwrap_used, reason = "what a test cannot do, it fails with")]

mod expressions;
mod files;
mod prometheus;
