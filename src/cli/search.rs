//! `nova3 search`: sends one search and prints its results.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::args::{Global, SearchArgs};
use super::exit::{Exit, decided};
use super::print;
use crate::config::{Flags, MOST_PAGES, SearchSettings, process_env, search_in_force};
use crate::domain::ids::shortened;
use crate::domain::printable::{counted, printable};
use crate::domain::usage::Cost;
use crate::limit::{InProcess, Limiter};
use crate::observe::tell;
use crate::search::{
    CACHED, FailureKind, LinkAttempt, LinkFailure, MemoryCache, PageRead, Provider, Providers, Query,
    SearchError, SearchItem, SearchOutcome, Searcher,
};

/// The characters of a text that the plain output shows.
const SHOWN: usize = 300;

pub(super) fn main(args: &SearchArgs, global: &Global) -> Result<Exit> {
    let flags = Flags {
        config: global.config.clone(),
        ..Flags::default()
    };
    let settings = search_in_force(&flags, &process_env)?;
    let providers =
        Providers::load(&settings, &process_env).map_err(|error| decided(Exit::Usage, error.to_string()))?;
    let query = query(args, &settings)?;
    let chain = chain(args, &settings, &providers)?;
    let pages = pages(args, &settings)?;
    let ended = super::runtime()?.block_on(async {
        let cache = Arc::new(MemoryCache::new(settings.cache_bytes));
        let searcher = Searcher::new(providers, settings, cache, &limiter);
        let mut outcome = searcher.search_in(&query, &chain).await?;
        let read = searcher.read_pages(&mut outcome.items, pages).await;
        Ok((outcome, read))
    });
    match ended {
        Ok((outcome, read)) => {
            show(args, &query, &outcome, &read)?;
            Ok(Exit::Good)
        }
        Err(error) => Err(failed(args, &query, &error)?),
    }
}

fn query(args: &SearchArgs, settings: &SearchSettings) -> Result<Query> {
    let limit = args.limit.unwrap_or(settings.results);
    if !(1..=50).contains(&limit) {
        let message = format!("`--limit` is `{limit}`: expected 1 to 50");
        return Err(decided(Exit::Usage, message));
    }
    Query::new(&args.query, limit).ok_or_else(|| decided(Exit::Usage, "the query has no words"))
}

fn pages(args: &SearchArgs, settings: &SearchSettings) -> Result<usize> {
    let pages = args.pages.unwrap_or(settings.pages);
    if pages > MOST_PAGES {
        let message = format!("`--pages` is `{pages}`: expected 0 to {MOST_PAGES}");
        return Err(decided(Exit::Usage, message));
    }
    Ok(pages)
}

fn chain(args: &SearchArgs, settings: &SearchSettings, providers: &Providers) -> Result<Vec<String>> {
    match &args.provider {
        None => Ok(settings.providers.clone()),
        Some(name) if name == CACHED => Err(decided(
            Exit::Usage,
            "`--provider cached` has no answer: each `nova3 search` begins with an empty cache (name another \
             provider, or `default`)",
        )),
        Some(name) if providers.knows(name) => Ok(vec![name.clone()]),
        Some(name) => Err(decided(
            Exit::Usage,
            format!(
                "`--provider`: there is no search provider `{}` (known: {})",
                shortened(name, 60),
                providers.known()
            ),
        )),
    }
}

fn limiter(provider: &Provider) -> Arc<dyn Limiter> {
    Arc::new(InProcess::new(provider.limits()))
}

fn show(args: &SearchArgs, query: &Query, outcome: &SearchOutcome, read: &[PageRead]) -> Result<()> {
    if args.json {
        print(format!("{}\n", object(query, outcome, read)).as_bytes())?;
        return Ok(());
    }
    let text: String = outcome.items.iter().map(paragraph).collect();
    print(text.as_bytes())?;
    tell_failures(&outcome.attempts);
    for page in read {
        if let Some(failure) = &page.failure {
            tell(&format!(
                "the page of {} was not read: {}",
                page.item, failure.message
            ));
        }
    }
    tell(&closing(outcome, read));
    Ok(())
}

fn paragraph(item: &SearchItem) -> String {
    let mut text = format!("{}  {}\n", item.id, printable(&item.title));
    let lines = [item.url.as_deref(), item.published_at.as_deref()];
    let shown = shortened(&item.text.split_whitespace().collect::<Vec<_>>().join(" "), SHOWN);
    for line in lines.into_iter().flatten().chain([shown.as_str()]) {
        text += &format!("    {}\n", printable(line));
    }
    text + "\n"
}

fn tell_failures(attempts: &[LinkAttempt]) {
    for attempt in attempts {
        if let Some(failure) = &attempt.failure {
            let tries = match attempt.tries {
                0 => "was not asked".to_owned(),
                tries => format!(
                    "failed after {tries} {}",
                    if tries == 1 { "try" } else { "tries" }
                ),
            };
            tell(&format!("`{}` {tries}: {}", attempt.link, failure.message));
        }
    }
}

/// Returns the closing line: the link that answered, the results, the cost, and how far the results can be trusted.
fn closing(outcome: &SearchOutcome, read: &[PageRead]) -> String {
    let mut line = format!("`{}` answered", outcome.provider);
    if let (Some(found_by), Some(age)) = (&outcome.found_by, outcome.age) {
        line += &format!(" with results that `{found_by}` found {} s ago", age.as_secs());
    }
    line += &format!(
        ": {}, cost ${:.4}",
        counted(outcome.items.len() as u64, "result"),
        total(outcome, read).usd()
    );
    if outcome.degraded {
        line += " (degraded: not the first link of the chain)";
    }
    if !outcome.looked_up {
        line += " (nothing was looked up: the material is that of `material.toml`)";
    }
    line
}

/// Returns the cost of the search and of its pages.
fn total(outcome: &SearchOutcome, read: &[PageRead]) -> Cost {
    read.iter().fold(outcome.cost, |sum, page| sum.plus(page.cost))
}

fn object(query: &Query, outcome: &SearchOutcome, read: &[PageRead]) -> Value {
    json!({
        "query": query.text(),
        "provider": outcome.provider,
        "found_by": outcome.found_by,
        "looked_up": outcome.looked_up,
        "degraded": outcome.degraded,
        "age_s": outcome.age.map(|age| age.as_secs()),
        "cost_usd": total(outcome, read).usd(),
        "items": outcome.items,
        "attempts": attempts(&outcome.attempts),
        "pages": read.iter().map(page).collect::<Vec<_>>(),
    })
}

fn attempts(attempts: &[LinkAttempt]) -> Vec<Value> {
    attempts
        .iter()
        .map(|attempt| {
            json!({
                "link": attempt.link,
                "tries": attempt.tries,
                "failure": attempt.failure.as_ref().map(cause),
                "cost_usd": attempt.cost.usd(),
                "elapsed_ms": ms(attempt.elapsed),
            })
        })
        .collect()
}

fn page(read: &PageRead) -> Value {
    json!({
        "item": read.item,
        "failure": read.failure.as_ref().map(cause),
        "cost_usd": read.cost.usd(),
        "elapsed_ms": ms(read.elapsed),
    })
}

fn cause(failure: &LinkFailure) -> Value {
    json!({"kind": failure.kind.name(), "message": failure.message})
}

fn ms(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// Prints the causes of a search without an answer, and returns the error that ends the program.
fn failed(args: &SearchArgs, query: &Query, error: &SearchError) -> Result<anyhow::Error> {
    let SearchError::NoAnswer {
        attempts: asked,
        cost,
    } = error
    else {
        return Ok(decided(Exit::Usage, error.to_string()));
    };
    if args.json {
        let object = json!({
            "query": query.text(),
            "provider": null,
            "cost_usd": Cost::usd(*cost),
            "items": [],
            "attempts": attempts(asked),
        });
        print(format!("{object}\n").as_bytes())?;
    } else {
        tell_failures(asked);
    }
    let kinds = asked
        .iter()
        .filter_map(|attempt| attempt.failure.as_ref().map(|failure| failure.kind));
    let is_empty = kinds.into_iter().all(|kind| kind == FailureKind::Empty);
    Ok(if is_empty {
        decided(Exit::Nothing, "the search has no results (try other words)")
    } else {
        let cure = "set a key, or name other providers in `search.providers`";
        decided(Exit::NoRoute, format!("no search provider answered ({cure})"))
    })
}
