//! Errors of settings.

use std::fmt::Display;
use std::path::PathBuf;

/// A setting that cannot be used. Each error ends the program with exit code 2 before the first call.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is missing or is not valid.
    #[error("settings file `{}`: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error.
        reason: String,
    },
    /// A value is not allowed.
    #[error("`{key}` is `{value}`: expected {expected}")]
    Value {
        /// The setting.
        key: String,
        /// Its value.
        value: String,
        /// The allowed values.
        expected: String,
    },
    /// A setting that is not allowed in this place.
    #[error("`{key}` cannot be used: {reason} ({cure})")]
    Refused {
        /// The setting.
        key: String,
        /// Why it cannot be used.
        reason: String,
        /// How to correct it.
        cure: String,
    },
    /// A required setting is missing.
    #[error("`{key}` is missing ({cure})")]
    Missing {
        /// The setting.
        key: String,
        /// How to correct it.
        cure: String,
    },
    /// A route needs a key and has none.
    #[error("route `{route}` has no key ({cure})")]
    NoKey {
        /// The route.
        route: String,
        /// How to give it one.
        cure: String,
    },
    /// A key would be sent to another host without encryption.
    #[error("route `{route}` would send its key to `{host}` over plain http (use https; {cure})")]
    KeyInTheOpen {
        /// The route.
        route: String,
        /// The host of the route.
        host: String,
        /// The alternative to https.
        cure: String,
    },
}

impl ConfigError {
    /// Returns the error of a value that is not allowed.
    pub fn value(key: impl Into<String>, value: impl Display, expected: impl Into<String>) -> Self {
        Self::Value {
            key: key.into(),
            value: value.to_string(),
            expected: expected.into(),
        }
    }

    /// Returns the error of a setting that is not allowed in this place.
    pub fn refused(key: impl Into<String>, reason: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Refused {
            key: key.into(),
            reason: reason.into(),
            cure: cure.into(),
        }
    }
}
