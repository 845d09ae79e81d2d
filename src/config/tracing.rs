//! Where traces are sent, from the environment alone: `OTEL_*` for any collector, `LANGSMITH_*` (or `LANGCHAIN_*`), and
//! `LANGFUSE_*`.
//!
//! A wrong value switches its destination off with a warning, because an observer never stops a run.
//!
//! Sources: the OpenTelemetry specification (`configuration/sdk-environment-variables`, `protocol/exporter`), the
//! documentation of LangSmith and of Langfuse on OpenTelemetry.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use secrecy::SecretString;

use super::Env;
use super::keys::is_here;
use super::otel::{collector, resource};

/// The time for one request to a collector, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of one text in a trace.
pub(super) const TEXT_BYTES: usize = 32 << 10;

/// The kind of server that receives traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceServer {
    /// A collector, or any server that reads OTLP.
    Collector,
    /// LangSmith.
    LangSmith,
    /// Langfuse.
    Langfuse,
}

impl TraceServer {
    /// Its name in the list of settings.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Collector => "otlp",
            Self::LangSmith => "langsmith",
            Self::Langfuse => "langfuse",
        }
    }

    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Collector => "the trace collector",
            Self::LangSmith => "LangSmith",
            Self::Langfuse => "Langfuse",
        }
    }
}

/// The contents that a trace may hold beside names, times, counts and costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContent {
    /// Requests, instructions, prompts and queries.
    pub inputs: bool,
    /// Answers and results.
    pub outputs: bool,
}

impl TraceContent {
    /// Whether it is any text at all.
    pub const fn is_any(self) -> bool {
        self.inputs || self.outputs
    }
}

/// A place that receives traces over OTLP/HTTP.
#[derive(Debug, Clone)]
pub struct TraceDestination {
    /// The kind of server.
    pub server: TraceServer,
    /// The URL of its traces.
    pub url: Url,
    /// The headers of each request. Their values are secret.
    pub headers: Vec<(HeaderName, SecretString)>,
    /// The time for one request.
    pub timeout: Duration,
    /// Whether bodies are compressed with gzip.
    pub is_gzip: bool,
    /// A PEM file of additional certificate authorities.
    pub ca_file: Option<PathBuf>,
    /// The texts that a trace may hold.
    pub content: TraceContent,
    /// The most bytes of one text.
    pub text_bytes: usize,
    /// The share of traces that are sent, from 0 to 1.
    pub ratio: f64,
    /// The project of LangSmith, or the environment of Langfuse.
    pub project: Option<String>,
    /// Attributes of the service, such as `service.name`.
    pub resource: Vec<(String, String)>,
    /// The variable that switched it on.
    pub source: String,
}

impl TraceDestination {
    /// Whether the server is on this machine.
    pub fn is_here(&self) -> bool {
        is_here(&self.url)
    }

    /// The host and the port, for messages.
    pub fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        match self.url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }
}

/// The destinations of traces, and why others are off although a variable names them.
#[derive(Debug, Default)]
pub struct TraceSettings {
    /// The destinations.
    pub destinations: Vec<TraceDestination>,
    /// One warning for each destination that is off, and for each variable that has no effect.
    pub warnings: Vec<String>,
}

/// Reads the destinations of traces from the environment.
pub fn trace_settings(env: Env<'_>) -> TraceSettings {
    let mut settings = TraceSettings::default();
    for read in [collector, langsmith, langfuse] {
        match read(env) {
            Ok(Some(destination)) => settings.destinations.push(destination),
            Ok(None) => {}
            Err(reason) => settings.warnings.push(format!("traces are not sent: {reason}")),
        }
    }
    let is_on = !settings.destinations.is_empty();
    for variable in WITHOUT_EFFECT.iter().filter(|name| is_on && env(name).is_some()) {
        let warning = format!("`{variable}` has no effect: nova3 bounds its queue of traces by itself");
        settings.warnings.push(warning);
    }
    settings
}

/// Variables of OpenTelemetry that describe a queue which nova3 does not have.
const WITHOUT_EFFECT: &[&str] = &[
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
];

pub(super) type DestinationRead = Result<Option<TraceDestination>, String>;

/// LangSmith, when its tracing is switched on.
fn langsmith(env: Env<'_>) -> DestinationRead {
    let named = |name: &str| env(&format!("LANGSMITH_{name}")).or_else(|| env(&format!("LANGCHAIN_{name}")));
    let named = |name: &str| named(name).map(|value| value.trim_matches(['"', '\'']).to_owned());
    let is_true = |name: &str| named(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if !is_true("TRACING") && !is_true("TRACING_V2") {
        return Ok(None);
    }
    let Some(key) = named("API_KEY") else {
        return Err("`LANGSMITH_TRACING` is `true` and `LANGSMITH_API_KEY` is missing".to_owned());
    };
    let base = named("ENDPOINT").unwrap_or_else(|| "https://api.smith.langchain.com".to_owned());
    let project = named("PROJECT").or_else(|| named("SESSION"));
    let project = project.unwrap_or_else(|| "default".to_owned());
    let mut headers = vec![
        header("LANGSMITH_API_KEY", "x-api-key", &key)?,
        header("LANGSMITH_PROJECT", "langsmith-project", &project)?,
    ];
    if let Some(workspace) = named("WORKSPACE_ID") {
        headers.push(header("LANGSMITH_WORKSPACE_ID", "x-tenant-id", &workspace)?);
    }
    let url = url(
        "LANGSMITH_ENDPOINT",
        &format!("{}/otel/v1/traces", base.trim_end_matches('/')),
    )?;
    in_the_open("LANGSMITH_ENDPOINT", &url)?;
    Ok(Some(TraceDestination {
        server: TraceServer::LangSmith,
        url,
        headers,
        timeout: TIMEOUT,
        is_gzip: false,
        ca_file: None,
        content: TraceContent {
            inputs: !is_true("HIDE_INPUTS"),
            outputs: !is_true("HIDE_OUTPUTS"),
        },
        text_bytes: TEXT_BYTES,
        ratio: share("LANGSMITH_TRACING_SAMPLING_RATE", named("TRACING_SAMPLING_RATE"))?,
        project: Some(project),
        resource: resource(env),
        source: "LANGSMITH_TRACING".to_owned(),
    }))
}

/// Langfuse, when its two keys are set.
fn langfuse(env: Env<'_>) -> DestinationRead {
    let off = env("LANGFUSE_TRACING_ENABLED").is_some_and(|value| value.eq_ignore_ascii_case("false"));
    let (Some(public), Some(secret), false) = (env("LANGFUSE_PUBLIC_KEY"), env("LANGFUSE_SECRET_KEY"), off)
    else {
        return Ok(None);
    };
    let base = env("LANGFUSE_BASE_URL").or_else(|| env("LANGFUSE_HOST"));
    let base = base.unwrap_or_else(|| "https://cloud.langfuse.com".to_owned());
    let address = format!("{}/api/public/otel/v1/traces", base.trim_end_matches('/'));
    let url = url("LANGFUSE_HOST", &address)?;
    in_the_open("LANGFUSE_HOST", &url)?;
    let basic = format!("Basic {}", STANDARD.encode(format!("{public}:{secret}")));
    Ok(Some(TraceDestination {
        server: TraceServer::Langfuse,
        url,
        headers: vec![
            header("LANGFUSE_SECRET_KEY", "authorization", &basic)?,
            header("", "x-langfuse-ingestion-version", "4")?,
        ],
        timeout: TIMEOUT,
        is_gzip: false,
        ca_file: None,
        content: TraceContent {
            inputs: true,
            outputs: true,
        },
        text_bytes: TEXT_BYTES,
        ratio: share("LANGFUSE_SAMPLE_RATE", env("LANGFUSE_SAMPLE_RATE"))?,
        project: env("LANGFUSE_TRACING_ENVIRONMENT"),
        resource: resource(env),
        source: "LANGFUSE_SECRET_KEY".to_owned(),
    }))
}

pub(super) fn wrong(name: &str, value: &str, expected: &str) -> String {
    format!("`{name}` is `{value}`: expected {expected}")
}

pub(super) fn url(name: &str, text: &str) -> Result<Url, String> {
    let parsed = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"));
    // The error does not show the value, because a URL can hold a password.
    parsed.ok_or_else(|| format!("`{name}` is no URL that begins with `http://` or `https://`"))
}

/// Refuses to send a key to another machine over plain HTTP.
fn in_the_open(name: &str, url: &Url) -> Result<(), String> {
    if url.scheme() == "https" || is_here(url) {
        return Ok(());
    }
    Err(format!("`{name}` would send its key over plain http (use https)"))
}

fn header(variable: &str, name: &'static str, value: &str) -> Result<(HeaderName, SecretString), String> {
    if HeaderValue::from_str(value).is_err() {
        return Err(format!("`{variable}` has characters that no header can hold"));
    }
    Ok((HeaderName::from_static(name), SecretString::from(value)))
}

pub(super) fn share(name: &str, value: Option<String>) -> Result<f64, String> {
    let Some(text) = value else { return Ok(1.0) };
    let share: Option<f64> = text.parse().ok();
    share
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| wrong(name, &text, "a number from 0 to 1"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use secrecy::ExposeSecret;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> TraceSettings {
        let known: HashMap<String, String> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        trace_settings(&|name: &str| known.get(name).cloned())
    }

    fn one(variables: &[(&str, &str)]) -> TraceDestination {
        let mut settings = read(variables);
        assert_eq!(settings.warnings, Vec::<String>::new());
        assert_eq!(settings.destinations.len(), 1);
        settings.destinations.remove(0)
    }

    #[test]
    fn nothing_is_sent_without_a_variable() {
        let settings = read(&[
            ("OTEL_SERVICE_NAME", "x"),
            ("LANGSMITH_API_KEY", "k"),
            ("LANGFUSE_PUBLIC_KEY", "p"),
        ]);
        assert!(settings.destinations.is_empty() && settings.warnings.is_empty());
        let off = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318"),
            ("OTEL_SDK_DISABLED", "true"),
        ];
        assert!(read(&off).destinations.is_empty());
    }

    #[test]
    fn a_collector_is_named_by_its_base_or_by_its_whole_url() {
        let base = one(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318/")]);
        assert_eq!(base.url.as_str(), "http://localhost:4318/v1/traces");
        assert!(!base.content.is_any(), "content is off by default");
        let whole = one(&[
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://c.example/x"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-a=1,x-b=a%20b"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=prod"),
            ("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true"),
        ]);
        assert_eq!(whole.url.as_str(), "https://c.example/x");
        let headers: Vec<(&str, &str)> = whole
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose_secret()))
            .collect();
        assert_eq!(headers, [("x-a", "1"), ("x-b", "a b")]);
        assert_eq!(
            (whole.timeout, whole.is_gzip),
            (Duration::from_millis(2500), true)
        );
        assert!((whole.ratio - 0.25).abs() < f64::EPSILON && whole.content.is_any());
        let names: Vec<&str> = whole.resource.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["deployment.environment", "service.name", "service.version"]
        );
    }

    #[test]
    fn langsmith_needs_its_switch_and_its_key() {
        let sent = one(&[
            ("LANGCHAIN_TRACING_V2", "true"),
            ("LANGCHAIN_API_KEY", "\"ls-key\""),
            ("LANGSMITH_PROJECT", "p"),
            ("LANGSMITH_HIDE_INPUTS", "true"),
        ]);
        assert_eq!(
            sent.url.as_str(),
            "https://api.smith.langchain.com/otel/v1/traces"
        );
        assert_eq!(sent.headers[0].1.expose_secret(), "ls-key");
        assert_eq!(
            sent.content,
            TraceContent {
                inputs: false,
                outputs: true
            }
        );
        let without = read(&[("LANGSMITH_TRACING", "true")]);
        assert!(without.destinations.is_empty() && without.warnings[0].contains("LANGSMITH_API_KEY"));
    }

    #[test]
    fn langfuse_needs_both_keys() {
        let sent = one(&[
            ("LANGFUSE_PUBLIC_KEY", "pk"),
            ("LANGFUSE_SECRET_KEY", "sk"),
            ("LANGFUSE_HOST", "http://localhost:3000"),
        ]);
        assert_eq!(
            sent.url.as_str(),
            "http://localhost:3000/api/public/otel/v1/traces"
        );
        assert_eq!(sent.headers[0].1.expose_secret(), "Basic cGs6c2s=");
        let open = read(&[
            ("LANGFUSE_PUBLIC_KEY", "pk"),
            ("LANGFUSE_SECRET_KEY", "sk"),
            ("LANGFUSE_HOST", "http://far.example"),
        ]);
        assert!(open.warnings[0].contains("plain http") && !open.warnings[0].contains("sk"));
    }

    #[test]
    fn a_wrong_value_switches_its_destination_off_with_a_warning() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317");
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "no pair"),
        ] {
            let settings = read(&[endpoint, (name, value)]);
            assert!(settings.destinations.is_empty(), "{name}");
            assert!(settings.warnings[0].contains(name), "{:?}", settings.warnings);
        }
        let settings = read(&[endpoint, ("OTEL_BSP_MAX_QUEUE_SIZE", "5")]);
        assert_eq!(settings.destinations.len(), 1);
        assert!(settings.warnings[0].contains("OTEL_BSP_MAX_QUEUE_SIZE"));
    }
}
