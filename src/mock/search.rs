//! `GET /search`: a search provider with sample results. Equal seeds and queries give equal results.
//!
//! Searches are counted and logged apart from chat calls. They have the faults and the first latency of the server, but
//! numbers of their own. The limits and the key of the server do not apply to them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::{Response, StatusCode};
use reqwest::Url;
use serde_json::{Value, json};

use super::error_object::{GARBAGE, PROXY_PAGE};
use super::faults::{Chance, MockFault};
use super::log::SearchLine;
use super::reply::{ConnectionEnd, Cut, Reply};
use super::response;
use super::search_samples;
use super::server::ServerState;
use super::tally::CallOutcome;
use crate::clock;
use crate::config::Dialect;

/// The most results, and the number of results of a search that names none.
const MOST: usize = 5;

/// The wait in a 429 without a configured wait.
const DEFAULT_WAIT: Duration = Duration::from_secs(1);

/// Separates the draws of searches from those of chat calls with the same number.
const DRAWS_OF_SEARCHES: u64 = 0x5EA6_C4E5;

/// Counts a search, waits, and answers it. `parameters` is the part of the address after `?`.
pub(crate) async fn search(
    shared: &Arc<ServerState>,
    parameters: Option<&str>,
) -> Result<Response<Reply>, Cut> {
    let (query, limit) = read(parameters.unwrap_or_default());
    let config = &shared.config;
    let number = shared.tally.searched(&query);
    let mut chance = Chance::new(config.seed ^ DRAWS_OF_SEARCHES, number);
    let fault = chance.fault(&config.faults).filter(|_| !query.is_empty());
    let rare_face = chance.rare_face();
    let outcome = if query.is_empty() {
        CallOutcome::BadRequest
    } else {
        CallOutcome::planned(fault)
    };
    shared.tally.search_answered(outcome);
    if let Some(log) = &shared.log {
        log.push(&SearchLine {
            t_ms: clock::now_ms(),
            n: number,
            event: "search",
            query: &query,
            limit,
            outcome: outcome.as_str(),
        });
    }
    let wait = chance.latency(config.latency).first_token;
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    if query.is_empty() {
        return Ok(refused(StatusCode::BAD_REQUEST, "the parameter `q` is missing"));
    }
    let found = json!({ "code": 200, "data": search_samples::results(&query, config.seed, limit) });
    faulty(shared, fault, rare_face, Bytes::from(found.to_string()))
}

/// Returns the query and the number of results of a request.
fn read(parameters: &str) -> (String, usize) {
    let (mut query, mut limit) = (String::new(), MOST);
    // The host is not used. An address is the simplest way to decode parameters.
    if let Ok(address) = Url::parse(&format!("http://mock/?{parameters}")) {
        for (name, value) in address.query_pairs() {
            match &*name {
                "q" => value.trim().clone_into(&mut query),
                "limit" => limit = value.parse().unwrap_or(MOST).clamp(1, MOST),
                _ => {}
            }
        }
    }
    (query, limit)
}

/// Returns the answer of a search, or its fault.
fn faulty(
    shared: &ServerState,
    fault: Option<MockFault>,
    rare_face: bool,
    found: Bytes,
) -> Result<Response<Reply>, Cut> {
    let (length, half) = (found.len(), found.slice(..found.len() / 2));
    let with = |body: Bytes, length: usize, ending| {
        let body = Reply::whole(body, ending, None);
        response::sized(StatusCode::OK, "application/json", length, body)
    };
    Ok(match fault {
        None => with(found, length, ConnectionEnd::Clean),
        Some(MockFault::RateLimited) => {
            let mut response = refused(StatusCode::TOO_MANY_REQUESTS, "too many searches");
            let wait = shared.config.retry_after.unwrap_or(DEFAULT_WAIT);
            response::ask_to_wait(response.headers_mut(), Dialect::OpenAi, wait);
            response
        }
        Some(MockFault::ServerError) if rare_face => {
            let page = Reply::whole(PROXY_PAGE, ConnectionEnd::Clean, None);
            response::sized(
                StatusCode::SERVICE_UNAVAILABLE,
                "text/html",
                PROXY_PAGE.len(),
                page,
            )
        }
        Some(MockFault::ServerError) => refused(StatusCode::INTERNAL_SERVER_ERROR, "the search failed"),
        Some(MockFault::Overloaded) => refused(StatusCode::SERVICE_UNAVAILABLE, "the search is overloaded"),
        Some(MockFault::Disconnect) if rare_face => return Err(Cut),
        Some(MockFault::Disconnect) => with(half, length, ConnectionEnd::Abort),
        Some(MockFault::Truncate) => with(half.clone(), half.len(), ConnectionEnd::Clean),
        Some(MockFault::Stall) => with(half, length, ConnectionEnd::Hang),
        Some(MockFault::Garbage) => with(
            Bytes::from_static(GARBAGE.as_bytes()),
            GARBAGE.len(),
            ConnectionEnd::Clean,
        ),
        Some(MockFault::ErrorInStream) => {
            response::json(StatusCode::OK, error(500, "the search failed").to_string(), None)
        }
    })
}

fn refused(status: StatusCode, message: &str) -> Response<Reply> {
    response::json(status, error(status.as_u16(), message).to_string(), None)
}

fn error(code: u16, message: &str) -> Value {
    json!({ "code": code, "message": message, "data": null })
}
