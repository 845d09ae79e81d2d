//! The settings of a run. With `--mock`, a mock server in this process replaces every route and search provider.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::setup;
use crate::config::{Config, Flags, RouteSettings, StoreAddress, process_env};
use crate::mock::{self, Latency, MockConfig};
use crate::search::{CACHED, DEFAULT, MOCK};

/// The settings. In a rehearsal also the server that replaces every route and search provider.
pub(super) async fn settings(rehearsal: bool, flags: &Flags) -> Result<(Option<mock::Mock>, Config)> {
    if !rehearsal {
        return Ok((None, Config::load(flags, &process_env)?));
    }
    let config = MockConfig {
        // Tokens come at the speed of a fast provider, so that a demo shows streaming and progress.
        latency: Latency {
            first_token: Duration::from_millis(120),
            per_token: Duration::from_millis(2),
            tail: 0.02,
        },
        ..MockConfig::default()
    };
    let server = mock::start(config)
        .await
        .context("failed to start the mock server")?;
    let config = offline_settings(flags, &server.base_url())?;
    Ok((Some(server), config))
}

/// The base URL of a rehearsal that sends nothing.
pub(super) const NOWHERE: &str = "http://127.0.0.1:9/v1";

/// The settings of a rehearsal whose server has this address. Nothing is sent.
pub(super) fn offline_settings(flags: &Flags, base_url: &str) -> Result<Config> {
    let mut config = Config::load_without_keys(flags, &process_env)?;
    // Each route leads to the mock and keeps its name, because lines and agents may ask for any route.
    for route in &mut config.routes {
        let mock = RouteSettings::mock(base_url, route)?;
        // `Route::mock` renames the route that has no configured name.
        for chain in &mut config.chains {
            if chain.name == route.name && chain.routes == [route.name.as_str()] {
                chain.name.clone_from(&mock.name);
            }
            for name in chain.routes.iter_mut().filter(|name| **name == route.name) {
                name.clone_from(&mock.name);
            }
        }
        *route = mock;
    }
    config.search.providers = [MOCK, CACHED, DEFAULT].map(str::to_owned).to_vec();
    config.search.rehearsal = true;
    if flags.store.is_none() {
        config.store = StoreAddress::File(PathBuf::from(setup::MOCK_STORE));
    }
    Ok(config)
}
