//! One HTTP exchange: sends a request and reads a bounded body.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, StatusCode, Url};

use super::address::{PublicOnly, is_here};
use super::outcome::{FailureKind, LinkFailure};
use super::provider::Provider;
use super::query::Query;
use super::redirect::{self, RedirectTarget};
use super::{request, retry_after};

/// The most bytes of an answer. Ten results with the text of their pages take about a tenth of it.
const LARGEST: usize = 4 << 20;

/// Servers close idle connections after 20 s or later.
const KEPT_IDLE: Duration = Duration::from_secs(15);

/// The HTTP clients of all providers. Each client is made when it is first needed.
#[derive(Debug)]
pub(super) struct ProviderClients {
    connect: Duration,
    ca_file: Option<PathBuf>,
    /// For servers on this machine. It uses no proxy.
    here: OnceLock<Result<Client, String>>,
    /// For other servers over plain HTTP. It does not load the certificates of the system.
    plain: OnceLock<Result<Client, String>>,
    elsewhere: OnceLock<Result<Client, String>>,
    /// For redirects to other hosts, and for pages.
    public: OnceLock<Result<Client, String>>,
}

/// A whole answer, not yet checked.
pub(super) struct ProviderAnswer {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Vec<u8>,
}

impl ProviderClients {
    pub(super) fn new(connect: Duration, ca_file: Option<&Path>) -> Self {
        Self {
            connect,
            ca_file: ca_file.map(Path::to_path_buf),
            here: OnceLock::new(),
            plain: OnceLock::new(),
            elsewhere: OnceLock::new(),
            public: OnceLock::new(),
        }
    }

    /// Sends one request to a provider and reads the answer. Dropping the future closes the connection.
    pub(super) async fn exchange(
        &self,
        provider: &Provider,
        query: &Query,
    ) -> Result<ProviderAnswer, LinkFailure> {
        let request = request::build(provider, query, provider.key())
            .map_err(|reason| LinkFailure::new(FailureKind::Refused, reason))?;
        let own = self.own(&provider.origin)?;
        let mut sending = own.request(request.method, request.url).headers(request.headers);
        if let Some(body) = request.body {
            sending = sending.body(body);
        }
        let mut response = sending
            .send()
            .await
            .map_err(|error| unreachable(error, provider))?;
        let mut followed = 0;
        while is_redirect(response.status()) {
            let target = redirect::target(&response, provider)?;
            followed += 1;
            if followed > redirect::MOST {
                let message = format!("more than {} redirects", redirect::MOST);
                return Err(LinkFailure::new(FailureKind::Redirected, message));
            }
            let (client, url) = match target {
                RedirectTarget::Own(url) => (own, url),
                RedirectTarget::Public(url) => (self.public()?, url),
            };
            let sending = client.get(url).header(ACCEPT, "application/json");
            response = sending
                .send()
                .await
                .map_err(|error| unreachable(error, provider))?;
        }
        read(response, provider).await
    }

    fn own(&self, url: &Url) -> Result<&Client, LinkFailure> {
        let made = if is_here(url) {
            self.here
                .get_or_init(|| self.client(false, Client::builder().no_proxy()))
        } else if url.scheme() == "http" {
            self.plain.get_or_init(|| self.client(false, Client::builder()))
        } else {
            self.elsewhere
                .get_or_init(|| self.client(true, Client::builder()))
        };
        ready(made)
    }

    /// Returns the client that connects to public addresses only. It uses no proxy, because a proxy resolves names
    /// itself.
    pub(super) fn public(&self) -> Result<&Client, LinkFailure> {
        ready(
            self.public
                .get_or_init(|| self.client(true, Client::builder().no_proxy().dns_resolver(PublicOnly))),
        )
    }

    /// Makes a client. It follows no redirect by itself, because a redirect would carry the key to another address.
    fn client(&self, system_roots: bool, builder: reqwest::ClientBuilder) -> Result<Client, String> {
        // Only the first call installs the TLS provider. A later call finds it installed.
        drop(rustls::crypto::ring::default_provider().install_default());
        let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS
            .iter()
            .filter_map(|root| Certificate::from_der(root).ok())
            .chain(extra_roots(self.ca_file.as_deref())?);
        let builder = builder
            .user_agent(concat!("nova3/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.connect)
            .pool_idle_timeout(KEPT_IDLE)
            .redirect(Policy::none())
            .http1_only();
        let builder = if system_roots {
            builder.tls_certs_merge(roots)
        } else {
            builder.tls_certs_only(roots)
        };
        builder.build().map_err(|error| error.to_string())
    }
}

/// Returns the certificate authorities of `http.ca_file`.
pub(super) fn extra_roots(ca_file: Option<&Path>) -> Result<Vec<Certificate>, String> {
    let Some(path) = ca_file else {
        return Ok(Vec::new());
    };
    let problem = |error: &dyn std::fmt::Display| format!("`http.ca_file` `{}`: {error}", path.display());
    let pem = std::fs::read(path).map_err(|error| problem(&error))?;
    let roots = Certificate::from_pem_bundle(&pem).map_err(|error| problem(&error))?;
    if roots.is_empty() {
        return Err(problem(&"it holds no PEM certificate"));
    }
    Ok(roots)
}

fn ready(made: &Result<Client, String>) -> Result<&Client, LinkFailure> {
    made.as_ref().map_err(|reason| {
        let message = format!("failed to create the HTTP client: {reason}");
        LinkFailure::new(FailureKind::Refused, message)
    })
}

pub(super) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

async fn read(mut response: Response, provider: &Provider) -> Result<ProviderAnswer, LinkFailure> {
    let mut answer = ProviderAnswer {
        status: response.status(),
        retry_after: retry_after::read(response.headers()),
        body: Vec::new(),
    };
    while let Some(chunk) = response.chunk().await.map_err(|error| cut(error, provider))? {
        if answer.body.len() + chunk.len() > LARGEST {
            let message = format!("the answer is larger than {LARGEST} bytes");
            return Err(LinkFailure::new(FailureKind::TooLarge, message));
        }
        answer.body.extend_from_slice(&chunk);
    }
    Ok(answer)
}

fn unreachable(error: reqwest::Error, provider: &Provider) -> LinkFailure {
    // After a redirect this is not the host of the provider.
    let asked = error.url().unwrap_or(&provider.origin);
    let host = asked.host_str().unwrap_or_default().to_owned();
    masked(network(error, &format!("`{host}` cannot be reached")), provider)
}

fn cut(error: reqwest::Error, provider: &Provider) -> LinkFailure {
    masked(network(error, "the connection ended within the answer"), provider)
}

fn masked(mut failure: LinkFailure, provider: &Provider) -> LinkFailure {
    failure.message = provider.secrets.masked(&failure.message).into_owned();
    failure
}

/// Returns the failure with all its causes. The address is left out, because its query may hold a secret.
pub(super) fn network(error: reqwest::Error, what: &str) -> LinkFailure {
    let kind = if error.is_timeout() {
        FailureKind::Timeout
    } else {
        FailureKind::Network
    };
    let error = error.without_url();
    let mut message = format!("{what}: {error}");
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        message += &format!(": {inner}");
        cause = inner.source();
    }
    LinkFailure::new(kind, message)
}
