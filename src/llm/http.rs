//! The HTTP client: TLS roots, connection limits.

use std::path::Path;
use std::time::Duration;

use reqwest::Certificate;
use reqwest::redirect::Policy;

use super::client::ClientError;

/// Whose word on a server's certificate is taken, beside that of `http.ca_file`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Authorities {
    /// Those that come with the program: enough where every route is plain HTTP, as to a model on this machine.
    /// The system's are hundreds of files, whose reading is most of a start.
    Bundled,
    /// The system's too.
    System,
}

/// Builds the client that all routes share.
///
/// HTTP/1.1 only: a stream then has a connection of its own, and a slow one cannot hold back others on
/// the same connection. Redirects are not followed, so that a key never travels to another host.
pub(super) fn build(
    connect: Duration,
    idle_connections: usize,
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
    let builder = || {
        reqwest::Client::builder()
            .user_agent(concat!("nova3/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(connect)
            .pool_max_idle_per_host(idle_connections)
            .redirect(Policy::none())
            .tcp_nodelay(true)
            .http1_only()
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
