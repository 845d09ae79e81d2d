//! The HTTP client: TLS roots, connection limits.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::Certificate;
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;

use super::client::ClientError;
use super::connections::{KEPT_IDLE, Watched};
use crate::config::{self, Config};

/// Whose word on a server's certificate is taken, beside that of `http.ca_file`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Authorities {
    /// Those that come with the program: enough where every route is plain HTTP, as to a model on this machine.
    /// The system's are hundreds of files, whose reading is most of a start.
    Bundled,
    /// The system's too.
    System,
}

/// The clients of all routes.
#[derive(Debug)]
pub(super) struct Http {
    /// One for each kind of route.
    pairs: Vec<Pair>,
}

/// What routes have in common that share a client: both are properties of the client, not of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    /// Whether the server is on this machine: a proxy knows another machine by that name, and would be shown what is
    /// sent.
    here: bool,
    /// The time to connect.
    connect: Duration,
}

impl Kind {
    fn of(route: &config::Route) -> Self {
        Self {
            here: route.is_here(),
            connect: route.timeouts.connect,
        }
    }
}

/// A client that keeps connections for the next request, and one that makes a new one for each.
#[derive(Debug)]
struct Pair {
    recipe: Recipe,
    keeping: reqwest::Client,
    /// Made when it is first needed: reading the system's authorities takes time.
    fresh: OnceLock<Option<reqwest::Client>>,
}

/// How a client is made.
#[derive(Debug)]
struct Recipe {
    kind: Kind,
    ca_file: Option<PathBuf>,
    authorities: Authorities,
}

impl Recipe {
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
    fn new(config: &Config, kind: Kind) -> Result<Self, ClientError> {
        let mut routes = config.routes.iter().filter(|route| Kind::of(route) == kind);
        let recipe = Recipe {
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
    /// The clients for these settings.
    pub(super) fn new(config: &Config) -> Result<Self, ClientError> {
        let mut pairs: Vec<Pair> = Vec::new();
        for kind in config.routes.iter().map(Kind::of) {
            if pairs.iter().all(|pair| pair.recipe.kind != kind) {
                pairs.push(Pair::new(config, kind)?);
            }
        }
        Ok(Self { pairs })
    }

    /// The client for a route.
    pub(super) fn of(&self, route: &config::Route) -> &reqwest::Client {
        &self.pair(route).keeping
    }

    /// The client for a route whose calls have a new connection each.
    pub(super) fn fresh(&self, route: &config::Route) -> &reqwest::Client {
        let pair = self.pair(route);
        let fresh = pair.fresh.get_or_init(|| pair.recipe.client(0).ok());
        fresh.as_ref().unwrap_or(&pair.keeping)
    }

    fn pair(&self, route: &config::Route) -> &Pair {
        let kind = Kind::of(route);
        let pair = self.pairs.iter().find(|pair| pair.recipe.kind == kind);
        // Every route that is called is one of the settings.
        pair.unwrap_or(&self.pairs[0])
    }
}

/// The client with everything but its trust.
///
/// HTTP/1.1 only: a stream then has a connection of its own, and a slow one cannot hold back others on
/// the same connection. Redirects are not followed, so that a key never travels to another host.
fn builder(connect: Duration, idle_connections: usize) -> impl Fn() -> reqwest::ClientBuilder {
    move || {
        reqwest::Client::builder()
            .user_agent(concat!("nova3/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(connect)
            .pool_max_idle_per_host(idle_connections)
            .pool_idle_timeout(KEPT_IDLE)
            .connector_layer(Watched)
            .redirect(Policy::none())
            // Compression is not asked for, since a proxy may hold a stream back for it; one that comes is undone.
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
    // Only the first call installs it; a later one finds the same provider in place.
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
        // An image without any system file gets the bundled ones alone.
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
