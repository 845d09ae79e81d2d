//! Checks the repository against its own rules: documents, the floors of the source, the list of laws.
#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a check that cannot read the tree has to stop"
)]

mod docs;
mod floors;
mod mutants;
mod providers;
