//! Converts the prices of a route's settings to a formula.

use super::RouteSettings;
use super::error::ConfigError;
use super::origin::{Layers, Source};
use super::price_table::{ListedPrices, PriceTable, PriceText};
use super::raw::{RawConfig, RawHours, RawPrice, RawRoute, RawStep};
use crate::domain::prices::{DAY, Factor, Hours, Price, PriceStep};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Returns the price of a route, if the settings have one.
pub(super) fn price(name: &str, raw: &RawRoute) -> Result<Option<Price>, ConfigError> {
    let key = |field: &str| format!("routes.{name}.{field}");
    let (input, output) = match (raw.input_usd_per_million, raw.output_usd_per_million) {
        (Some(input), Some(output)) => (input, output),
        (None, None)
            if raw.cached_input_usd_per_million.is_none()
                && raw.cache_write_usd_per_million.is_none()
                && raw.price.is_none() =>
        {
            return Ok(None);
        }
        _ => {
            return Err(ConfigError::Missing {
                key: key("input_usd_per_million` or `output_usd_per_million"),
                cure: "a price needs both".to_owned(),
            });
        }
    };
    let of = |field: &str, usd: f64| {
        // One dollar per million tokens is one million picodollars per token.
        millionths(usd).ok_or_else(|| ConfigError::value(key(field), usd, "0 to 1000000 dollars"))
    };
    let cached = raw.cached_input_usd_per_million.unwrap_or(input);
    let written = raw.cache_write_usd_per_million.unwrap_or(input);
    let more = raw.price.as_ref();
    let amounts = Price {
        input: of("input_usd_per_million", input)?,
        cached_input: of("cached_input_usd_per_million", cached)?,
        cache_write: of("cache_write_usd_per_million", written)?,
        output: of("output_usd_per_million", output)?,
        ..Price::default()
    };
    with_factors(&amounts, &key("price"), more).map(Some)
}

/// Returns the price with its steps, hours and tiers. `key` is the key of the part that has them.
pub(super) fn with_factors(
    amounts: &Price,
    key: &str,
    more: Option<&RawPrice>,
) -> Result<Price, ConfigError> {
    Ok(Price {
        steps: steps(&format!("{key}.steps"), more)?,
        hours: hours(&format!("{key}.hours"), more)?,
        tiers: tiers(&format!("{key}.tiers"), more)?,
        ..amounts.clone()
    })
}

/// Gives the routes without prices of their own those of the table, and lists the price of each route with its source.
pub(super) fn assign(
    routes: &mut [RouteSettings],
    written: &RawConfig,
    layers: &mut Layers,
) -> Result<(), ConfigError> {
    let file = written.prices.file.as_deref();
    if let Some(path) = file {
        layers.note("prices.file", path.display(), layers.file_source());
    }
    // The built-in table is not read if no route can need it. It has no price for a server on this machine.
    let needs = |route: &RouteSettings| route.prices.own.is_none();
    if file.is_some() || routes.iter().any(|route| needs(route) && !route.is_here()) {
        let table = PriceTable::load(file)?;
        for route in routes.iter_mut().filter(|route| needs(route)) {
            let host = route.endpoint.host_str().unwrap_or_default();
            route.prices.listed = table.of_host(host);
        }
    }
    for route in routes {
        let key = format!("routes.{}.price", route.name);
        let model = route.model.as_deref().unwrap_or_default();
        match (&route.prices.own, route.prices.listed.of(model)) {
            (Some(own), _) => layers.note(&key, PriceText(own), layers.file_source()),
            (None, Some(listed)) => {
                let table = route.prices.listed.table();
                let source = Source::Prices(format!("{table} ({})", listed.source));
                layers.note(&key, PriceText(&listed.price), source);
            }
            (None, None) => {}
        }
    }
    Ok(())
}

/// The source of a price that the settings of its route have.
pub const SETTINGS: &str = "settings";

/// The prices of a route: its own, or those of the table for its host.
#[derive(Debug, Clone, Default)]
pub struct RoutePrices {
    own: Option<Price>,
    listed: ListedPrices,
}

impl RoutePrices {
    /// The route has this price for every model.
    pub fn own(price: Price) -> Self {
        Self {
            own: Some(price),
            ..Self::default()
        }
    }

    /// The route has this price of the settings, if there is one.
    pub(super) fn written(own: Option<Price>) -> Self {
        Self {
            own,
            ..Self::default()
        }
    }

    /// Returns the price of a model, if it is known.
    pub fn of(&self, model: &str) -> Option<&Price> {
        let listed = || self.listed.of(model).map(|listed| &listed.price);
        self.own.as_ref().or_else(listed)
    }

    /// Whether the table has prices of some models of the route's host.
    pub fn has_listed(&self) -> bool {
        self.listed.are_there()
    }

    /// The name of the table, with its date.
    pub fn table(&self) -> &str {
        self.listed.table()
    }

    /// Returns where the price of a model is from, as text for people: `settings`, or a table with its date.
    pub fn source_of(&self, model: &str) -> Option<&str> {
        if self.own.is_some() {
            return Some(SETTINGS);
        }
        self.listed.of(model).map(|_| self.listed.table())
    }
}

fn steps(key: &str, raw: Option<&RawPrice>) -> Result<Vec<PriceStep>, ConfigError> {
    let raw = raw.map_or(&[][..], |raw| &raw.steps);
    let step = |raw: &RawStep| {
        Ok(PriceStep {
            above: raw.above_input_tokens,
            input: factor(&format!("{key}.input_factor"), raw.input_factor)?,
            output: factor(&format!("{key}.output_factor"), raw.output_factor)?,
        })
    };
    let mut steps = raw.iter().map(step).collect::<Result<Vec<_>, _>>()?;
    steps.sort_by_key(|step| step.above);
    match steps.windows(2).find(|pair| pair[0].above == pair[1].above) {
        Some(pair) => Err(ConfigError::value(
            format!("{key}.above_input_tokens"),
            pair[0].above,
            "each size once",
        )),
        None => Ok(steps),
    }
}

fn hours(key: &str, raw: Option<&RawPrice>) -> Result<Vec<Hours>, ConfigError> {
    let raw = raw.map_or(&[][..], |raw| &raw.hours);
    let hours = |raw: &RawHours| {
        let at = |field: &str, text: &str| {
            let expected = "a time of the day in UTC, such as `16:30`";
            minute(text).ok_or_else(|| ConfigError::value(format!("{key}.{field}"), text, expected))
        };
        Ok(Hours {
            days: days(&format!("{key}.days"), raw.days.as_deref())?,
            from: at("from", &raw.from)?,
            to: at("to", &raw.to)?,
            factor: factor(&format!("{key}.factor"), raw.factor)?,
        })
    };
    raw.iter().map(hours).collect()
}

fn days(key: &str, named: Option<&[String]>) -> Result<[bool; 7], ConfigError> {
    let Some(named) = named else {
        return Ok([true; 7]);
    };
    let mut days = [false; 7];
    for name in named {
        let day = DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
        let day = day.ok_or_else(|| ConfigError::value(key, name, format!("one of {}", DAYS.join(", "))))?;
        days[day] = true;
    }
    Ok(days)
}

fn tiers(key: &str, raw: Option<&RawPrice>) -> Result<Vec<(String, Factor)>, ConfigError> {
    let named = raw.into_iter().flat_map(|raw| &raw.tiers);
    named
        .map(|(name, times)| {
            Ok((
                name.to_ascii_lowercase(),
                factor(&format!("{key}.{name}"), *times)?,
            ))
        })
        .collect()
}

fn factor(key: &str, times: f64) -> Result<Factor, ConfigError> {
    millionths(times)
        .map(Factor)
        .filter(|factor| *factor <= Factor::MOST)
        .ok_or_else(|| ConfigError::value(key, times, "0 to 1000 times the price"))
}

fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let is_number = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(hours) || !is_number(minutes) {
        return None;
    }
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    Some(hours * 60 + minutes).filter(|minute| minutes < 60 && *minute <= DAY)
}

/// Converts a number of dollars or a factor to millionths.
pub(super) fn millionths(number: f64) -> Option<u64> {
    (0.0..=1e6).contains(&number).then(|| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 10^12 by the check above"
        )]
        let whole = (number * 1e6).round() as u64;
        whole
    })
}
