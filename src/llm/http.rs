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
    /// For servers on this machine: a proxy knows another machine by that name, and would be shown what is sent.
    here: Pair,
    elsewhere: Pair,
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
    connect: Duration,
    ca_file: Option<PathBuf>,
    authorities: Authorities,
    /// Whether its servers are on this machine.
    here: bool,
}

impl Recipe {
    fn client(&self, idle_connections: usize) -> Result<reqwest::Client, ClientError> {
        let builder = builder(self.connect, idle_connections);
        let builder = move || {
            if self.here {
                builder().no_proxy()
            } else {
                builder()
            }
        };
        build(&builder, self.ca_file.as_deref(), self.authorities)
    }
}

impl Pair {
    fn new(config: &Config, here: bool) -> Result<Self, ClientError> {
        let mut routes = config.routes.iter().filter(|route| route.is_here() == here);
        let recipe = Recipe {
            connect: config.timeouts.connect,
            ca_file: config.ca_file.clone(),
            authorities: if routes.all(|route| route.endpoint.scheme() == "http") {
                Authorities::Bundled
            } else {
                Authorities::System
            },
            here,
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
        Ok(Self {
            here: Pair::new(config, true)?,
            elsewhere: Pair::new(config, false)?,
        })
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
        if route.is_here() {
            &self.here
        } else {
            &self.elsewhere
        }
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
