//! Error chain and exit code, nothing else.

use std::io::Write;
use std::process::ExitCode;

use nova3::domain::printable::printable;

/// The system's allocator scatters what a thousand streams have freed; this one gives it back (`.cargo/config.toml`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let exit = nova3::cli::main().unwrap_or_else(|error| {
        // With stderr closed there is nobody to tell; the exit code still says it.
        let message = printable(&format!("nova3: {error:#}"));
        writeln!(std::io::stderr().lock(), "{message}").unwrap_or_default();
        nova3::cli::exit_of(&error)
    });
    ExitCode::from(exit.code())
}
