//! A provider file as TOML. An unknown key is an error, and each value keeps its place in the file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::pointer::{Pointers, is_pointer};
use super::rules::{Codes, Condition};

/// A file of `search/` that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("search file `{}`{}: {reason}", file.display(), line.map_or_else(String::new, |line| format!(" line {line}")))]
pub struct ProviderError {
    /// The file.
    pub file: PathBuf,
    /// The line of the mistake, counted from 1, if the mistake has a line.
    pub line: Option<usize>,
    /// The mistake and the expected value.
    pub reason: String,
}

/// A file and its text.
#[derive(Debug, Clone)]
pub(super) struct ProviderSource {
    pub(super) file: PathBuf,
    pub(super) text: String,
    pub(super) embedded: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProvider {
    pub(super) name: Spanned<String>,
    pub(super) kind: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) description: String,
    pub(super) method: Option<Spanned<String>>,
    pub(super) url: Spanned<String>,
    pub(super) key_env: Option<Spanned<String>>,
    pub(super) key_file: Option<Spanned<PathBuf>>,
    pub(super) rpm: Option<Spanned<u32>>,
    pub(super) timeout: Option<Spanned<String>>,
    pub(super) query_chars: Option<Spanned<usize>>,
    pub(super) max_results: Option<Spanned<usize>>,
    #[serde(default)]
    pub(super) query: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Spanned<String>>,
    pub(super) body: Option<Spanned<toml::Table>>,
    pub(super) answer: RawAnswer,
    pub(super) item: RawItem,
    #[serde(default)]
    pub(super) terminal: RawCodes,
    #[serde(default)]
    pub(super) limited: RawCodes,
    #[serde(default)]
    pub(super) retryable: RawCodes,
    #[serde(default)]
    pub(super) empty: RawCodes,
    #[serde(default)]
    pub(super) cost: RawCost,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAnswer {
    #[serde(default)]
    pub(super) success: Vec<RawCondition>,
    pub(super) code: Option<Spanned<Vec<String>>>,
    pub(super) message: Option<Spanned<Vec<String>>>,
    pub(super) items: Spanned<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCondition {
    pub(super) at: Spanned<String>,
    pub(super) is: Spanned<Vec<toml::Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawItem {
    pub(super) id: Option<Spanned<Vec<String>>>,
    pub(super) title: Option<Spanned<Vec<String>>>,
    pub(super) url: Option<Spanned<Vec<String>>>,
    pub(super) link: Option<Spanned<String>>,
    pub(super) text: Spanned<Vec<String>>,
    pub(super) time: Option<Spanned<Vec<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCodes {
    #[serde(default)]
    pub(super) status: Vec<Spanned<u16>>,
    pub(super) code: Option<Spanned<Vec<toml::Value>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCost {
    pub(super) usd: Option<Spanned<f64>>,
    pub(super) usd_at: Option<Spanned<Vec<String>>>,
    pub(super) units_at: Option<Spanned<Vec<String>>>,
    pub(super) usd_per_million_units: Option<Spanned<f64>>,
}

impl ProviderSource {
    /// Reads the file. An unknown key and a value of the wrong type are errors.
    pub(super) fn parse(&self) -> Result<RawProvider, ProviderError> {
        toml::from_str(&self.text).map_err(|error| self.not_toml(&error))
    }

    /// Returns the error of the TOML reader. The message names the line and does not show it, because it may contain a
    /// key.
    pub(super) fn not_toml(&self, error: &toml::de::Error) -> ProviderError {
        let at = error.span().map_or(0, |span| span.start);
        self.problem(at, error.message())
    }

    /// Returns the error for the value at a byte of the file.
    pub(super) fn problem(&self, at: usize, reason: impl Into<String>) -> ProviderError {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        ProviderError {
            file: self.file.clone(),
            line: Some(1 + before.iter().filter(|byte| **byte == b'\n').count()),
            reason: reason.into(),
        }
    }

    /// Returns the error for a value that is not allowed.
    pub(super) fn wrong<T>(
        &self,
        key: &str,
        value: &Spanned<T>,
        shown: &str,
        expected: &str,
    ) -> ProviderError {
        self.problem(
            value.span().start,
            format!("`{key}` is `{shown}`: expected {expected}"),
        )
    }

    /// Returns the JSON pointers of a key.
    pub(super) fn pointers(
        &self,
        key: &str,
        written: Option<&Spanned<Vec<String>>>,
    ) -> Result<Pointers, ProviderError> {
        let Some(list) = written else {
            return Ok(Pointers::default());
        };
        Pointers::new(list.get_ref().clone())
            .map_err(|wrong| self.wrong(key, list, &wrong, "JSON pointers such as `/data/items`"))
    }

    /// Returns the conditions of a good answer.
    pub(super) fn conditions(&self, written: &[RawCondition]) -> Result<Vec<Condition>, ProviderError> {
        written
            .iter()
            .map(|condition| {
                let at = condition.at.get_ref();
                if !is_pointer(at) {
                    let expected = "a JSON pointer such as `/code`";
                    return Err(self.wrong("answer.success.at", &condition.at, at, expected));
                }
                Ok(Condition {
                    at: at.clone(),
                    is: self.scalars("answer.success.is", &condition.is)?,
                })
            })
            .collect()
    }

    /// Returns the status codes and the codes of one class.
    pub(super) fn codes(&self, class: &str, written: &RawCodes) -> Result<Codes, ProviderError> {
        for status in &written.status {
            if !(200..600).contains(status.get_ref()) {
                let shown = status.get_ref().to_string();
                return Err(self.wrong(
                    &format!("{class}.status"),
                    status,
                    &shown,
                    "HTTP status codes from 200 to 599",
                ));
            }
        }
        let code = written.code.as_ref();
        let code = code.map(|list| self.scalars(&format!("{class}.code"), list));
        Ok(Codes {
            status: written.status.iter().map(|status| *status.get_ref()).collect(),
            code: code.transpose()?.unwrap_or_default(),
        })
    }

    /// Returns the values as text.
    fn scalars(&self, key: &str, list: &Spanned<Vec<toml::Value>>) -> Result<Vec<String>, ProviderError> {
        let scalar = |value: &toml::Value| match value {
            toml::Value::String(text) => Some(text.clone()),
            toml::Value::Integer(number) => Some(number.to_string()),
            toml::Value::Boolean(flag) => Some(flag.to_string()),
            _ => None,
        };
        let texts: Option<Vec<String>> = list.get_ref().iter().map(scalar).collect();
        texts.filter(|texts| !texts.is_empty()).ok_or_else(|| {
            let shown = toml::Value::Array(list.get_ref().clone()).to_string();
            self.wrong(
                key,
                list,
                &shown,
                "a list of numbers, texts and booleans, such as `[0, 200]`",
            )
        })
    }
}
