//! Attributes that single servers read beside the conventions.
//!
//! Sources: the documentation of LangSmith ("Trace with OpenTelemetry"), of Langfuse ("OpenTelemetry"), and of OpenInference,
//! which Phoenix reads.

use std::collections::HashMap;

use serde_json::json;

use super::genai as key;
use super::ids::{SpanId, uuid};
use super::span::{SpanRole, SpanValue, TraceSpan};
use super::tree::TraceTree;
use crate::clock;
use crate::config::{TraceDestination, TraceServer};

/// Adds the attributes that the destination's server reads.
pub(super) fn complete(tree: &mut TraceTree, destination: &TraceDestination) {
    match destination.server {
        TraceServer::Collector => {
            for span in &mut tree.spans {
                span.set(key::SPAN_KIND, openinference(span.role));
            }
        }
        TraceServer::LangSmith => langsmith(tree, destination.project.as_deref()),
        TraceServer::Langfuse => langfuse(tree, destination.project.as_deref()),
    }
}

const fn openinference(role: SpanRole) -> &'static str {
    match role {
        SpanRole::Request | SpanRole::Plan => "CHAIN",
        SpanRole::Agent => "AGENT",
        SpanRole::Search | SpanRole::Provider => "TOOL",
        SpanRole::Model => "LLM",
    }
}

/// LangSmith takes the ids of its runs from attributes, so that a queue that was paused and continued goes on in its trace.
fn langsmith(tree: &mut TraceTree, project: Option<&str>) {
    let mut orders: HashMap<SpanId, (String, String)> = HashMap::new();
    let mut trace = String::new();
    for span in &mut tree.spans {
        let id = uuid(&span.id.0, span.start);
        let time = compact_time(span.start);
        let parent = span.parent.and_then(|parent| orders.get(&parent));
        let order = match parent {
            Some((_, order)) => format!("{order}.{time}{id}"),
            None => format!("{time}{id}"),
        };
        let parent = parent.map(|(id, _)| id.clone());
        if parent.is_none() {
            trace.clone_from(&id);
        }
        span.set("langsmith.trace.id", trace.as_str());
        span.set("langsmith.span.id", id.as_str());
        span.set_some("langsmith.span.parent_id", parent);
        span.set("langsmith.span.dotted_order", order.as_str());
        orders.insert(span.id, (id, order));
        span.set(
            "langsmith.span.kind",
            match span.role {
                SpanRole::Request | SpanRole::Plan | SpanRole::Agent => "chain",
                SpanRole::Search | SpanRole::Provider => "tool",
                SpanRole::Model => "llm",
            },
        );
        span.set_some("langsmith.trace.session_name", project);
        if span.role == SpanRole::Request {
            span.set("langsmith.trace.name", tree.name.as_str());
        }
        if let Some(usage) = usage(span) {
            span.set("langsmith.usage_metadata", usage);
        }
    }
}

/// The usage of a call in LangSmith's form.
fn usage(span: &TraceSpan) -> Option<String> {
    if span.role != SpanRole::Model {
        return None;
    }
    let number = |name| match value(span, name) {
        Some(SpanValue::Number(number)) => *number,
        _ => 0,
    };
    let (input, output) = (number(key::USAGE_INPUT), number(key::USAGE_OUTPUT));
    let mut usage = json!({
        "input_tokens": input, "output_tokens": output, "total_tokens": input.saturating_add(output),
        "input_token_details": {
            "cache_read": number(key::USAGE_CACHE_READ), "cache_creation": number(key::USAGE_CACHE_WRITE),
        },
    });
    if let Some(SpanValue::Amount(cost)) = value(span, key::COST) {
        usage["total_cost"] = json!(cost);
    }
    Some(usage.to_string())
}

fn value<'a>(span: &'a TraceSpan, name: &str) -> Option<&'a SpanValue> {
    let known = span.attributes.iter().find(|(key, _)| *key == name);
    known.map(|(_, value)| value)
}

/// A time in the form of a dotted order: `20261130T010203456000Z`.
fn compact_time(unix_ms: i64) -> String {
    let text = clock::rfc3339(unix_ms).unwrap_or_default();
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    let seconds = time.split(['.', 'Z']).next().unwrap_or_default();
    let millis = unix_ms.rem_euclid(1000);
    format!(
        "{}T{}{millis:03}000Z",
        date.replace('-', ""),
        seconds.replace(':', "")
    )
}

fn langfuse(tree: &mut TraceTree, environment: Option<&str>) {
    for span in &mut tree.spans {
        span.set(
            "langfuse.observation.type",
            match span.role {
                SpanRole::Request | SpanRole::Plan => "chain",
                SpanRole::Agent => "agent",
                SpanRole::Search | SpanRole::Provider => "tool",
                SpanRole::Model => "generation",
            },
        );
        span.set_some("langfuse.environment", environment);
        if span.role == SpanRole::Request {
            span.set("langfuse.trace.name", tree.name.as_str());
        }
        if span.failure.is_some() {
            span.set("langfuse.observation.level", "ERROR");
            span.set_some("langfuse.observation.status_message", span.failure.clone());
        }
        if span.role == SpanRole::Model
            && let Some(SpanValue::Amount(cost)) = value(span, key::COST).cloned()
        {
            span.set(
                "langfuse.observation.cost_details",
                json!({"total": cost}).to_string(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dotted_order_has_microseconds() {
        assert_eq!(compact_time(1_764_464_523_456), "20251130T010203456000Z");
        assert_eq!(compact_time(1_764_464_523_000), "20251130T010203000000Z");
    }
}
