//! The HTTP request of a search.

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};

use super::provider::Provider;
use super::query::Query;
use super::template::{self, Variables, percent_encoded};

/// One HTTP request.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Vec<u8>>,
}

/// Builds the request of a provider with this key. The key goes into headers and parameters only.
pub(super) fn build(provider: &Provider, query: &Query, key: Option<&str>) -> Result<Request, String> {
    let words: String = query.text().chars().take(provider.query_chars).collect();
    let variables = Variables {
        query: words.trim(),
        limit: query.limit().min(provider.max_results),
        key,
    };
    Ok(Request {
        method: provider.method.clone(),
        url: url(provider, &variables)?,
        headers: headers(provider, &variables)?,
        body: provider
            .body
            .as_ref()
            .map(|body| {
                template::json(body, &variables.without_key()).map(|body| body.to_string().into_bytes())
            })
            .transpose()?,
    })
}

fn url(provider: &Provider, variables: &Variables<'_>) -> Result<Url, String> {
    let limit = variables.limit.to_string();
    let mut text = template::address(&provider.url, &[("query", variables.query), ("limit", &limit)])
        .map_err(|reason| format!("`url`: {reason}"))?;
    for (name, value) in &provider.parameters {
        let value = template::text(value, variables).map_err(|reason| format!("`query.{name}`: {reason}"))?;
        text.push(if text.contains('?') { '&' } else { '?' });
        // A space becomes `%20`, because some servers refuse `+`.
        text += &format!("{}={}", percent_encoded(name), percent_encoded(&value));
    }
    let url: Url = text
        .parse()
        .map_err(|_| "`url` is not a valid address with these values".to_owned())?;
    if url.fragment().is_some() {
        return Err(
            "`url` contains `#`: expected an address without it (no server receives that part)".to_owned(),
        );
    }
    if url.origin() == provider.origin.origin() {
        Ok(url)
    } else {
        Err("`url` leads to another host with these values".to_owned())
    }
}

fn headers(provider: &Provider, variables: &Variables<'_>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    if provider.body.is_some() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for (name, text) in &provider.headers {
        let rendered =
            template::text(text, variables).map_err(|reason| format!("`headers.{name}`: {reason}"))?;
        let mut value = HeaderValue::from_str(&rendered)
            .map_err(|_| format!("`headers.{name}`: the rendered text is not a valid header value"))?;
        value.set_sensitive(provider.has_key());
        headers.insert(name, value);
    }
    Ok(headers)
}
