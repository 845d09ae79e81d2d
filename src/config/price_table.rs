//! The table of prices for routes that have no prices of their own: built in, or a file of the user.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::error::ConfigError;
use super::prices;
use super::raw::{RawHours, RawPrice, RawStep};
use crate::domain::prices::{Factor, Price};

/// The built-in table. `[prices] file` names another one in the same form.
pub const PRICE_TABLE: &str = include_str!("price_table.toml");

/// The largest file of prices.
const LARGEST: u64 = 4 << 20;

/// A table as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPriceTable {
    date: String,
    #[serde(default)]
    per_dollar: BTreeMap<String, f64>,
    #[serde(default)]
    provider: Vec<RawPriceProvider>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPriceProvider {
    name: String,
    hosts: Vec<String>,
    #[serde(default)]
    currency: Option<String>,
    source: String,
    models: Vec<RawModelPrice>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModelPrice {
    model: String,
    input: f64,
    #[serde(default)]
    cached_input: Option<f64>,
    #[serde(default)]
    cache_write: Option<f64>,
    output: f64,
    #[serde(default)]
    steps: Vec<RawStep>,
    #[serde(default)]
    hours: Vec<RawHours>,
    #[serde(default)]
    tiers: BTreeMap<String, f64>,
    #[serde(default)]
    source: Option<String>,
}

/// The name of a model, or the beginning of names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct ModelPattern {
    beginning: String,
    is_whole: bool,
}

impl ModelPattern {
    fn read(text: &str) -> Option<Self> {
        let beginning = text.strip_suffix('*');
        let pattern = Self {
            beginning: beginning.unwrap_or(text).to_owned(),
            is_whole: beginning.is_none(),
        };
        let is_plain = !pattern.beginning.is_empty() && !pattern.beginning.contains('*');
        is_plain.then_some(pattern)
    }

    fn fits(&self, model: &str) -> bool {
        if self.is_whole {
            self.beginning == model
        } else {
            model.starts_with(&self.beginning)
        }
    }
}

/// The price of a model, with the page that it was taken from.
#[derive(Debug, Clone)]
pub struct SourcedPrice {
    /// The price.
    pub price: Price,
    /// The page, or the name of the table that it was taken from.
    pub source: String,
}

/// The models of one host with their prices.
#[derive(Debug, Default)]
struct HostPrices {
    models: Vec<(ModelPattern, SourcedPrice)>,
}

/// Prices by host and model.
#[derive(Debug, Default)]
pub struct PriceTable {
    /// The name for people: `built-in table of 2026-11-30`.
    name: String,
    hosts: BTreeMap<String, Arc<HostPrices>>,
}

impl PriceTable {
    /// Reads the table that is in force: this file, or else the built-in table.
    pub(super) fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = file else {
            return Self::read(PRICE_TABLE, "built-in table").map_err(|reason| ConfigError::File {
                path: "the built-in prices".into(),
                reason,
            });
        };
        let fault = |reason: String| ConfigError::File {
            path: path.to_path_buf(),
            reason,
        };
        let mut text = String::new();
        let opened = File::open(path).map_err(|error| fault(error.to_string()))?;
        let read = opened.take(LARGEST + 1).read_to_string(&mut text);
        read.map_err(|error| fault(error.to_string()))?;
        if text.len() as u64 > LARGEST {
            return Err(fault(format!("it is larger than {} MB", LARGEST >> 20)));
        }
        Self::read(&text, &format!("table `{}`", path.display())).map_err(fault)
    }

    /// Reads a table. `name` says for people which one it is.
    fn read(text: &str, name: &str) -> Result<Self, String> {
        let raw: RawPriceTable = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let mut table = Self {
            name: format!("{name} of {}", date(&raw.date)?),
            hosts: BTreeMap::new(),
        };
        for provider in &raw.provider {
            let per_dollar = match &provider.currency {
                None => 1.0,
                Some(currency) => *raw
                    .per_dollar
                    .get(currency)
                    .filter(|rate| (1e-3..=1e6).contains(*rate))
                    .ok_or_else(|| {
                        format!(
                            "{}: `per_dollar.{currency}` is missing or not a rate",
                            provider.name
                        )
                    })?,
            };
            let prices = Arc::new(host_prices(provider, per_dollar)?);
            for host in &provider.hosts {
                if table
                    .hosts
                    .insert(host.to_ascii_lowercase(), Arc::clone(&prices))
                    .is_some()
                {
                    return Err(format!("host `{host}` is there twice"));
                }
            }
        }
        Ok(table)
    }

    /// Returns the prices of a host.
    pub(super) fn of_host(&self, host: &str) -> ListedPrices {
        ListedPrices {
            table: self.name.clone(),
            host: self.hosts.get(host).cloned().unwrap_or_default(),
        }
    }
}

/// The prices of a route's host.
#[derive(Debug, Clone, Default)]
pub struct ListedPrices {
    table: String,
    host: Arc<HostPrices>,
}

impl ListedPrices {
    /// Returns the price of a model. An exact name comes first, then the longest beginning.
    pub fn of(&self, model: &str) -> Option<&SourcedPrice> {
        let fitting = self.host.models.iter().filter(|(pattern, _)| pattern.fits(model));
        let best = fitting.max_by_key(|(pattern, _)| (pattern.is_whole, pattern.beginning.len()));
        best.map(|(_, price)| price)
    }

    /// Whether the table has prices for this host.
    pub fn are_there(&self) -> bool {
        !self.host.models.is_empty()
    }

    /// The name of the table.
    pub fn table(&self) -> &str {
        &self.table
    }
}

/// A price in a few words: dollars per million tokens.
pub(super) struct PriceText<'a>(pub(super) &'a Price);

impl fmt::Display for PriceText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One picodollar a token is one millionth of a dollar for a million tokens.
        #[expect(clippy::cast_precision_loss, reason = "a display value")]
        let usd = |picodollars: u64| picodollars as f64 / 1e6;
        let price = self.0;
        write!(f, "${} in", usd(price.input))?;
        if price.cached_input != price.input {
            write!(f, ", ${} cached", usd(price.cached_input))?;
        }
        if price.cache_write != price.input {
            write!(f, ", ${} cache write", usd(price.cache_write))?;
        }
        write!(f, ", ${} out", usd(price.output))?;
        for (tier, Factor(millionths)) in &price.tiers {
            write!(f, ", {tier} x{}", usd(*millionths))?;
        }
        if !price.steps.is_empty() {
            f.write_str(", more for large prompts")?;
        }
        if !price.hours.is_empty() {
            f.write_str(", more at some hours")?;
        }
        Ok(())
    }
}

/// Checks a date such as `2026-11-30`.
fn date(text: &str) -> Result<&str, String> {
    let is_date = text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok();
    is_date
        .then_some(text)
        .ok_or_else(|| format!("`date` is `{text}`: expected a date such as `2026-11-30`"))
}

fn host_prices(provider: &RawPriceProvider, per_dollar: f64) -> Result<HostPrices, String> {
    let mut models: Vec<(ModelPattern, SourcedPrice)> = Vec::with_capacity(provider.models.len());
    for raw in &provider.models {
        let key = format!("{}: `{}`", provider.name, raw.model);
        let pattern = ModelPattern::read(&raw.model)
            .ok_or_else(|| format!("{key}: expected a name, or its beginning with a `*` at the end"))?;
        if models.iter().any(|(known, _)| *known == pattern) {
            return Err(format!("{key} is there twice"));
        }
        let price = model_price(raw, per_dollar, &key)?;
        let source = raw.source.as_ref().unwrap_or(&provider.source).clone();
        if source.trim().is_empty() {
            return Err(format!("{key} has no source"));
        }
        models.push((pattern, SourcedPrice { price, source }));
    }
    Ok(HostPrices { models })
}

fn model_price(raw: &RawModelPrice, per_dollar: f64, key: &str) -> Result<Price, String> {
    let of = |field: &str, amount: f64| {
        prices::millionths(amount / per_dollar)
            .ok_or_else(|| format!("{key}: `{field}` is `{amount}`: expected 0 to 1000000 dollars"))
    };
    let more = RawPrice {
        steps: raw.steps.clone(),
        hours: raw.hours.clone(),
        tiers: raw.tiers.clone(),
    };
    let amounts = Price {
        input: of("input", raw.input)?,
        cached_input: of("cached_input", raw.cached_input.unwrap_or(raw.input))?,
        cache_write: of("cache_write", raw.cache_write.unwrap_or(raw.input))?,
        output: of("output", raw.output)?,
        ..Price::default()
    };
    prices::with_factors(&amounts, key, Some(&more)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in() -> RawPriceTable {
        toml::from_str(PRICE_TABLE).expect("a table")
    }

    #[test]
    fn the_built_in_table_is_whole() {
        let table =
            PriceTable::load(None).expect("no host and no model is there twice, and each has a source");
        assert_eq!(table.name, "built-in table of 2026-11-30");
        for provider in built_in().provider {
            let names: Vec<&str> = provider.models.iter().map(|row| row.model.as_str()).collect();
            assert!(names.is_sorted(), "{} is sorted by model", provider.name);
            for row in &provider.models {
                let what = format!("{} {}", provider.name, row.model);
                let input = row.input;
                assert!(row.cached_input.unwrap_or(input) <= input, "{what}: cached input");
                let written = row.cache_write.unwrap_or(input);
                assert!(written >= input && written <= 2.0 * input, "{what}: cache write");
                assert!(
                    row.output >= input && row.output <= 20.0 * input,
                    "{what}: output {} for input {input}",
                    row.output
                );
                assert!(input <= 250.0, "{what}: input");
                for factor in row.tiers.values() {
                    assert!((0.25..=3.0).contains(factor), "{what}: tier {factor}");
                }
                let is_named =
                    |source: &str| source.starts_with("https://") || source.starts_with("LiteLLM ");
                assert!(
                    is_named(row.source.as_ref().unwrap_or(&provider.source)),
                    "{what}: source"
                );
            }
        }
        let names: Vec<String> = built_in()
            .provider
            .into_iter()
            .map(|provider| provider.name)
            .collect();
        assert!(
            names.is_sorted_by_key(|name| name.to_lowercase()),
            "providers are sorted: {names:?}"
        );
    }

    #[test]
    fn a_price_is_found_by_host_and_model_only() {
        let table = PriceTable::load(None).expect("a table");
        let openai = table.of_host("api.openai.com");
        let mini = &openai.of("gpt-4.1-mini").expect("a price").price;
        assert_eq!(
            (mini.input, mini.cached_input, mini.output),
            (400_000, 100_000, 1_600_000)
        );
        assert!(openai.of("gpt-4.1-min").is_none() && openai.of("").is_none());
        assert!(table.of_host("localhost").of("gpt-4.1-mini").is_none());
        assert!(!table.of_host("api.openai.com.evil.example").are_there());
        let zhipu = table.of_host("open.bigmodel.cn");
        let glm = &zhipu.of("glm-5.3").expect("a price").price;
        assert_eq!(glm.output, 4_000_000, "28 yuan at 7 for a dollar");
    }

    #[test]
    fn the_most_exact_pattern_is_taken() {
        let text = "date = \"2026-01-02\"\n[[provider]]\nname = \"P\"\nhosts = [\"H.example\"]\nsource = \"s\"\nmodels = [\n\
                    { model = \"a*\", input = 1, output = 1 },\n{ model = \"a-b*\", input = 2, output = 2 },\n\
                    { model = \"a-b\", input = 3, output = 3 },\n]\n";
        let table = PriceTable::read(text, "table").expect("a table");
        let prices = table.of_host("h.example");
        let input = |model: &str| prices.of(model).map(|found| found.price.input / 1_000_000);
        assert_eq!(
            ["a-b", "a-bc", "ac", "b"].map(input),
            [Some(3), Some(2), Some(1), None]
        );
    }

    #[test]
    fn a_bad_table_is_refused() {
        let provider = "[[provider]]\nname = \"P\"\nhosts = [\"h\"]\nsource = \"s\"\n";
        let with = |rest: &str| format!("date = \"2026-01-02\"\n{provider}{rest}");
        let row = "{ model = \"a\", input = 1, output = 1 }";
        for (text, expected) in [
            ("date = \"today\"\n".to_owned(), "expected a date such as"),
            (with(&format!("models = [{row}, {row}]")), "P: `a` is there twice"),
            (
                with("models = [{ model = \"*\", input = 1, output = 1 }]"),
                "expected a name",
            ),
            (
                with("models = [{ model = \"a\", input = -1, output = 1 }]"),
                "`input` is `-1`",
            ),
            (
                with("currency = \"CNY\"\nmodels = []"),
                "`per_dollar.CNY` is missing",
            ),
            (
                with(&format!("models = [{row}]\n{provider}models = []")),
                "host `h` is there twice",
            ),
            (
                with("models = [{ model = \"a\", input = 1, output = 1, free = true }]"),
                "unknown field `free`",
            ),
            (
                with("models = [{ model = \"a\", input = 1, output = 1, tiers = { flex = 1001 } }]"),
                "tiers.flex` is `1001`",
            ),
        ] {
            let error = PriceTable::read(&text, "t").expect_err(&text);
            assert!(error.contains(expected), "{error}");
        }
    }
}
