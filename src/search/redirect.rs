//! The redirects that are followed.
//!
//! A request with a key follows no redirect, because the key is meant for one address. A `GET` without a key follows a
//! few redirects, to the provider's own origin or to public addresses.

use reqwest::header::LOCATION;
use reqwest::{Method, Response, Url};

use super::address::is_private_literal;
use super::outcome::{FailureKind, LinkFailure};
use super::provider::Provider;
use super::secrets;

/// The most redirects of one request.
pub(super) const MOST: usize = 3;

/// The target of a redirect that is followed.
pub(super) enum RedirectTarget {
    /// The provider itself. It may be on a private network.
    Own(Url),
    /// Another host. Only a public address is allowed.
    Public(Url),
}

/// Returns the target of a redirect, or the reason why the redirect is not followed.
pub(super) fn target(response: &Response, provider: &Provider) -> Result<RedirectTarget, LinkFailure> {
    let status = response.status();
    let location = response
        .headers()
        .get(LOCATION)
        .and_then(|location| location.to_str().ok());
    let url = location.and_then(|location| response.url().join(location).ok());
    let Some(url) = url.filter(|url| matches!(url.scheme(), "http" | "https")) else {
        let message = format!(
            "HTTP {} names no `http` or `https` address to follow",
            status.as_u16()
        );
        return Err(LinkFailure::new(FailureKind::Redirected, message));
    };
    let shown = secrets::shown(url.as_str()).unwrap_or_default();
    let shown = provider.secrets.masked(&shown).into_owned();
    let refused = |why: &str| {
        let message = format!("it redirects to `{shown}`: {why}");
        Err(LinkFailure::new(FailureKind::Redirected, message))
    };
    if provider.has_key() {
        return refused("a request with a key follows no redirect (put the address into `url`)");
    }
    if provider.method != Method::GET {
        return refused("only `GET` follows redirects (put the address into `url`)");
    }
    if url.origin() == provider.origin.origin() {
        return Ok(RedirectTarget::Own(url));
    }
    if is_private_literal(&url) {
        return refused("it is not a public address");
    }
    Ok(RedirectTarget::Public(url))
}
