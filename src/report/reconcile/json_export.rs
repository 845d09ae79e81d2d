//! Exports of OpenAI's usage and costs API: pages of buckets, each with the results of a time.

use std::io::Read;

use serde::Deserialize;
use serde_json::Value;

use super::csv_export::{money, of_usd};
use super::{ExportCounts, ExportError, ProviderExport, day};
use crate::domain::printable::printable;
use crate::domain::usage::CostSum;

/// A page. Other fields are left out.
#[derive(Debug, Deserialize)]
struct RawPage {
    #[serde(default)]
    data: Vec<RawBucket>,
}

#[derive(Debug, Deserialize)]
struct RawBucket {
    start_time: i64,
    #[serde(default)]
    results: Vec<RawUsageResult>,
}

/// A result of usage or of costs.
#[derive(Debug, Deserialize)]
struct RawUsageResult {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    line_item: Option<String>,
    #[serde(default)]
    num_model_requests: Option<u64>,
    #[serde(default)]
    input_tokens: Option<u64>,
    #[serde(default)]
    input_cached_tokens: Option<u64>,
    #[serde(default)]
    output_tokens: Option<u64>,
    #[serde(default)]
    amount: Option<RawAmount>,
}

#[derive(Debug, Deserialize)]
struct RawAmount {
    value: Value,
    #[serde(default)]
    currency: Option<String>,
}

/// Reads one page, pages one after the other, or a list of pages.
pub(super) fn read(from: &mut dyn Read) -> Result<ProviderExport, ExportError> {
    let mut export = ProviderExport::default();
    let mut without_model = 0_u64;
    let pages = serde_json::Deserializer::from_reader(from).into_iter::<PageOrPages>();
    for pages in pages {
        for page in pages.map_err(fault)?.0 {
            for bucket in page.data {
                add(&mut export, bucket, &mut without_model)?;
            }
        }
    }
    if export.groups.is_empty() {
        let message = if without_model > 0 {
            "its results name no model (ask the API for `group_by=model`, and the costs for `group_by=line_item`)"
        } else {
            "it has no `data` with `results`, as OpenAI's usage and costs API answers"
        };
        return Err(ExportError::Form(message.to_owned()));
    }
    if without_model > 0 {
        export.notes.push(format!(
            "{without_model} results without a model were left out (ask the API for `group_by=model`)"
        ));
    }
    Ok(export)
}

/// One page, or a list of pages.
struct PageOrPages(Vec<RawPage>);

impl<'de> Deserialize<'de> for PageOrPages {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = PageOrPages;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a page or a list of pages")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let page = RawPage::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(PageOrPages(vec![page]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut pages = Vec::new();
                while let Some(page) = seq.next_element()? {
                    pages.push(page);
                }
                Ok(PageOrPages(pages))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

fn fault(error: serde_json::Error) -> ExportError {
    if error.is_io() {
        return ExportError::Io(error.into());
    }
    ExportError::Form(format!(
        "line {}, column {}: it is no answer of OpenAI's usage or costs API",
        error.line(),
        error.column()
    ))
}

fn add(export: &mut ProviderExport, bucket: RawBucket, without_model: &mut u64) -> Result<(), ExportError> {
    let Some(day) = day::of_unix(bucket.start_time) else {
        let start = bucket.start_time;
        return Err(ExportError::Form(format!("`start_time` {start} is no time")));
    };
    for result in bucket.results {
        let has_tokens = result.input_tokens.is_some() || result.output_tokens.is_some();
        // A line item is a model and what of it was used: `gpt-4o-2024-08-06, input`.
        let item = result
            .line_item
            .as_deref()
            .and_then(|item| item.split(',').next());
        let Some(model) = result
            .model
            .as_deref()
            .or(item)
            .filter(|model| !model.trim().is_empty())
        else {
            *without_model += 1;
            continue;
        };
        let model = printable(model).replace(['\n', '\t'], " ");
        let cost = result.amount.as_ref().map(cost).transpose()?;
        export.has_tokens |= has_tokens;
        export.has_cost |= cost.is_some();
        let counted = ExportCounts {
            requests: result.num_model_requests.unwrap_or(0),
            input: result.input_tokens.unwrap_or(0),
            cached: result.input_cached_tokens.unwrap_or(0),
            output: result.output_tokens.unwrap_or(0),
            cost: cost.unwrap_or_default(),
        };
        export.add(&day, &model, counted)?;
    }
    Ok(())
}

fn cost(amount: &RawAmount) -> Result<CostSum, ExportError> {
    let is_usd = amount
        .currency
        .as_deref()
        .is_none_or(|name| name.eq_ignore_ascii_case("usd"));
    let cost = match &amount.value {
        Value::Number(number) => number.as_f64().and_then(of_usd),
        Value::String(text) => money(text),
        _ => None,
    };
    cost.filter(|_| is_usd)
        .ok_or_else(|| ExportError::Form("an `amount` is no cost in dollars".to_owned()))
}
