//! The collector of the `OTEL_*` variables.
//!
//! Source: the OpenTelemetry specification (`configuration/sdk-environment-variables`, `protocol/exporter`).

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use secrecy::SecretString;

use super::Env;
use super::tracing::{
    DestinationRead, TEXT_BYTES, TIMEOUT, TraceContent, TraceDestination, TraceServer, share, url, wrong,
};

/// The collector of the `OTEL_*` variables.
pub(super) fn collector(env: Env<'_>) -> DestinationRead {
    if is_true(env, "OTEL_SDK_DISABLED") || env("OTEL_TRACES_EXPORTER").is_some_and(|name| name == "none") {
        return Ok(None);
    }
    if let Some(other) = env("OTEL_TRACES_EXPORTER").filter(|name| name != "otlp") {
        return Err(wrong("OTEL_TRACES_EXPORTER", &other, "`otlp` or `none`"));
    }
    let whole = env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let (source, address) = match (whole, env("OTEL_EXPORTER_OTLP_ENDPOINT")) {
        (Some(url), _) => ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url),
        (None, Some(base)) => (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            format!("{}/v1/traces", base.trim_end_matches('/')),
        ),
        (None, None) => return Ok(None),
    };
    let of_traces = |name: &str| {
        let specific = env(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"));
        specific.or_else(|| env(&format!("OTEL_EXPORTER_OTLP_{name}")))
    };
    match of_traces("PROTOCOL").as_deref() {
        None | Some("http/protobuf") => {}
        Some(other) => {
            let cure = "`http/protobuf`, with the port for HTTP, which is often 4318";
            return Err(wrong("OTEL_EXPORTER_OTLP_PROTOCOL", other, cure));
        }
    }
    if of_traces("CLIENT_CERTIFICATE")
        .or_else(|| of_traces("CLIENT_KEY"))
        .is_some()
    {
        return Err(
            "`OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE` is not supported (use a collector on this machine)"
                .to_owned(),
        );
    }
    let timeout = match of_traces("TIMEOUT") {
        None => TIMEOUT,
        Some(text) => match text.parse::<u64>() {
            Ok(millis @ 1..=600_000) => Duration::from_millis(millis),
            _ => {
                return Err(wrong(
                    "OTEL_EXPORTER_OTLP_TIMEOUT",
                    &text,
                    "1 to 600000 milliseconds",
                ));
            }
        },
    };
    let is_gzip = match of_traces("COMPRESSION").as_deref() {
        None | Some("none") => false,
        Some("gzip") => true,
        Some(other) => return Err(wrong("OTEL_EXPORTER_OTLP_COMPRESSION", other, "`gzip` or `none`")),
    };
    let with_texts = match env("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT") {
        None => false,
        Some(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "span_only" | "span_and_event" => true,
            "false" | "no_content" | "event_only" => false,
            _ => {
                let name = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT";
                return Err(wrong(name, &text, "`true` or `false`"));
            }
        },
    };
    let text_bytes = match env("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT") {
        None => TEXT_BYTES,
        Some(text) => match text.parse::<usize>() {
            Ok(limit) => limit.min(TEXT_BYTES),
            Err(_) => {
                return Err(wrong(
                    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
                    &text,
                    "a number of bytes",
                ));
            }
        },
    };
    Ok(Some(TraceDestination {
        server: TraceServer::Collector,
        url: url(source, &address)?,
        headers: listed_headers(of_traces("HEADERS").as_deref().unwrap_or_default())?,
        timeout,
        is_gzip,
        ca_file: of_traces("CERTIFICATE").map(PathBuf::from),
        content: TraceContent {
            inputs: with_texts,
            outputs: with_texts,
        },
        text_bytes,
        ratio: sampler(env)?,
        project: None,
        resource: resource(env),
        source: source.to_owned(),
    }))
}

fn is_true(env: Env<'_>, name: &str) -> bool {
    env(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// Headers in the form `name=value,name=value`, with percent-encoded values.
fn listed_headers(text: &str) -> Result<Vec<(HeaderName, SecretString)>, String> {
    let wrong = || "`OTEL_EXPORTER_OTLP_HEADERS` is wrong: expected `name=value,name=value`".to_owned();
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
            let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong())?;
            let value = percent_encoding::percent_decode_str(value.trim()).decode_utf8_lossy();
            HeaderValue::from_str(&value).map_err(|_| wrong())?;
            Ok((name, SecretString::from(value.into_owned())))
        })
        .collect()
}

/// The share of traces that the sampler of `OTEL_TRACES_SAMPLER` takes. No request has a parent outside of nova3.
fn sampler(env: Env<'_>) -> Result<f64, String> {
    match env("OTEL_TRACES_SAMPLER").as_deref() {
        None | Some("always_on" | "parentbased_always_on") => Ok(1.0),
        Some("always_off" | "parentbased_always_off") => Ok(0.0),
        Some("traceidratio" | "parentbased_traceidratio") => {
            share("OTEL_TRACES_SAMPLER_ARG", env("OTEL_TRACES_SAMPLER_ARG"))
        }
        Some(other) => Err(wrong(
            "OTEL_TRACES_SAMPLER",
            other,
            "`always_on`, `always_off` or `traceidratio`, or their `parentbased_` forms",
        )),
    }
}

/// The attributes of the service: `OTEL_RESOURCE_ATTRIBUTES`, and its name.
pub(super) fn resource(env: Env<'_>) -> Vec<(String, String)> {
    let text = env("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    let decoded = |text: &str| {
        percent_encoding::percent_decode_str(text.trim())
            .decode_utf8_lossy()
            .into_owned()
    };
    let mut attributes: Vec<(String, String)> = pairs
        .map(|(name, value)| (name.trim().to_owned(), decoded(value)))
        .collect();
    let name = env("OTEL_SERVICE_NAME");
    if let Some(name) = name.or_else(|| {
        let is_named = attributes.iter().any(|(key, _)| key == "service.name");
        (!is_named).then(|| "nova3".to_owned())
    }) {
        attributes.retain(|(key, _)| key != "service.name");
        attributes.push(("service.name".to_owned(), name));
    }
    attributes.push(("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
    attributes
}
