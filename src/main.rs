//! The exit code, nothing else.

use std::process::ExitCode;

/// The system's allocator scatters what a thousand streams have freed; this one gives it back (`.cargo/config.toml`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    ExitCode::from(nova3::cli::main().code())
}
