//! Ends the process with the exit code of the command line.

use std::process::ExitCode;

/// jemalloc gives the freed memory of a thousand streams back to the system; its settings are in `.cargo/config.toml`.
/// The system's allocator leaves that memory fragmented.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    ExitCode::from(nova3::cli::main().code())
}
