//! The provider and the server behind a route, as a trace names them.

use std::collections::HashMap;

use crate::config::{Dialect, RouteSettings};
use crate::domain::printable::printable;

/// The provider and the server of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteName {
    /// The provider by its name in the GenAI conventions.
    pub provider: String,
    /// The host of the server.
    pub host: String,
    /// Its port.
    pub port: Option<u16>,
}

/// The providers and servers of routes by name.
#[derive(Debug, Clone, Default)]
pub struct RouteNames(HashMap<String, RouteName>);

/// Hosts and the names of their providers in the conventions (`gen_ai.provider.name`).
const PROVIDERS: &[(&str, &str)] = &[
    ("api.openai.com", "openai"),
    ("openai.azure.com", "azure.ai.openai"),
    ("services.ai.azure.com", "azure.ai.inference"),
    ("api.anthropic.com", "anthropic"),
    ("api.deepseek.com", "deepseek"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("api.groq.com", "groq"),
    ("api.mistral.ai", "mistral_ai"),
    ("api.perplexity.ai", "perplexity"),
    ("api.x.ai", "x_ai"),
    ("api.cohere.com", "cohere"),
    ("api.moonshot.cn", "moonshot_ai"),
    ("api.moonshot.ai", "moonshot_ai"),
    ("amazonaws.com", "aws.bedrock"),
];

impl RouteNames {
    /// Returns the names of these routes.
    pub fn of(routes: &[RouteSettings]) -> Self {
        let name = |route: &RouteSettings| {
            let host = route.endpoint.host_str().unwrap_or_default().to_owned();
            let known = PROVIDERS.iter().find(|(known, _)| {
                let before = host.strip_suffix(known);
                before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
            });
            // A server that speaks a dialect counts as its provider, as the conventions ask for.
            let of_dialect = match route.dialect {
                Dialect::OpenAi => "openai",
                Dialect::Anthropic => "anthropic",
            };
            let name = RouteName {
                provider: known.map_or(of_dialect, |(_, name)| name).to_owned(),
                port: route.endpoint.port_or_known_default(),
                host,
            };
            (route.name.clone(), name)
        };
        Self(routes.iter().map(name).collect())
    }

    pub(super) fn get(&self, route: &str) -> Option<&RouteName> {
        self.0.get(route)
    }
}

/// Returns the name of a search provider, if a route in the ledger is one.
pub(super) fn search_provider(route: &str) -> Option<String> {
    route.strip_prefix("search:").map(printable)
}
