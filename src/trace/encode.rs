//! Encodes traces as OTLP messages.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

use super::genai as key;
use super::ids::TraceId;
use super::span::{SpanRole, SpanValue, TraceSpan};
use super::tree::TraceTree;

/// The most bytes of one trace. A larger one loses its texts.
const MOST_TREE_BYTES: usize = 1 << 20;

/// The attributes that hold texts.
const TEXTS: &[&str] = &[
    key::INPUT_VALUE,
    key::OUTPUT_VALUE,
    key::INPUT_MESSAGES,
    key::OUTPUT_MESSAGES,
    key::TOOL_ARGUMENTS,
    key::TOOL_RESULT,
];

/// A trace in the form in which it is sent.
#[derive(Debug, Clone)]
pub(super) struct EncodedTrace {
    pub(super) spans: Vec<Span>,
    pub(super) bytes: usize,
}

impl EncodedTrace {
    pub(super) fn of(tree: &TraceTree) -> Self {
        let encoded = Self::new(tree);
        if encoded.bytes <= MOST_TREE_BYTES {
            return encoded;
        }
        encoded.without_texts()
    }

    fn new(tree: &TraceTree) -> Self {
        Self::measured(tree.spans.iter().map(|span| encoded(tree.trace, span)).collect())
    }

    fn measured(spans: Vec<Span>) -> Self {
        // Each span has a tag and a length in front of it.
        let bytes = spans.iter().map(|span| span.encoded_len() + 8).sum();
        Self { spans, bytes }
    }

    /// Returns the trace without its texts.
    pub(super) fn without_texts(mut self) -> Self {
        for span in &mut self.spans {
            span.attributes
                .retain(|attribute| !TEXTS.contains(&attribute.key.as_str()));
        }
        Self::measured(self.spans)
    }
}

/// Writes traces as the body of one request.
pub(super) fn body(traces: &[EncodedTrace], resource: &[(String, String)]) -> Vec<u8> {
    let attributes = resource
        .iter()
        .map(|(name, value)| attribute(name, Value::StringValue(value.clone())));
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: attributes.collect(),
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "nova3".to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    ..InstrumentationScope::default()
                }),
                spans: traces
                    .iter()
                    .flat_map(|trace| trace.spans.iter().cloned())
                    .collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    request.encode_to_vec()
}

fn encoded(trace: TraceId, span: &TraceSpan) -> Span {
    let nanos = |millis: i64| millis.max(0).unsigned_abs().saturating_mul(1_000_000);
    let kind = match span.role {
        SpanRole::Model | SpanRole::Provider => SpanKind::Client,
        SpanRole::Request | SpanRole::Plan | SpanRole::Agent | SpanRole::Search => SpanKind::Internal,
    };
    Span {
        trace_id: trace.0.to_vec(),
        span_id: span.id.0.to_vec(),
        parent_span_id: span.parent.map(|parent| parent.0.to_vec()).unwrap_or_default(),
        // The flag of a sampled trace (W3C Trace Context).
        flags: 1,
        name: span.name.clone(),
        kind: kind.into(),
        start_time_unix_nano: nanos(span.start),
        end_time_unix_nano: nanos(span.end),
        attributes: span
            .attributes
            .iter()
            .map(|(name, value)| attribute(name, encoded_value(value)))
            .collect(),
        status: span.failure.as_ref().map(|message| Status {
            message: message.clone(),
            code: StatusCode::Error.into(),
        }),
        ..Span::default()
    }
}

fn attribute(name: &str, value: Value) -> KeyValue {
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn encoded_value(value: &SpanValue) -> Value {
    match value {
        SpanValue::Text(text) => Value::StringValue(text.clone()),
        SpanValue::Number(number) => Value::IntValue(*number),
        SpanValue::Amount(amount) => Value::DoubleValue(*amount),
        SpanValue::Flag(flag) => Value::BoolValue(*flag),
        SpanValue::Texts(texts) => Value::ArrayValue(ArrayValue {
            values: texts
                .iter()
                .map(|text| AnyValue {
                    value: Some(Value::StringValue(text.clone())),
                })
                .collect(),
        }),
    }
}
