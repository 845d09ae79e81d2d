//! Exit codes. Cron jobs and scripts depend on these numbers.

use crate::config::ConfigError;
use crate::engine::{InputError, RunError};
use crate::report::ColumnError;
use crate::store::StoreError;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Every request of this input is good.
    Good,
    /// A fault of nova3 or of the machine.
    Internal,
    /// Bad flags or settings.
    Usage,
    /// Bad input.
    BadInput,
    /// Nothing was selected.
    Nothing,
    /// Finished, and at least one request of this input failed.
    Failed,
    /// Stopped on purpose with work left.
    Stopped,
    /// Stopped because too many requests failed.
    Failures,
    /// Stopped below the cost cap.
    Budget,
    /// Stopped at the deadline.
    Deadline,
    /// No route is usable.
    NoRoute,
    /// The store holds something else.
    OtherRun,
    /// The store is in use.
    InUse,
    /// The output could not be written.
    Output,
    /// Ended by a signal of that number.
    Signal(i32),
}

impl Exit {
    /// Every way to end, in the order of the codes. Signals are shown by Ctrl-C and SIGTERM.
    pub const ALL: [Self; 16] = [
        Self::Good,
        Self::Internal,
        Self::Usage,
        Self::BadInput,
        Self::Nothing,
        Self::Failed,
        Self::Stopped,
        Self::Failures,
        Self::Budget,
        Self::Deadline,
        Self::NoRoute,
        Self::OtherRun,
        Self::InUse,
        Self::Output,
        Self::Signal(2),
        Self::Signal(15),
    ];

    /// The meaning of the code, for the manual page and the reference.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Good => "every request of this input is good",
            Self::Internal => "a fault of nova3, or of the machine under it",
            Self::Usage => "bad flags or settings",
            Self::BadInput => "bad input (`check`, `--strict`), or input that cannot be read",
            Self::Nothing => {
                "nothing selected: an empty or vanished input (the results stay as they are), no such run"
            }
            Self::Failed => "finished, or stopped as with 101; at least one request of this input failed",
            Self::Stopped => "stopped on purpose with work left: `--limit`, or a reader that closed its pipe",
            Self::Failures => "stopped by `--max-failures`",
            Self::Budget => "stopped below its cost cap (`--max-cost`)",
            Self::Deadline => "stopped at its `--deadline`",
            Self::NoRoute => {
                "no usable route: all are dead, or all are out of use for longer than `--give-up`"
            }
            Self::OtherRun => {
                "the store holds something else under this name, or is no store of this version; a line changed under \
                 `--frozen`"
            }
            Self::InUse => "the store is in use (`--wait-lock` waits)",
            Self::Output => {
                "the output could not be written, the result file holds something else, or the database lost what it had \
                 confirmed"
            }
            Self::Signal(2) => "stopped by Ctrl-C (SIGINT); the same command resumes",
            Self::Signal(15) => "stopped by SIGTERM; the same command resumes",
            Self::Signal(_) => "stopped by a signal; the same command resumes",
        }
    }

    /// The command that explains the code.
    pub fn page(self) -> String {
        format!("nova3 explain {}", self.code())
    }

    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Internal => 1,
            Self::Usage => 2,
            Self::BadInput => 3,
            Self::Nothing => 4,
            Self::Failed => 100,
            Self::Stopped => 101,
            Self::Failures => 102,
            Self::Budget => 103,
            Self::Deadline => 104,
            Self::NoRoute => 105,
            Self::OtherRun => 106,
            Self::InUse => 107,
            Self::Output => 110,
            Self::Signal(number) => u8::try_from(128 + number).unwrap_or(u8::MAX),
        }
    }
}

/// A failure with the exit code that its origin chose.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Decided {
    pub(super) exit: Exit,
    pub(super) message: String,
}

/// An error that ends the program with `exit`.
pub(super) fn decided(exit: Exit, message: impl Into<String>) -> anyhow::Error {
    Decided {
        exit,
        message: message.into(),
    }
    .into()
}

/// The exit code of an error, by the first of its causes that has one.
pub(super) fn exit_of(error: &anyhow::Error) -> Exit {
    error.chain().find_map(of_cause).unwrap_or(Exit::Internal)
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(decided) = cause.downcast_ref::<Decided>() {
        return Some(decided.exit);
    }
    if cause.is::<ConfigError>() || cause.is::<ColumnError>() {
        return Some(Exit::Usage);
    }
    if let Some(error) = cause.downcast_ref::<InputError>() {
        return Some(of_input(error));
    }
    if let Some(error) = cause.downcast_ref::<StoreError>() {
        return Some(of_store(error));
    }
    match cause.downcast_ref::<RunError>()? {
        RunError::Store(error) => Some(of_store(error)),
        RunError::Sink(_) | RunError::Stdout { .. } => Some(Exit::Output),
        RunError::Input(error) => Some(of_input(error)),
        RunError::Interrupted { signal }
        | RunError::OutOfReach {
            signal: Some(signal), ..
        } => Some(Exit::Signal(*signal)),
        RunError::Broken { .. } | RunError::NoTask { .. } | RunError::OutOfReach { .. } => {
            Some(Exit::Internal)
        }
    }
}

const fn of_input(error: &InputError) -> Exit {
    if error.is_of_columns {
        Exit::Usage
    } else {
        Exit::BadInput
    }
}

const fn of_store(error: &StoreError) -> Exit {
    match error {
        StoreError::InUse { .. } => Exit::InUse,
        StoreError::NotAStore { .. }
        | StoreError::ForeignFile { .. }
        | StoreError::Newer { .. }
        | StoreError::Older { .. }
        | StoreError::OtherInput { .. }
        | StoreError::Rehearsal { .. }
        | StoreError::ConfigMismatch { .. }
        | StoreError::Frozen { .. } => Exit::OtherRun,
        StoreError::WentBack { .. } => Exit::Output,
        StoreError::Io { .. }
        | StoreError::Slow { .. }
        | StoreError::Displaced { .. }
        | StoreError::Row { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Closed => Exit::Internal,
    }
}
