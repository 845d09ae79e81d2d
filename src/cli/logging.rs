//! Log lines (with `-v`) and messages for people (always), both on stderr.
//!
//! With `--log-format json`, log lines, messages, errors and panics are JSON objects, one a line.

use std::fmt;
use std::io::IsTerminal;

use clap::ValueEnum;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{FilterFn, filter_fn};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt as lines, registry};

use super::args::{Global, LogFormat, When};
use super::exit::Exit;
use crate::config::process_env;
use crate::observe::{MESSAGE, tell_error};

/// The variable of `--log-format`.
const VARIABLE: &str = "NOVA3_LOG_FORMAT";

/// Whether stderr gets colours. The flag decides first, then `NO_COLOR`, then whether stderr is a terminal.
pub(super) fn colours(global: &Global) -> bool {
    match global.color {
        Some(When::Always) => true,
        Some(When::Never) => false,
        Some(When::Auto) | None => process_env("NO_COLOR").is_none() && std::io::stderr().is_terminal(),
    }
}

/// Starts logging. Only nova3's own events are shown, because those of libraries could hold a request's headers.
pub(super) fn start(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "off",
        (false, 0) => "nova3=error",
        (false, 1) => "nova3=info",
        (false, 2) => "nova3=debug",
        (false, _) => "nova3=trace",
    };
    begin(
        level,
        global.log_format.unwrap_or(LogFormat::Text),
        colours(global),
    );
}

/// Starts logging for a command line that could not be parsed. Returns the form that the command line asks for.
pub(super) fn start_unparsed() -> LogFormat {
    let arguments: Vec<String> = std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let asked = arguments.iter().enumerate().find_map(|(place, argument)| {
        let value = argument.strip_prefix("--log-format")?;
        match value.strip_prefix('=') {
            Some(value) => Some(value.to_owned()),
            None => arguments.get(place + 1).cloned(),
        }
    });
    let form = asked
        .or_else(|| process_env(VARIABLE))
        .and_then(|text| LogFormat::from_str(&text, false).ok())
        .unwrap_or(LogFormat::Text);
    begin("nova3=error", form, false);
    form
}

/// Two layers: log lines of the given level, and messages.
fn begin(level: &str, form: LogFormat, ansi: bool) {
    let is_message: FilterFn = filter_fn(|event| event.target() == MESSAGE);
    let is_log: FilterFn = filter_fn(|event| event.target() != MESSAGE);
    let layer = || {
        lines::layer()
            .with_writer(std::io::stderr)
            .with_ansi(ansi)
            .with_target(false)
            // A closed stderr is not an error.
            .log_internal_errors(false)
    };
    let filter = EnvFilter::new(level);
    // A second start in the same process changes nothing.
    match form {
        LogFormat::Json => {
            let logs = layer().json().with_filter(is_log).with_filter(filter).boxed();
            let messages = layer().json().with_filter(is_message).boxed();
            registry()
                .with(vec![logs, messages])
                .try_init()
                .unwrap_or_default();
            std::panic::set_hook(Box::new(|panic| {
                tell_error(&panic.to_string(), &Exit::Internal.page());
            }));
        }
        LogFormat::Text => {
            let logs = layer().with_filter(is_log).with_filter(filter).boxed();
            let messages = layer().event_format(Bare).with_filter(is_message).boxed();
            registry()
                .with(vec![logs, messages])
                .try_init()
                .unwrap_or_default();
        }
    }
}

/// A message without time and level.
struct Bare;

impl<S, N> FormatEvent<S, N> for Bare
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = MessageText {
            writer,
            written: Ok(()),
            more: None,
        };
        event.record(&mut line);
        line.written?;
        if let Some(more) = &line.more {
            write!(line.writer, "\nmore: {more}")?;
        }
        writeln!(line.writer)
    }
}

/// Writes the text of a message, and below it the command that explains an error.
struct MessageText<'a> {
    writer: Writer<'a>,
    written: fmt::Result,
    /// The command that explains an error.
    more: Option<String>,
}

impl Visit for MessageText<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.written = write!(self.writer, "{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "more" {
            self.more = Some(value.to_owned());
        } else {
            self.record_debug(field, &value);
        }
    }
}
