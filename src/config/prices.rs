//! Converts the prices of a route's settings to a formula.

use super::error::ConfigError;
use super::raw::{RawHours, RawPrice, RawRoute, RawStep};
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
    Ok(Some(Price {
        input: of("input_usd_per_million", input)?,
        cached_input: of("cached_input_usd_per_million", cached)?,
        cache_write: of("cache_write_usd_per_million", written)?,
        output: of("output_usd_per_million", output)?,
        steps: steps(&key("price.steps"), more)?,
        hours: hours(&key("price.hours"), more)?,
        tiers: tiers(&key("price.tiers"), more)?,
    }))
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
fn millionths(number: f64) -> Option<u64> {
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
