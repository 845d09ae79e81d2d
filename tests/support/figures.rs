//! Rows for the table of `docs/reliability.md`, handed to the script through a file.

use std::io::Write;

/// Appends a row if the script collects rows.
#[expect(
    clippy::disallowed_methods,
    reason = "the parameters of a test are no settings of the program"
)]
pub(crate) fn row(what: &str, figure: &str, promised: &str) {
    let Ok(path) = std::env::var("NOVA3_FIGURES") else {
        return;
    };
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .expect("the figures can be written");
    writeln!(file, "| {what} | **{figure}** | {promised} |").expect("the figures can be written");
}
