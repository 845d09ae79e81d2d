//! The prices of routes: where they come from, and those that a cost cap needs.

use anyhow::Result;

use super::args::Global;
use super::exit::{Exit, decided};
use crate::config::{Config, RouteSettings, SETTINGS};
use crate::observe::tell;
use crate::report::PriceSource;

/// Refuses a cost cap when a route has no price, because a line may name any route.
pub(super) fn require_prices(config: &Config) -> Result<()> {
    // The lines of a route without a model name their models. A model without a price fails its own request.
    let has_price = |route: &RouteSettings| match &route.model {
        Some(model) => route.prices.of(model).is_some(),
        None => route.price().is_some() || route.prices.has_listed(),
    };
    let unpriced = config.routes.iter().find(|route| !has_price(route));
    match unpriced.filter(|_| config.conditions.max_cost.is_some()) {
        Some(route) => Err(decided(
            Exit::Usage,
            format!(
                "`--max-cost` needs a price for every route, but route `{0}` has no price{1} (set \
                 `input_usd_per_million` and `output_usd_per_million` in `[routes.{0}]`)",
                route.name,
                unlisted(route)
            ),
        )),
        None => Ok(()),
    }
}

/// Says that the table of prices knows the provider and not the model.
fn unlisted(route: &RouteSettings) -> String {
    match &route.model {
        Some(model) if route.prices.has_listed() => {
            format!(", and the {} does not have model `{model}`", route.prices.table())
        }
        _ => String::new(),
    }
}

/// Returns where the price of each route's model comes from.
pub(super) fn sources(routes: &[RouteSettings]) -> Vec<PriceSource> {
    let source = |route: &RouteSettings| PriceSource {
        route: route.name.clone(),
        source: route
            .prices
            .source_of(route.model.as_deref().unwrap_or_default())
            .map(str::to_owned),
    };
    routes.iter().map(source).collect()
}

/// Says on stderr which routes the cost cap counts with prices of a table.
pub(super) fn tell_listed(config: &Config, global: &Global) {
    if config.conditions.max_cost.is_none() || global.quiet {
        return;
    }
    for price in sources(&config.routes) {
        if let Some(table) = price.source.filter(|source| source != SETTINGS) {
            tell(&format!(
                "`--max-cost` counts route `{}` with the {table} (a price in its settings comes first)",
                price.route
            ));
        }
    }
}
