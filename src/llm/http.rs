//! The HTTP client: TLS roots and connection limits.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::Certificate;
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;

use super::client::ClientError;
use super::connections::{KEPT_IDLE, Watched};
use crate::config::{self, Config};

/// The certificate authorities that are trusted, beside those of `http.ca_file`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Authorities {
    /// The bundled authorities. They suffice if every route uses plain HTTP, for example to a model on this machine.
    /// The system's authorities are hundreds of files, and reading them takes most of a start.
    Bundled,
    /// The bundled and the system's authorities.
    System,
}

/// The clients of all routes.
#[derive(Debug)]
pub(super) struct Http {
    /// One pair for each kind of route.
    pairs: Vec<Pair>,
}

/// The properties that routes must share to share a client. Both belong to the client, not to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ClientKind {
    /// Whether the server is on this machine. Such a route uses no proxy: for the proxy the name means another
    /// machine, and the proxy would see the data.
    here: bool,
    /// The connect timeout.
    connect: Duration,
}

impl ClientKind {
    fn of(route: &config::RouteSettings) -> Self {
        Self {
            here: route.is_here(),
            connect: route.timeouts.connect,
        }
    }
}

/// A client that reuses connections, and one that opens a new connection for each request.
#[derive(Debug)]
struct Pair {
    recipe: ClientOptions,
    keeping: reqwest::Client,
    /// Made on first use, because reading the system's authorities takes time.
    fresh: OnceLock<Option<reqwest::Client>>,
}

/// The settings of a client.
#[derive(Debug)]
struct ClientOptions {
    kind: ClientKind,
    ca_file: Option<PathBuf>,
    authorities: Authorities,
}

impl ClientOptions {
    fn client(&self, idle_connections: usize) -> Result<reqwest::Client, ClientError> {
        let builder = builder(self.kind.connect, idle_connections);
        let builder = move || {
            if self.kind.here {
                builder().no_proxy()
            } else {
                builder()
            }
        };
        build(&builder, self.ca_file.as_deref(), self.authorities)
    }
}

impl Pair {
    fn new(config: &Config, kind: ClientKind) -> Result<Self, ClientError> {
        let mut routes = config.routes.iter().filter(|route| ClientKind::of(route) == kind);
        let recipe = ClientOptions {
            kind,
            ca_file: config.ca_file.clone(),
            authorities: if routes.all(|route| route.endpoint.scheme() == "http") {
                Authorities::Bundled
            } else {
                Authorities::System
            },
        };
        Ok(Self {
            keeping: recipe.client(config.idle_connections)?,
            recipe,
            fresh: OnceLock::new(),
        })
    }
}

impl Http {
    /// Makes the clients for these settings.
    pub(super) fn new(config: &Config) -> Result<Self, ClientError> {
        let mut pairs: Vec<Pair> = Vec::new();
        for kind in config.routes.iter().map(ClientKind::of) {
            if pairs.iter().all(|pair| pair.recipe.kind != kind) {
                pairs.push(Pair::new(config, kind)?);
            }
        }
        Ok(Self { pairs })
    }

    /// Returns the client for a route.
    pub(super) fn of(&self, route: &config::RouteSettings) -> &reqwest::Client {
        &self.pair(route).keeping
    }

    /// Returns the client that opens a new connection for each call of a route.
    pub(super) fn fresh(&self, route: &config::RouteSettings) -> &reqwest::Client {
        let pair = self.pair(route);
        let fresh = pair.fresh.get_or_init(|| pair.recipe.client(0).ok());
        fresh.as_ref().unwrap_or(&pair.keeping)
    }

    fn pair(&self, route: &config::RouteSettings) -> &Pair {
        let kind = ClientKind::of(route);
        let pair = self.pairs.iter().find(|pair| pair.recipe.kind == kind);
        // The settings contain every route that is called.
        pair.unwrap_or(&self.pairs[0])
    }
}

/// Returns a client for an observer's server, with the same certificate authorities and without redirects.
pub fn observer_client(
    url: &reqwest::Url,
    is_here: bool,
    ca_file: Option<&Path>,
) -> Result<reqwest::Client, ClientError> {
    let options = ClientOptions {
        kind: ClientKind {
            here: is_here,
            connect: Duration::from_secs(5),
        },
        ca_file: ca_file.map(Path::to_path_buf),
        authorities: if url.scheme() == "http" {
            Authorities::Bundled
        } else {
            Authorities::System
        },
    };
    options.client(1)
}

/// Returns a builder for a client with all settings except its trusted authorities.
///
/// It uses HTTP/1.1 only: each stream then has its own connection, and a slow stream cannot delay others on the same
/// connection. It does not follow redirects, so that a key is never sent to another host.
fn builder(connect: Duration, idle_connections: usize) -> impl Fn() -> reqwest::ClientBuilder {
    move || {
        reqwest::Client::builder()
            .user_agent(concat!("nova3/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(connect)
            .pool_max_idle_per_host(idle_connections)
            .pool_idle_timeout(KEPT_IDLE)
            .connector_layer(Watched)
            .redirect(Policy::none())
            // Compression is not requested, because a proxy may delay a stream for it. A compressed answer is still
            // decompressed.
            .default_headers(HeaderMap::from_iter([(
                ACCEPT_ENCODING,
                HeaderValue::from_static("identity"),
            )]))
            .tcp_nodelay(true)
            .http1_only()
    }
}

fn build(
    builder: &dyn Fn() -> reqwest::ClientBuilder,
    ca_file: Option<&Path>,
    authorities: Authorities,
) -> Result<reqwest::Client, ClientError> {
    // Only the first call installs the provider. A later call finds the same one installed.
    drop(rustls::crypto::ring::default_provider().install_default());
    let extra = ca_file.map(read_roots).transpose()?.unwrap_or_default();
    let bundled = || {
        webpki_root_certs::TLS_SERVER_ROOT_CERTS
            .iter()
            .filter_map(|root| Certificate::from_der(root).ok())
    };
    let without_system = || builder().tls_certs_only(bundled().chain(extra.clone())).build();
    let built = match authorities {
        Authorities::Bundled => without_system(),
        // An image without system files gets only the bundled authorities.
        Authorities::System => builder()
            .tls_certs_merge(bundled().chain(extra.clone()))
            .build()
            .or_else(|_| without_system()),
    };
    built.map_err(|error| ClientError::Setup {
        reason: error.to_string(),
    })
}

fn read_roots(path: &Path) -> Result<Vec<Certificate>, ClientError> {
    let problem = |reason: String| ClientError::CaFile {
        path: path.to_path_buf(),
        reason,
    };
    let pem = std::fs::read(path).map_err(|error| problem(error.to_string()))?;
    let roots = Certificate::from_pem_bundle(&pem).map_err(|error| problem(error.to_string()))?;
    if roots.is_empty() {
        Err(problem("it holds no PEM certificate".to_owned()))
    } else {
        Ok(roots)
    }
}
