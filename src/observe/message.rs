//! Messages for people on stderr.
//!
//! A message is a `tracing` event with its own target, so that one place decides its form: a bare line, or, with
//! `--log-format json`, an object like every log line. A closed stderr is no error.

use crate::domain::printable::printable;

/// The target of messages, which are shown at every verbosity.
pub const MESSAGE: &str = "nova3::message";

/// Writes a line for people.
pub fn tell(line: &str) {
    tracing::info!(target: MESSAGE, "{}", printable(line));
}

/// Writes the error that ends the program, and the command that explains it: below the error, or as the field `more`.
pub fn tell_error(line: &str, more: &str) {
    tracing::error!(target: MESSAGE, more, "{}", printable(line));
}
