//! Chains: in which order routes are tried.

use super::error::ConfigError;
use super::origin::Layers;
use super::raw::RawConfig;

/// Routes in the order in which they are tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its name in settings and lines. A route alone is a chain of its own name.
    pub name: String,
    /// Names of its routes, the first choice first; never empty.
    pub routes: Vec<String>,
}

impl Chain {
    /// The chain of one route.
    pub fn of(route: &str) -> Self {
        Self {
            name: route.to_owned(),
            routes: vec![route.to_owned()],
        }
    }
}

/// The chain that is taken where several things could be, and nothing says which.
const DEFAULT_NAME: &str = "default";

/// The chains as they are written, each of routes that there are.
pub(super) fn written(written: &RawConfig, layers: &mut Layers) -> Result<Vec<Chain>, ConfigError> {
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
        chains.push(Chain {
            name: name.clone(),
            routes: routes.clone(),
        });
    }
    Ok(chains)
}

/// The chain that is taken where nobody names one, if the settings leave no doubt.
pub(super) fn only(chains: &[Chain]) -> Option<&Chain> {
    match chains {
        [only] => Some(only),
        several => several.iter().find(|chain| chain.name == DEFAULT_NAME),
    }
}
