//! Reads the bytes of an answer. The result is items or a failure.

use serde_json::Value;

use super::clean;
use super::http::ProviderAnswer;
use super::item::{self, SearchItem};
use super::outcome::{FailureKind, LinkFailure};
use super::provider::Provider;
use super::query::Query;
use crate::domain::usage::Cost;

/// The most characters of the provider's message about a failure.
const MESSAGE: usize = 300;

/// An answer that was read by the rules of its provider.
pub(super) struct JudgedAnswer {
    /// The items, at least one.
    pub(super) result: Result<Vec<SearchItem>, LinkFailure>,
    /// The cost of the answer.
    pub(super) cost: Cost,
}

/// Reads an answer. The provider's key is masked before anything else is done with the text.
pub(super) fn judge(provider: &Provider, query: &Query, answer: &ProviderAnswer) -> JudgedAnswer {
    let text = String::from_utf8_lossy(&answer.body);
    let text = provider.secrets.masked(&text);
    let mut parsed: Option<Value> = serde_json::from_str(text.trim_start_matches('\u{feff}')).ok();
    if let Some(body) = &mut parsed {
        provider.secrets.mask(body);
    }
    // An answer with an error status counts as free.
    let cost = match &parsed {
        _ if !answer.status.is_success() => Cost::ZERO,
        Some(body) => provider.cost.of(body),
        None => provider.cost.flat(),
    };
    let result = match &parsed {
        Some(body) if provider.answer.holds(answer.status, body) => found(provider, query, body),
        body => Err(failure(provider, answer, body.as_ref(), &text)),
    };
    JudgedAnswer { result, cost }
}

fn found(provider: &Provider, query: &Query, body: &Value) -> Result<Vec<SearchItem>, LinkFailure> {
    let empty = || LinkFailure::new(FailureKind::Empty, "no results");
    let values = provider.answer.items.array(body).map(Vec::as_slice);
    // A reader answers with one page.
    let page = || provider.answer.items.object(body).filter(|_| provider.is_reader);
    let Some(values) = values.or_else(|| page().map(std::slice::from_ref)) else {
        // A provider may leave the array out. The conditions have shown that the answer is good.
        return Err(if provider.answer.success.is_empty() {
            LinkFailure::new(
                FailureKind::Malformed,
                "the answer has no array at `answer.items`",
            )
        } else {
            empty()
        });
    };
    let items = item::items(&provider.item, values, query.limit().min(provider.max_results));
    if !items.is_empty() {
        return Ok(items);
    }
    Err(if values.is_empty() {
        empty()
    } else {
        let message = format!("none of {} results has a title or a text", values.len());
        LinkFailure::new(FailureKind::Empty, message)
    })
}

fn failure(provider: &Provider, answer: &ProviderAnswer, body: Option<&Value>, text: &str) -> LinkFailure {
    let code = body.and_then(|body| provider.answer.code_of(body));
    let kind = if body.is_none() && answer.status.is_success() {
        FailureKind::Malformed
    } else {
        provider.answer.meaning(answer.status, code.as_deref())
    };
    let mut message = format!("HTTP {}", answer.status.as_u16());
    if let Some(code) = code {
        message += &format!(", code {}", clean::line(&code, 40));
    }
    let said = match body {
        Some(body) => provider.answer.message.text(body).unwrap_or_default(),
        None => text.to_owned(),
    };
    let said = clean::title(&said, MESSAGE);
    if kind == FailureKind::Malformed {
        message += ", not JSON";
    }
    if !said.is_empty() {
        message += &format!(": {said}");
    }
    LinkFailure {
        kind,
        message: provider.secrets.masked(&message).into_owned(),
        retry_after: answer.retry_after,
    }
}
