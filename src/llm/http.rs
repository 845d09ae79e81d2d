//! The HTTP client: TLS roots, connection limits.

use std::path::Path;
use std::time::Duration;

use reqwest::Certificate;
use reqwest::redirect::Policy;

use super::client::ClientError;

/// Builds the client that all routes share.
///
/// HTTP/1.1 only: a stream then has a connection of its own, and a slow one cannot hold back others on
/// the same connection. Redirects are not followed, so that a key never travels to another host.
pub(super) fn build(
    connect: Duration,
    idle_connections: usize,
    ca_file: Option<&Path>,
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
    // The system's authorities and the bundled ones; an image without any system file gets the bundled alone.
    let merged = builder().tls_certs_merge(bundled().chain(extra.clone())).build();
    merged
        .or_else(|_| builder().tls_certs_only(bundled().chain(extra)).build())
        .map_err(|error| ClientError::Setup {
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
