//! The mock's log: what was asked for, when, and what came of it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

/// One call as the mock saw it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) n: u64,
    /// What stands in angle brackets in the question: which version of which request asks. A question without
    /// such a mark is known by its digest.
    pub(crate) marker: String,
    /// What the user says in it, whole.
    pub(crate) question: String,
    /// The beginning of the prompt's digest; the answer quotes it.
    pub(crate) digest: String,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: Option<i64>,
    pub(crate) outcome: String,
    pub(crate) tokens: u64,
}

/// All calls of a log in the order of their numbers.
pub(crate) fn read(log: &Path) -> Vec<Call> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let mut calls: BTreeMap<u64, Call> = BTreeMap::new();
    // A last line without its end is still being written.
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let line: Value = serde_json::from_str(line).expect("the mock writes JSON");
        let n = line["n"].as_u64().expect("a call has a number");
        let t_ms = line["t_ms"].as_i64().expect("a call has a time");
        let prompt = line["prompt"].as_str().expect("a call has a prompt");
        if line["event"] == "start" {
            let user = line["user"].as_str().expect("a call has a question");
            let digest = &prompt[..8];
            let call = Call {
                n,
                marker: marker(user).unwrap_or_else(|| digest.to_owned()),
                question: user.to_owned(),
                digest: digest.to_owned(),
                start_ms: t_ms,
                end_ms: None,
                outcome: String::new(),
                tokens: 0,
            };
            calls.insert(n, call);
        } else {
            let call = calls.get_mut(&n).expect("a call starts before it ends");
            call.end_ms = Some(t_ms);
            line["outcome"]
                .as_str()
                .expect("an end has an outcome")
                .clone_into(&mut call.outcome);
            let tokens = |key: &str| line[key].as_u64().expect("an end has tokens");
            call.tokens = tokens("input_tokens") + tokens("output_tokens");
        }
    }
    calls.into_values().collect()
}

/// The marker of a question, which stands last in its prompt: rounds before it have markers of their own.
fn marker(question: &str) -> Option<String> {
    let rest = question.rsplit_once("<r")?.1;
    let marker = rest.split_once('>').expect("a marker has its end").0;
    Some(format!("r{marker}"))
}

/// The digests that the answers in a text quote, in their order.
pub(crate) fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split("[mock ").skip(1).filter_map(|rest| rest.get(..8))
}
