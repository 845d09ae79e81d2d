//! The sources of settings, in their order of precedence, and the list that `nova3 config` prints.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::ConfigError;

/// The source of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The command line.
    Flag(&'static str),
    /// The environment.
    Env(String),
    /// The settings file.
    File(PathBuf),
    /// The built-in default.
    Default,
    /// A table of prices, with the page that the price was taken from.
    Prices(String),
}

impl Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
            Self::Prices(table) => f.write_str(table),
        }
    }
}

/// A value from a flag or a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given<T> {
    /// The value.
    pub value: T,
    /// The flag or the variable.
    pub source: Source,
}

/// One setting in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its key in the settings file.
    pub key: String,
    /// Its value as text.
    pub value: String,
    /// Its source.
    pub source: Source,
}

/// Picks each value from the first source that has it, and records the source.
pub(super) struct Layers {
    file: Option<PathBuf>,
    origins: Vec<Origin>,
}

impl Layers {
    pub(super) fn new(file: Option<&Path>) -> Self {
        Self {
            file: file.map(Path::to_path_buf),
            origins: Vec::new(),
        }
    }

    pub(super) fn into_origins(self) -> Vec<Origin> {
        self.origins
    }

    pub(super) fn file_source(&self) -> Source {
        self.file.clone().map_or(Source::Default, Source::File)
    }

    pub(super) fn note(&mut self, key: &str, value: impl Display, source: Source) {
        self.origins.push(Origin {
            key: key.to_owned(),
            value: value.to_string(),
            source,
        });
    }

    /// Returns the value in force. The built-in defaults have a value for every key that is picked here.
    pub(super) fn pick<T: Clone + Display>(
        &mut self,
        key: &str,
        flag: Option<&Given<T>>,
        file: Option<T>,
        default: Option<T>,
    ) -> Result<T, ConfigError> {
        let (value, source) = match (flag, file, default) {
            (Some(given), _, _) => (given.value.clone(), given.source.clone()),
            (None, Some(value), _) => (value, self.file_source()),
            (None, None, Some(value)) => (value, Source::Default),
            (None, None, None) => {
                return Err(ConfigError::Missing {
                    key: key.to_owned(),
                    cure: "set it in nova3.toml".to_owned(),
                });
            }
        };
        self.note(key, &value, source);
        Ok(value)
    }

    /// Returns the value in force of a setting that has no default.
    pub(super) fn optional<T: Clone + Display>(
        &mut self,
        key: &str,
        flag: Option<&Given<T>>,
        file: Option<T>,
    ) -> Option<T> {
        let (value, source) = match (flag, file) {
            (Some(given), _) => (given.value.clone(), given.source.clone()),
            (None, Some(value)) => (value, self.file_source()),
            (None, None) => return None,
        };
        self.note(key, &value, source);
        Some(value)
    }

    pub(super) fn duration(
        &mut self,
        key: &str,
        flag: Option<&Given<String>>,
        file: Option<&String>,
        default: Option<&String>,
    ) -> Result<Duration, ConfigError> {
        let text = self.pick(key, flag, file.cloned(), default.cloned())?;
        parse_duration(&text)
            .ok_or_else(|| ConfigError::value(key, &text, "a duration such as `30s`, `2m` or `1h 30m`"))
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let span: jiff::SignedDuration = text.trim().parse().ok()?;
    // At most a year: no run lasts longer, and a much longer duration can overflow an `Instant`.
    let year = Duration::from_secs(366 * 24 * 3600);
    Duration::try_from(span).ok().filter(|duration| *duration <= year)
}
