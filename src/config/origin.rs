//! Where a value came from: the layers, and the account of them that `nova3 config` prints.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::ConfigError;

/// Where a setting was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// On the command line.
    Flag(&'static str),
    /// In the environment.
    Env(String),
    /// In the settings file.
    File(PathBuf),
    /// Nowhere: the default.
    Default,
}

impl Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value that a flag or a variable gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given<T> {
    /// The value.
    pub value: T,
    /// Which of the two.
    pub source: Source,
}

/// One setting that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its key as the settings file writes it.
    pub key: String,
    /// Its value, shown.
    pub value: String,
    /// Where it came from.
    pub source: Source,
}

/// Picks each value from the highest layer that has it, and remembers which that was.
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

    /// The value in force; the built-in defaults have one for every key that is picked.
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

    /// The value in force of a setting that has no default.
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
    // No run lives so long, and no clock counts much further.
    let year = Duration::from_secs(366 * 24 * 3600);
    Duration::try_from(span).ok().filter(|duration| *duration <= year)
}
