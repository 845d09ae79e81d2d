//! `--mock`: the settings of a run, and of one that a mock server in this process answers.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::setup;
use crate::config::{Config, Flags, Route, StoreAddress, process_env};
use crate::mock::{self, Latency, MockConfig};

/// The settings; in a rehearsal also the server that stands in for every route.
pub(super) async fn settings(rehearsal: bool, flags: &Flags) -> Result<(Option<mock::Mock>, Config)> {
    if !rehearsal {
        return Ok((None, Config::load(flags, &process_env)?));
    }
    let config = MockConfig {
        // A demo that answers at once shows nothing: tokens come as from a quick provider.
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
    let mut config = Config::load_without_keys(flags, &process_env)?;
    // Every route leads to the mock under its own name: lines and agents may ask for any of them.
    for route in &mut config.routes {
        let mock = Route::mock(&server.base_url(), route)?;
        // The route that nobody named has another name now.
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
    if flags.store.is_none() {
        config.store = StoreAddress::File(PathBuf::from(setup::MOCK_STORE));
    }
    Ok((Some(server), config))
}
