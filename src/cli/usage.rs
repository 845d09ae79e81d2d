//! `nova3 usage`.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::args::{Global, UsageArgs, UsageFormat};
use super::exit::{Exit, decided};
use super::{print, route_prices, setup, stores};
use crate::config::{Config, Flags, RouteSettings, process_env};
use crate::domain::ids::shortened;
use crate::report::{
    PriceSource, ProviderExport, UnpricedCalls, UsageBill, bill_csv, bill_json, bill_text, compare,
    comparison_json, comparison_text,
};
use crate::store::{Store, UsageFilter, UsageKey, UsageQuery, UsageRow};

/// The most rows of a bill, which are in memory at once.
const MOST_ROWS: usize = 100_000;

pub(super) fn main(args: &UsageArgs, global: &Global) -> Result<Exit> {
    super::runtime()?.block_on(async {
        match &args.reconcile {
            Some(file) => reconcile(args, file, global).await,
            None => bill(args, global).await,
        }
    })
}

async fn bill(args: &UsageArgs, global: &Global) -> Result<Exit> {
    let by = keys(&args.by)?;
    let (since, until) = (
        day(args.since.as_deref(), "--since")?,
        day(args.until.as_deref(), "--until")?,
    );
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        let message = format!("`--since` {since} is after `--until` {until}");
        return Err(decided(Exit::Usage, message));
    }
    let from = stores::to_read_from(&args.from, global).await?;
    let store = &*from.store;
    let run = match args.run.as_deref() {
        Some(name) => Some(setup::find_run(store, Some(name)).await?.id),
        None => None,
    };
    let filter = UsageFilter {
        run,
        user: args.user.clone(),
        since: since.map(begin).transpose()?,
        until: until.map(end).transpose()?,
    };
    let rows = rows(store, by.clone(), filter.clone()).await?;
    if rows.is_empty() || rows.iter().all(|row| row.sums.calls == 0) {
        return Err(decided(Exit::Nothing, "the store holds no such call"));
    }
    let causes = rows_by(
        store,
        vec![UsageKey::Cause, UsageKey::Route, UsageKey::Model],
        filter,
    )
    .await?;
    let routes = routes(global);
    let mut bill = UsageBill::new(by, rows, &causes);
    bill.unpriced = unpriced(&causes, &routes);
    bill.prices = prices(&causes, &routes);
    bill.filter = filter_in_words(args);
    bill.replica_age_s = from.age.map(|age| age.as_secs_f64());
    let text = match args.format {
        UsageFormat::Table => bill_text(&bill).into_bytes(),
        UsageFormat::Csv => bill_csv(&bill).context("failed to write CSV")?,
        UsageFormat::Json => format!("{}\n", bill_json(&bill)).into_bytes(),
    };
    print(&text)?;
    Ok(Exit::Good)
}

/// Compares the ledger with the export. Only the days of the export are read.
async fn reconcile(args: &UsageArgs, file: &Path, global: &Global) -> Result<Exit> {
    if args.format == UsageFormat::Csv {
        let message = "`--reconcile` prints a table or `--format json`";
        return Err(decided(Exit::Usage, message));
    }
    let bad = |reason: String| decided(Exit::BadInput, format!("`{}`: {reason}", file.display()));
    let opened = File::open(file).map_err(|error| bad(error.to_string()))?;
    let export = ProviderExport::read(opened).map_err(|error| bad(error.to_string()))?;
    let Some((first, last)) = export.days() else {
        return Err(bad("it has no row with a day and a model".to_owned()));
    };
    let (first, last) = (day(Some(first), "day")?, day(Some(last), "day")?);
    let filter = UsageFilter {
        since: first.map(begin).transpose()?,
        until: last.map(end).transpose()?,
        ..UsageFilter::default()
    };
    let from = stores::to_read_from(&args.from, global).await?;
    let ledger = rows(&*from.store, vec![UsageKey::Day, UsageKey::Model], filter).await?;
    let comparison = compare(export, &ledger);
    let text = match args.format {
        UsageFormat::Json => format!("{}\n", comparison_json(&comparison)),
        UsageFormat::Table | UsageFormat::Csv => comparison_text(&comparison),
    };
    print(text.as_bytes())?;
    Ok(if comparison.agrees() {
        Exit::Good
    } else {
        Exit::Failed
    })
}

/// Returns the keys of `--by`, each once.
fn keys(names: &[String]) -> Result<Vec<UsageKey>> {
    let known = || UsageKey::ALL.map(UsageKey::as_str).join(", ");
    let mut keys = Vec::with_capacity(names.len());
    for name in names {
        let name = name.trim();
        let Some(key) = UsageKey::parse(name) else {
            let message = format!(
                "`--by`: `{}` is no key: expected {}",
                shortened(name, 40),
                known()
            );
            return Err(decided(Exit::Usage, message));
        };
        if keys.contains(&key) {
            let message = format!(
                "`--by`: `{name}` is there twice: expected each of {} once at most",
                known()
            );
            return Err(decided(Exit::Usage, message));
        }
        keys.push(key);
    }
    Ok(keys)
}

fn day(text: Option<&str>, flag: &str) -> Result<Option<Date>> {
    let read = |text: &str| {
        let date = (text.len() == 10).then(|| text.parse().ok()).flatten();
        date.ok_or_else(|| {
            let text = shortened(text, 40);
            decided(
                Exit::Usage,
                format!("`{flag}` is `{text}`: expected a day such as `2026-11-30`"),
            )
        })
    };
    text.map(read).transpose()
}

/// Returns the Unix milliseconds at which the day begins in UTC.
fn begin(day: Date) -> Result<i64> {
    let start = day.to_zoned(TimeZone::UTC).context("a day is out of range")?;
    Ok(start.timestamp().as_millisecond())
}

/// Returns the Unix milliseconds at which the day ends in UTC.
fn end(day: Date) -> Result<i64> {
    Ok(begin(day)?.saturating_add(24 * 3_600_000))
}

/// The groups of the ledger. More than the most rows are refused.
async fn rows(store: &dyn Store, by: Vec<UsageKey>, filter: UsageFilter) -> Result<Vec<UsageRow>> {
    let rows = rows_by(store, by, filter).await?;
    if rows.len() <= MOST_ROWS {
        return Ok(rows);
    }
    let message = format!(
        "the bill has more than {MOST_ROWS} rows (name fewer keys with `--by`, or fewer calls with `--run`, `--user`, \
         `--since` and `--until`)"
    );
    Err(decided(Exit::Usage, message))
}

async fn rows_by(store: &dyn Store, by: Vec<UsageKey>, filter: UsageFilter) -> Result<Vec<UsageRow>> {
    let wanted = UsageQuery {
        by,
        filter,
        most: MOST_ROWS + 1,
    };
    Ok(store.usage(&wanted).await?)
}

/// The routes of the settings. A bill needs none, so that faulty settings do not hide it.
fn routes(global: &Global) -> Vec<RouteSettings> {
    let flags = Flags {
        config: global.config.clone(),
        ..Flags::default()
    };
    let config = Config::load_without_keys(&flags, &process_env);
    config.map(|config| config.routes).unwrap_or_default()
}

/// The calls without a known cost by route and model, with what to do about them.
fn unpriced(causes: &[UsageRow], routes: &[RouteSettings]) -> Vec<UnpricedCalls> {
    let mut unpriced: Vec<UnpricedCalls> = Vec::new();
    for row in causes.iter().filter(|row| row.sums.unpriced > 0) {
        let [_, Some(route), Some(model)] = row.keys.as_slice() else {
            continue;
        };
        let known = unpriced
            .iter_mut()
            .find(|calls| calls.route == *route && calls.model == *model);
        if let Some(calls) = known {
            calls.calls += row.sums.unpriced;
            continue;
        }
        let found = routes.iter().find(|settings| settings.name == *route);
        let has_price =
            found.is_some_and(|found| found.price().is_some() || found.prices.of(model).is_some());
        unpriced.push(UnpricedCalls {
            route: route.clone(),
            model: model.clone(),
            calls: row.sums.unpriced,
            cure: if has_price {
                "its server counted no tokens, or the calls were made before the price was set".to_owned()
            } else {
                format!("set `input_usd_per_million` and `output_usd_per_million` in `[routes.{route}]`")
            },
        });
    }
    unpriced
}

/// Where the prices of the routes in the bill come from.
fn prices(causes: &[UsageRow], routes: &[RouteSettings]) -> Vec<PriceSource> {
    let is_billed = |price: &PriceSource| {
        let route = |row: &UsageRow| row.keys.get(1).cloned().flatten();
        causes.iter().any(|row| route(row).as_ref() == Some(&price.route))
    };
    let mut sources = route_prices::sources(routes);
    sources.retain(is_billed);
    sources
}

fn filter_in_words(args: &UsageArgs) -> Vec<(&'static str, String)> {
    [
        ("run", &args.run),
        ("user", &args.user),
        ("since", &args.since),
        ("until", &args.until),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value.clone()?)))
    .collect()
}
