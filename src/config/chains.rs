//! Chains: the order in which routes are tried.

use super::error::ConfigError;
use super::origin::Layers;
use super::raw::RawConfig;

/// An ordered list of routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainSettings {
    /// Its name in settings and input lines. Each route is also a chain of one, under its own name.
    pub name: String,
    /// Names of its routes, in the order in which they are tried. Never empty.
    pub routes: Vec<String>,
}

impl ChainSettings {
    /// Returns the chain of one route.
    pub fn of(route: &str) -> Self {
        Self {
            name: route.to_owned(),
            routes: vec![route.to_owned()],
        }
    }
}

/// The chain that is used when there are several and none is named.
const DEFAULT_NAME: &str = "default";

/// Returns the chains of the settings file. Every route that they name must exist.
pub(super) fn written(written: &RawConfig, layers: &mut Layers) -> Result<Vec<ChainSettings>, ConfigError> {
    let mut chains = Vec::with_capacity(written.chains.len());
    for (name, routes) in &written.chains {
        let key = format!("chains.{name}");
        if written.routes.contains_key(name) {
            return Err(ConfigError::value(key, name, "a name that no route has"));
        }
        if routes.is_empty() {
            return Err(ConfigError::value(key, "[]", "one route or more"));
        }
        for (place, route) in routes.iter().enumerate() {
            if !written.routes.contains_key(route) {
                let known: Vec<String> = written.routes.keys().map(|name| format!("`{name}`")).collect();
                let expected = format!("routes of `[routes]`: {}", known.join(", "));
                return Err(ConfigError::value(key, route, expected));
            }
            if routes[..place].contains(route) {
                return Err(ConfigError::value(key, route, "each route once"));
            }
        }
        layers.note(&key, routes.join(" → "), layers.file_source());
        chains.push(ChainSettings {
            name: name.clone(),
            routes: routes.clone(),
        });
    }
    Ok(chains)
}

/// Returns the chain that is used when none is named: the only one, or the one called `default`.
pub(super) fn only(chains: &[ChainSettings]) -> Option<&ChainSettings> {
    match chains {
        [only] => Some(only),
        several => several.iter().find(|chain| chain.name == DEFAULT_NAME),
    }
}
