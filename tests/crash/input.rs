//! Inputs in which every version of every request has its own marker in its question.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

/// One line: a request in one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) id: usize,
    pub(crate) version: usize,
    /// The form of the line.
    pub(crate) form: Shape,
}

/// How a line is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// An OpenAI Batch line.
    Batch,
    /// A Batch line whose answer may have that many tokens.
    Limited(u64),
    /// An `answer` task, with or without a session.
    Flat(Option<String>),
}

impl Line {
    /// The first version of a Batch line.
    pub(crate) const fn batch(id: usize) -> Self {
        Self {
            id,
            version: 1,
            form: Shape::Batch,
        }
    }

    /// Its `custom_id`.
    pub(crate) fn custom_id(&self) -> String {
        format!("r{:05}", self.id)
    }

    /// The marker of its calls.
    pub(crate) fn marker(&self) -> String {
        format!("{}.v{}", self.custom_id(), self.version)
    }

    fn write(&self, out: &mut String) {
        let (id, marker) = (self.custom_id(), self.marker());
        let question = format!(
            "<{marker}> What should a careful person know about subject {}?",
            self.id
        );
        let limit = if let Shape::Limited(tokens) = self.form {
            format!(r#","max_tokens":{tokens}"#)
        } else {
            String::new()
        };
        let written = match &self.form {
            Shape::Batch | Shape::Limited(_) => writeln!(
                out,
                r#"{{"custom_id":"{id}","method":"POST","url":"/v1/chat/completions","body":{{"model":"m"{limit},"messages":[{{"role":"user","content":"{question}"}}]}}}}"#
            ),
            Shape::Flat(None) => writeln!(
                out,
                r#"{{"custom_id":"{id}","query":"{question}","tasks":["answer"]}}"#
            ),
            Shape::Flat(Some(session)) => writeln!(
                out,
                r#"{{"custom_id":"{id}","query":"{question}","tasks":["answer"],"session_id":"{session}"}}"#
            ),
        };
        written.expect("a string takes everything");
    }
}

/// Returns `count` Batch lines.
pub(crate) fn batch(count: usize) -> Vec<Line> {
    (0..count).map(Line::batch).collect()
}

/// The lines as a file's content.
pub(crate) fn text(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        line.write(&mut text);
    }
    text
}

/// Writes the lines to a file, all at once.
pub(crate) fn store(path: &Path, lines: &[Line]) {
    std::fs::write(path, text(lines)).expect("the input can be written");
}

/// Writes lines that are made by hand to a file.
pub(crate) fn store_values(path: &Path, lines: &[Value]) {
    let mut text = String::new();
    for line in lines {
        writeln!(text, "{line}").expect("a string takes everything");
    }
    std::fs::write(path, text).expect("the input can be written");
}
