//! An agent file in its written form, and the errors that name its lines.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::search_spec::RawSearchSpec;
use crate::domain::request::is_name;
use crate::llm::Sampling;

/// An error in an agent file, or in a flag that describes an agent.
#[derive(Debug, thiserror::Error)]
#[error("{place}{}: {reason}", line.map_or_else(String::new, |line| format!(" line {line}")))]
pub struct AgentError {
    /// The file with its kind, or the flag.
    pub place: String,
    /// The line of the fault, counted from 1, if one line is at fault.
    pub line: Option<usize>,
    /// The reason.
    pub reason: String,
}

impl AgentError {
    /// An error of an agent file.
    pub(super) fn of_file(file: &Path, line: Option<usize>, reason: impl Into<String>) -> Self {
        Self {
            place: format!("agent file `{}`", file.display()),
            line,
            reason: reason.into(),
        }
    }
}

/// An agent file in its written form.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAgent {
    pub(super) action: Spanned<String>,
    pub(super) item: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) description: String,
    pub(super) max_tokens: Spanned<u32>,
    pub(super) max_results: Option<Spanned<u32>>,
    pub(super) search: Option<Spanned<RawSearchSpec>>,
    #[serde(default)]
    pub(super) writes: bool,
    #[serde(default)]
    pub(super) unsourced_facts: bool,
    pub(super) model: Option<Spanned<String>>,
    pub(super) for_each: Option<Spanned<String>>,
    pub(super) samples: Option<Spanned<u32>>,
    pub(super) keep: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) sampling: Sampling,
    pub(super) system: Spanned<String>,
    pub(super) user: Spanned<String>,
    pub(super) schema: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) checks: RawChecks,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawChecks {
    pub(super) title_chars: Option<usize>,
    pub(super) content_chars: Option<usize>,
    pub(super) tags: Option<(usize, usize)>,
    /// Lists of words, beside `tags`, from which repeated words are dropped.
    #[serde(default)]
    pub(super) distinct: Vec<String>,
    /// Whether banned words are looked up, also if the agent does not write.
    pub(super) banned_words: bool,
}

/// A file and its text.
#[derive(Debug, Clone)]
pub(super) struct AgentFile {
    pub(super) file: PathBuf,
    pub(super) text: String,
    pub(super) embedded: bool,
}

/// Returns the name and the description of an agent file. Of its values only the name is checked here.
pub(super) fn outline(source: &AgentFile) -> Result<(String, String), AgentError> {
    let raw = parse(source)?;
    let action = raw.action.get_ref();
    if !is_name(action) {
        return Err(source.problem(
            raw.action.span().start,
            format!("`action` is `{action}`, expected a name such as `insight`"),
        ));
    }
    Ok((action.clone(), raw.description))
}

pub(super) fn parse(source: &AgentFile) -> Result<RawAgent, AgentError> {
    toml::from_str(&source.text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        source.problem(at, error.message().to_owned())
    })
}

/// Returns the line of a byte offset, counted from 1.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

impl AgentFile {
    /// Returns the error for a byte offset of the file.
    pub(super) fn problem(&self, at: usize, reason: String) -> AgentError {
        self.complaint(self.line_of(at), reason)
    }

    fn complaint(&self, line: usize, reason: String) -> AgentError {
        match self.file.to_str() {
            Some(flag) if flag.starts_with("--") => AgentError {
                place: format!("`{flag}`"),
                line: Some(line),
                reason,
            },
            _ => AgentError::of_file(&self.file, Some(line), reason),
        }
    }

    fn line_of(&self, at: usize) -> usize {
        line_of(&self.text, at)
    }

    /// Returns the error for a line within a string of the file.
    pub(super) fn within(&self, text: &Spanned<String>, line: usize, reason: String) -> AgentError {
        let quoted = self.text.get(text.span()).unwrap_or_default();
        let opens = quoted.trim_start_matches(['"', '\'']);
        // A line end right after the opening quotes is not a part of a TOML string.
        let skipped = usize::from(opens.starts_with('\n') || opens.starts_with("\r\n"));
        self.complaint(
            self.line_of(text.span().start) + skipped + line.saturating_sub(1),
            reason,
        )
    }
}
