//! The span of one call.

use std::sync::Arc;

use serde_json::json;

use super::genai as key;
use super::ids::SpanId;
use super::routes::search_provider;
use super::span::{SpanRole, SpanValue, TraceSpan};
use super::tree::TreeContext;
use crate::domain::outcome::CallEnd;
use crate::domain::usage::Cost;
use crate::observe::Exchange;
use crate::store::CallHistory;

/// Returns the span of a call.
pub(super) fn call_span(
    context: &TreeContext<'_>,
    call: &CallHistory,
    same: i64,
    parent: SpanId,
) -> TraceSpan {
    let attempt = &call.attempt;
    let searched = search_provider(&attempt.route);
    let duration = i64::try_from(attempt.duration_ms).unwrap_or(i64::MAX);
    let mut span = TraceSpan {
        id: context
            .ids
            .call(call.task, call.version, &attempt.route, attempt.started_at, same),
        parent: Some(parent),
        role: if searched.is_some() {
            SpanRole::Provider
        } else {
            SpanRole::Model
        },
        name: match &searched {
            Some(provider) => format!("execute_tool {provider}"),
            None if attempt.model.is_empty() => "chat".to_owned(),
            None => format!("chat {}", attempt.model),
        },
        start: attempt.started_at,
        end: attempt.started_at.saturating_add(duration),
        attributes: Vec::new(),
        failure: failure(attempt.end),
    };
    match &searched {
        Some(provider) => {
            span.set(key::OPERATION, "execute_tool");
            span.set(key::TOOL_NAME, provider.as_str());
        }
        None => model(&mut span, context, call),
    }
    span.set(key::ROUTE, attempt.route.as_str());
    span.set(key::LANE, attempt.lane.as_str());
    span.set(key::USED, attempt.used);
    span.set_some(key::STATUS_CODE, attempt.status_code.map(i64::from));
    span.set_some(key::COST, attempt.cost.map(Cost::usd));
    if attempt.uncertain > Cost::ZERO {
        span.set(key::UNCERTAIN, attempt.uncertain.usd());
    }
    match attempt.end {
        CallEnd::Answered => {}
        CallEnd::Failed(class) => span.set(key::ERROR_TYPE, class.as_str()),
        CallEnd::Abandoned => span.set(key::ERROR_TYPE, "abandoned"),
    }
    span
}

fn failure(end: CallEnd) -> Option<String> {
    match end {
        CallEnd::Answered => None,
        CallEnd::Failed(class) => Some(class.as_str().to_owned()),
        CallEnd::Abandoned => Some("the call was given up, or its process crashed".to_owned()),
    }
}

/// Adds what the conventions say about a call of a model.
fn model(span: &mut TraceSpan, context: &TreeContext<'_>, call: &CallHistory) {
    let attempt = &call.attempt;
    span.set(key::OPERATION, "chat");
    span.set(key::REQUEST_MODEL, attempt.model.as_str());
    if let Some(route) = context.routes.get(&attempt.route) {
        span.set(key::PROVIDER, route.provider.as_str());
        span.set(key::SERVER_ADDRESS, route.host.as_str());
        span.set_some(key::SERVER_PORT, route.port.map(i64::from));
    }
    let usage = attempt.usage;
    for (name, tokens, is_always) in [
        (key::USAGE_INPUT, usage.input_tokens, true),
        (key::USAGE_OUTPUT, usage.output_tokens, true),
        (key::USAGE_CACHE_READ, usage.cached_input_tokens, false),
        (key::USAGE_CACHE_WRITE, usage.cache_write_tokens, false),
    ] {
        if is_always || tokens > 0 {
            span.set(name, tokens);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "seconds of one call")]
    let first = attempt.first_token_ms.map(|millis| millis as f64 / 1000.0);
    span.set_some(key::RESPONSE_FIRST_CHUNK, first);
    let task = call.task.to_string();
    let captured = context.captured.iter().find(|captured| {
        captured.started_at == attempt.started_at && captured.route == attempt.route && captured.task == task
    });
    if let Some(captured) = captured {
        exchange(span, context, &captured.exchange);
    }
}

/// Adds what was sent and received, as far as this process made the call.
fn exchange(span: &mut TraceSpan, context: &TreeContext<'_>, exchange: &Arc<Exchange>) {
    span.set_some(key::REQUEST_MAX_TOKENS, exchange.max_tokens);
    span.set_some(key::REQUEST_TEMPERATURE, exchange.temperature);
    span.set_some(key::REQUEST_TOP_P, exchange.top_p);
    span.set_some(key::REQUEST_SEED, exchange.seed);
    span.set(key::REQUEST_STREAM, exchange.streams);
    span.set_some(key::RESPONSE_ID, exchange.response_id.as_deref());
    span.set_some(key::RESPONSE_MODEL, exchange.response_model.as_deref());
    if let Some(reason) = &exchange.finish_reason {
        span.set(
            key::RESPONSE_FINISH_REASONS,
            SpanValue::Texts(vec![reason.clone()]),
        );
    }
    let part = |text: String| json!([{"type": "text", "content": text}]);
    let messages: Vec<_> = exchange
        .input
        .iter()
        .filter_map(|(role, text)| Some(json!({"role": role, "parts": part(context.texts.input(text)?)})))
        .collect();
    if !messages.is_empty() {
        span.set(key::INPUT_MESSAGES, serde_json::Value::from(messages).to_string());
    }
    let output = exchange
        .output
        .as_deref()
        .and_then(|text| context.texts.output(text));
    if let Some(text) = output {
        let reason = exchange.finish_reason.as_deref().unwrap_or("stop");
        let message = json!([{"role": "assistant", "parts": part(text), "finish_reason": reason}]);
        span.set(key::OUTPUT_MESSAGES, message.to_string());
    }
}
