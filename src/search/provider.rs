//! One provider: its file, checked.

use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use reqwest::header::HeaderName;
use reqwest::{Method, Url};
use secrecy::{ExposeSecret, SecretString};
use toml::Spanned;

use super::address::is_here;
use super::cost::CostRule;
use super::item::ADDRESS;
use super::pointer::Pointers;
use super::provider_file::{ProviderError, ProviderSource, RawItem, RawProvider};
use super::query::Query;
use super::request;
use super::rules::AnswerRules;
use super::secrets::{self, ProviderSecrets};
use super::template::{self, Variables};
use super::{CACHED, DEFAULT, HTTP};
use crate::config::{Env, provider_key};
use crate::domain::bucket::Limits;
use crate::domain::ids::shortened;
use crate::domain::request::is_name;

/// A search provider.
#[derive(Debug)]
pub struct Provider {
    /// Its name in chains, results and messages.
    pub name: String,
    /// A description for people: the kind of its results.
    pub description: String,
    /// Its file.
    pub file: PathBuf,
    /// Whether the file is embedded in the program.
    pub embedded: bool,
    /// Whether it reads pages. Its query is the address of a page, and no chain contains it.
    pub is_reader: bool,
    /// Requests a minute.
    pub rpm: Option<u32>,
    /// The timeout of one try. Without it the timeout of the settings applies.
    pub timeout: Option<Duration>,
    pub(super) method: Method,
    /// The address. The part after the host may be a template.
    pub(super) url: String,
    /// The fixed part of the address. Every request goes to its scheme, host and port.
    pub(super) origin: Url,
    pub(super) parameters: Vec<(String, String)>,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) body: Option<toml::Value>,
    pub(super) query_chars: usize,
    pub(super) max_results: usize,
    pub(super) answer: AnswerRules,
    pub(super) item: ItemRules,
    pub(super) cost: CostRule,
    pub(super) secrets: ProviderSecrets,
    key: Option<SecretString>,
    /// How to give the provider a key. `None` if it needs no key.
    key_cure: Option<String>,
}

/// Pointers to the parts of a result.
#[derive(Debug, Clone, Default)]
pub(super) struct ItemRules {
    pub(super) id: Pointers,
    pub(super) title: Pointers,
    pub(super) url: Pointers,
    /// A template of the address, for results without an address. It may name `id`.
    pub(super) link: Option<String>,
    pub(super) text: Pointers,
    pub(super) time: Pointers,
}

impl Provider {
    /// Host and port of its server. Limits that were stored for another server do not apply.
    pub fn server(&self) -> String {
        let port = self.origin.port_or_known_default().unwrap_or(0);
        format!("{}:{port}", self.origin.host_str().unwrap_or_default())
    }

    /// Its limits a minute.
    pub const fn limits(&self) -> Limits {
        Limits {
            rpm: self.rpm,
            tpm: None,
        }
    }
}

/// Returns the name of a provider. The rest of the file is not checked yet.
pub(super) fn name_of(source: &ProviderSource) -> Result<String, ProviderError> {
    name(source, &source.parse()?)
}

fn name(source: &ProviderSource, raw: &RawProvider) -> Result<String, ProviderError> {
    let name = raw.name.get_ref();
    if !is_name(name) {
        let expected = "a lower-case name such as `jina`";
        return Err(source.wrong("name", &raw.name, &shortened(name, 60), expected));
    }
    if [CACHED, DEFAULT, HTTP].contains(&name.as_str()) {
        let expected = "another name (`cached`, `default` and `http` are reserved)";
        return Err(source.wrong("name", &raw.name, name, expected));
    }
    Ok(name.clone())
}

impl Provider {
    /// Reads and checks the provider of a file. Returns the first mistake.
    pub(super) fn read(source: &ProviderSource, env: Env<'_>) -> Result<Self, ProviderError> {
        let raw = source.parse()?;
        let origin = origin(source, &raw)?;
        let (key, key_cure) = key(source, &raw, &origin, env)?;
        let is_reader = is_reader(source, &raw)?;
        let bounded = |key: &str, value: Option<&Spanned<usize>>, most: usize| match value {
            Some(value) if !(1..=most).contains(value.get_ref()) => {
                let shown = value.get_ref().to_string();
                Err(source.wrong(key, value, &shown, &format!("1 to {most}")))
            }
            value => Ok(value.map_or(most, |value| *value.get_ref())),
        };
        let provider = Self {
            name: name(source, &raw)?,
            description: raw.description.clone(),
            file: source.file.clone(),
            embedded: source.embedded,
            is_reader,
            rpm: rpm(source, &raw)?,
            timeout: timeout(source, &raw)?,
            method: method(source, &raw)?,
            url: raw.url.get_ref().clone(),
            origin,
            parameters: raw
                .query
                .iter()
                .map(|(name, value)| (name.clone(), value.get_ref().clone()))
                .collect(),
            headers: headers(source, &raw)?,
            body: raw
                .body
                .as_ref()
                .map(|body| toml::Value::Table(body.get_ref().clone())),
            query_chars: bounded(
                "query_chars",
                raw.query_chars.as_ref(),
                if is_reader { ADDRESS } else { 400 },
            )?,
            max_results: bounded("max_results", raw.max_results.as_ref(), 50)?,
            answer: answer(source, &raw)?,
            item: item(source, &raw.item)?,
            cost: CostRule::read(source, &raw.cost)?,
            secrets: ProviderSecrets::of(key.as_ref()),
            key,
            key_cure,
        };
        provider.try_out(source, &raw)?;
        Ok(provider)
    }

    /// How to give the provider a key, if it needs one and has none.
    pub fn missing_key(&self) -> Option<&str> {
        self.key_cure.as_deref().filter(|_| self.key.is_none())
    }

    /// Whether its requests carry a key.
    pub(super) const fn has_key(&self) -> bool {
        self.key_cure.is_some()
    }

    /// The key for a request.
    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_ref().map(ExposeSecret::expose_secret)
    }

    /// Renders every template once, so that a mistake is reported before the first search.
    fn try_out(&self, source: &ProviderSource, raw: &RawProvider) -> Result<(), ProviderError> {
        let key = self.has_key().then_some("probe");
        let variables = Variables {
            query: "probe",
            limit: 5,
            key,
        };
        let check = |name: String, text: &Spanned<String>| {
            template::text(text.get_ref(), &variables)
                .map(drop)
                .map_err(|reason| source.problem(text.span().start, format!("`{name}`: {reason}")))
        };
        for (name, text) in &raw.query {
            check(format!("query.{name}"), text)?;
        }
        for (name, text) in &raw.headers {
            check(format!("headers.{name}"), text)?;
        }
        if let (Some(body), Some(place)) = (&self.body, &raw.body) {
            template::json(body, &variables.without_key())
                .map_err(|reason| source.problem(place.span().start, format!("`body`: {reason}")))?;
        }
        if let Some(link) = &raw.item.link {
            let filled = template::address(link.get_ref(), &[("id", "probe")])
                .map_err(|reason| source.problem(link.span().start, format!("`item.link`: {reason}")))?;
            let url: Option<Url> = filled.parse().ok();
            if url.is_none_or(|url| !matches!(url.scheme(), "http" | "https")) {
                let expected = "an address such as `https://example.com/note/{{ id }}`";
                return Err(source.wrong("item.link", link, link.get_ref(), expected));
            }
        }
        if let Some(query) = Query::new("probe", 5) {
            request::build(self, &query, key)
                .map_err(|reason| source.problem(raw.url.span().start, reason))?;
        }
        Ok(())
    }
}

/// Returns the fixed part of the address. Its host must not be a template, because a query could then choose the host
/// that receives the key.
fn origin(source: &ProviderSource, raw: &RawProvider) -> Result<Url, ProviderError> {
    let text = raw.url.get_ref();
    let fixed = text.split("{{").next().unwrap_or_default();
    let expected =
        "an address such as `https://example.com/search`, with a fixed host, without a user and without `#`";
    // The message does not show the value, because it may contain a secret. The message names the line.
    let wrong = || source.wrong("url", &raw.url, "…", expected);
    let origin: Url = fixed.parse().map_err(|_| wrong())?;
    let is_whole = fixed == text || fixed.matches('/').count() >= 3;
    let is_plain = origin.username().is_empty() && origin.password().is_none() && origin.fragment().is_none();
    if !matches!(origin.scheme(), "http" | "https") || origin.host_str().is_none() || !is_whole || !is_plain {
        return Err(wrong());
    }
    Ok(origin)
}

/// Returns the key, and how to give the provider one.
fn key(
    source: &ProviderSource,
    raw: &RawProvider,
    origin: &Url,
    env: Env<'_>,
) -> Result<(Option<SecretString>, Option<String>), ProviderError> {
    let cure = match (&raw.key_env, &raw.key_file) {
        (None, None) => return Ok((None, None)),
        (Some(variable), Some(_)) => {
            let reason = "`key_env` and `key_file` name two keys: expected one of them";
            return Err(source.problem(variable.span().start, reason));
        }
        (Some(variable), None) => format!("set the variable `{}`", variable.get_ref()),
        (None, Some(file)) => format!("put the key into `{}`", file.get_ref().display()),
    };
    if origin.scheme() == "http" && !is_here(origin) {
        let reason = "`url` would send the key over plain http: expected an `https` address";
        return Err(source.problem(raw.url.span().start, reason));
    }
    let with_key = Variables {
        query: "probe",
        limit: 5,
        key: Some("probe"),
    };
    // A template that cannot be rendered is reported later, with its own line.
    let sends_key = |text: &Spanned<String>| {
        let rendered = template::text(text.get_ref(), &with_key);
        rendered.is_err() || rendered != template::text(text.get_ref(), &with_key.without_key())
    };
    let mut templates = raw.headers.values().chain(raw.query.values());
    let at = raw.key_env.as_ref().map_or_else(
        || raw.key_file.as_ref().map_or(0, |file| file.span().start),
        |variable| variable.span().start,
    );
    if !templates.any(sends_key) {
        let reason = "the key is never sent: expected `{{ key }}` in `headers` or `query`";
        return Err(source.problem(at, reason));
    }
    let variable = raw.key_env.as_ref().map(|variable| variable.get_ref().as_str());
    let file = raw.key_file.as_ref().map(|file| file.get_ref().as_path());
    let key = provider_key(variable, file, env).map_err(|error| source.problem(at, error.to_string()))?;
    if key
        .as_ref()
        .is_some_and(|key| key.expose_secret().len() < secrets::SHORTEST)
    {
        let given = variable.map_or_else(
            || "the key in `key_file`".to_owned(),
            |name| format!("the key in `{name}`"),
        );
        let reason = format!(
            "{given} is too short to be masked in messages: expected at least {} characters",
            secrets::SHORTEST
        );
        return Err(source.problem(at, reason));
    }
    Ok((key, Some(cure)))
}

fn is_reader(source: &ProviderSource, raw: &RawProvider) -> Result<bool, ProviderError> {
    let Some(kind) = &raw.kind else {
        return Ok(false);
    };
    match kind.get_ref().as_str() {
        "search" => Ok(false),
        "reader" => Ok(true),
        other => Err(source.wrong("kind", kind, &shortened(other, 60), "`search` or `reader`")),
    }
}

fn rpm(source: &ProviderSource, raw: &RawProvider) -> Result<Option<u32>, ProviderError> {
    match &raw.rpm {
        Some(rpm) if !(1..=1_000_000).contains(rpm.get_ref()) => Err(source.wrong(
            "rpm",
            rpm,
            &rpm.get_ref().to_string(),
            "1 to 1000000 requests a minute",
        )),
        rpm => Ok(rpm.as_ref().map(|rpm| *rpm.get_ref())),
    }
}

fn timeout(source: &ProviderSource, raw: &RawProvider) -> Result<Option<Duration>, ProviderError> {
    let Some(text) = &raw.timeout else {
        return Ok(None);
    };
    let hour = Duration::from_secs(3600);
    let span: Option<SignedDuration> = text.get_ref().trim().parse().ok();
    let timeout = span.and_then(|span| Duration::try_from(span).ok());
    let timeout = timeout.filter(|timeout| !timeout.is_zero() && *timeout <= hour);
    let expected = "a duration above zero and at most `1h`, such as `10s` or `500ms`";
    let wrong = || source.wrong("timeout", text, &shortened(text.get_ref(), 60), expected);
    timeout.map(Some).ok_or_else(wrong)
}

fn method(source: &ProviderSource, raw: &RawProvider) -> Result<Method, ProviderError> {
    let method = match &raw.method {
        None => Method::GET,
        Some(method) => match method.get_ref().as_str() {
            "GET" => Method::GET,
            "POST" => Method::POST,
            other => return Err(source.wrong("method", method, &shortened(other, 60), "`GET` or `POST`")),
        },
    };
    match &raw.body {
        Some(body) if method == Method::GET => Err(source.problem(
            body.span().start,
            "`body` is not sent with `GET`: expected `method = \"POST\"`",
        )),
        _ => Ok(method),
    }
}

fn headers(source: &ProviderSource, raw: &RawProvider) -> Result<Vec<(HeaderName, String)>, ProviderError> {
    raw.headers
        .iter()
        .map(|(name, text)| {
            let parsed: HeaderName = name.parse().map_err(|_| {
                let reason = format!("`headers.{}` is not a header name", shortened(name, 60));
                source.problem(text.span().start, reason)
            })?;
            Ok((parsed, text.get_ref().clone()))
        })
        .collect()
}

fn answer(source: &ProviderSource, raw: &RawProvider) -> Result<AnswerRules, ProviderError> {
    Ok(AnswerRules {
        success: source.conditions(&raw.answer.success)?,
        code: source.pointers("answer.code", raw.answer.code.as_ref())?,
        message: source.pointers("answer.message", raw.answer.message.as_ref())?,
        items: source.pointers("answer.items", Some(&raw.answer.items))?,
        terminal: source.codes("terminal", &raw.terminal)?,
        limited: source.codes("limited", &raw.limited)?,
        retryable: source.codes("retryable", &raw.retryable)?,
        empty: source.codes("empty", &raw.empty)?,
    })
}

fn item(source: &ProviderSource, raw: &RawItem) -> Result<ItemRules, ProviderError> {
    if let (Some(link), None) = (&raw.link, &raw.id) {
        let reason = "`item.link` needs an id: expected `item.id = [\"/id\"]`";
        return Err(source.problem(link.span().start, reason));
    }
    Ok(ItemRules {
        id: source.pointers("item.id", raw.id.as_ref())?,
        title: source.pointers("item.title", raw.title.as_ref())?,
        url: source.pointers("item.url", raw.url.as_ref())?,
        link: raw.link.as_ref().map(|link| link.get_ref().clone()),
        text: source.pointers("item.text", Some(&raw.text))?,
        time: source.pointers("item.time", raw.time.as_ref())?,
    })
}
