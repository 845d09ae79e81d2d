//! What can be wrong with settings.

use std::fmt::Display;
use std::path::PathBuf;

/// A setting that cannot be used. All of them end the program with exit code 2 before anything is spent.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is missing or cannot be understood.
    #[error("settings file `{}`: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A value is not one of those that make sense.
    #[error("`{key}` is `{value}`: expected {expected}")]
    Value {
        /// The setting.
        key: String,
        /// What it was set to.
        value: String,
        /// What it may be.
        expected: String,
    },
    /// A setting that cannot be used where it stands.
    #[error("`{key}` cannot be used: {reason} ({cure})")]
    Refused {
        /// The setting.
        key: String,
        /// Why it cannot be used.
        reason: String,
        /// What to do.
        cure: String,
    },
    /// A setting that is needed is not there.
    #[error("`{key}` is missing ({cure})")]
    Missing {
        /// The setting.
        key: String,
        /// What to do.
        cure: String,
    },
    /// A route without a key.
    #[error("route `{route}` has no key ({cure})")]
    NoKey {
        /// The route.
        route: String,
        /// What to do.
        cure: String,
    },
    /// A key that others could read on its way.
    #[error("route `{route}` would send its key to `{host}` over plain http (use https; {cure})")]
    KeyInTheOpen {
        /// The route.
        route: String,
        /// Where it leads.
        host: String,
        /// What else to do.
        cure: String,
    },
}

impl ConfigError {
    /// A wrong value.
    pub fn value(key: impl Into<String>, value: impl Display, expected: impl Into<String>) -> Self {
        Self::Value {
            key: key.into(),
            value: value.to_string(),
            expected: expected.into(),
        }
    }

    /// A setting that cannot be used where it stands.
    pub fn refused(key: impl Into<String>, reason: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Refused {
            key: key.into(),
            reason: reason.into(),
            cure: cure.into(),
        }
    }
}
