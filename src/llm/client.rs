//! A call from the first attempt to its end: the one place where a route is asked again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::http::{self, Authorities};
use super::route::Route;
use super::transport::{self, Failed, Got};
use super::wire::{Answer, CallError};
use crate::clock;
use crate::config::{self, Config, Timeouts};
use crate::domain::failure::{Class, Verdict};
use crate::domain::outcome::Attempt;
use crate::domain::retry::RetryPolicy;
use crate::domain::usage::Usage;

/// The longest `Retry-After` that a single call waits for; the official SDKs give up at the same bound.
/// A 429 is not bound by it, since it pauses the route and fails nobody.
const LONGEST_ASKED: Duration = Duration::from_secs(120);

/// A client that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file of certificate authorities cannot be used.
    #[error("`http.ca_file` `{}`: {reason}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up: {reason}")]
    Setup {
        /// Why.
        reason: String,
    },
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The JSON body.
    pub body: Bytes,
    /// How the answer is wanted.
    pub form: Form,
    /// The model named in the body, for the ledger.
    pub model: String,
    /// Tokens that the call may use: its prompt and its longest answer, for the limit a minute.
    pub tokens: u64,
}

/// How an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Streamed and understood.
    Agent,
    /// As it came, for an OpenAI Batch line.
    Verbatim {
        /// Whether the body asks for a stream.
        streams: bool,
    },
}

impl Form {
    pub(super) const fn streams(self) -> bool {
        matches!(self, Self::Agent | Self::Verbatim { streams: true })
    }
}

/// A response as it came.
#[derive(Debug, Clone)]
pub struct Verbatim {
    /// The HTTP status.
    pub status: u16,
    /// The provider's id of the request.
    pub request_id: Option<String>,
    /// The body, on one line.
    pub body: Box<RawValue>,
}

/// A good answer.
#[derive(Debug, Clone)]
pub enum Reply {
    /// An agent's.
    Answer(Answer),
    /// A Batch line's.
    Verbatim(Verbatim),
}

/// Why there is none.
#[derive(Debug)]
pub enum Ended {
    /// Retries are used up, or there was no sense in any.
    Failed {
        /// The last error.
        error: CallError,
        /// The HTTP error as it came, for a Batch line.
        response: Option<Verbatim>,
        /// What went wrong before, oldest first.
        causes: Vec<String>,
    },
    /// The route is dead for this run; the request is as good as before.
    Latched,
    /// The run is ending; the request is as good as before.
    Interrupted,
}

/// A call's end and every attempt on the way.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: Result<Reply, Ended>,
    /// The attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// Milliseconds from asking to the end, waits included.
    pub duration_ms: u64,
}

/// The two ways in which a run ends early.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Nothing new is sent; what is on its way is awaited.
    pub drain: CancellationToken,
    /// What is on its way is given up.
    pub cancel: CancellationToken,
}

/// Asks models.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    routes: Vec<Arc<Route>>,
    timeouts: Timeouts,
    retry: RetryPolicy,
}

impl Client {
    /// A client for the configured routes.
    pub fn new(config: &Config) -> Result<Self, ClientError> {
        let plain = |route: &config::Route| route.endpoint.scheme() == "http";
        let authorities = if config.routes.iter().all(plain) {
            Authorities::Bundled
        } else {
            Authorities::System
        };
        Ok(Self {
            http: http::build(
                config.timeouts.connect,
                config.idle_connections,
                config.ca_file.as_deref(),
                authorities,
            )?,
            routes: config
                .routes
                .iter()
                .cloned()
                .map(|route| Arc::new(Route::new(route)))
                .collect(),
            timeouts: config.timeouts,
            retry: config.retry,
        })
    }

    /// The routes, the default one first.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// The route of that name, or the default one.
    pub fn route(&self, name: Option<&str>) -> Option<&Arc<Route>> {
        match name {
            Some(name) => self.routes.iter().find(|route| route.settings.name == name),
            None => self.routes.first(),
        }
    }

    /// Asks `route` until there is an answer or no sense in asking again.
    pub async fn call(&self, route: &Route, ask: &Ask, stop: &Stop) -> Outcome {
        let began = Instant::now();
        let mut attempts = Vec::new();
        let end = self.attempt_until_end(route, ask, stop, &mut attempts).await;
        Outcome {
            end,
            attempts,
            duration_ms: millis(began.elapsed()),
        }
    }

    async fn attempt_until_end(
        &self,
        route: &Route,
        ask: &Ask,
        stop: &Stop,
        attempts: &mut Vec<Attempt>,
    ) -> Result<Reply, Ended> {
        let mut causes = Vec::new();
        let mut retries = 0;
        loop {
            if route.latched().is_some() {
                return Err(Ended::Latched);
            }
            let grant = tokio::select! {
                biased;
                () = stop.drain.cancelled() => return Err(Ended::Interrupted),
                grant = route.admit(ask.tokens) => grant,
            };
            let grant = grant.map_err(|refusal| {
                let error = CallError::new(Class::BadRequest, Verdict::Final, &refusal.to_string());
                Ended::Failed {
                    error,
                    response: None,
                    causes: causes.clone(),
                }
            })?;
            let (started, started_at) = (Instant::now(), clock::now_ms());
            let sent = tokio::select! {
                biased;
                sent = transport::send(&self.http, &route.settings, ask, &self.timeouts) => sent,
                () = stop.cancel.cancelled() => {
                    route.settle(&grant, ask.tokens);
                    return Err(Ended::Interrupted);
                }
            };
            let took = (started_at, millis(started.elapsed()));
            let failed = match sent {
                Ok(got) => {
                    route.settle(&grant, got.usage.total());
                    route.answered();
                    tracing::debug!(
                        llm.route = route.settings.name,
                        llm.model = ask.model,
                        llm.input_tokens = got.usage.input_tokens,
                        llm.output_tokens = got.usage.output_tokens,
                        duration_ms = took.1,
                        "call answered"
                    );
                    attempts.push(good(route, ask, &got, took));
                    return Ok(got.reply);
                }
                Err(failed) => failed,
            };
            // What a failed call used is unknown: its reservation counts as used, unless it was refused.
            let used = if failed.error.verdict == Verdict::Pause {
                0
            } else {
                ask.tokens
            };
            route.settle(&grant, used);
            attempts.push(bad(route, ask, &failed.error, took));
            let wait = self.judge(route, ask, failed, &mut retries, &mut causes)?;
            tokio::select! {
                biased;
                () = stop.drain.cancelled() => return Err(Ended::Interrupted),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// What follows a failed attempt: a wait before the next one, or the end.
    fn judge(
        &self,
        route: &Route,
        ask: &Ask,
        failed: Failed,
        retries: &mut u32,
        causes: &mut Vec<String>,
    ) -> Result<Duration, Ended> {
        let Failed { error, response } = failed;
        match error.verdict {
            Verdict::Pause => {
                route.pause(error.retry_after);
                tracing::info!(
                    llm.route = route.settings.name,
                    "the route pauses: {}",
                    error.message
                );
                Ok(Duration::ZERO)
            }
            Verdict::Latch if !is_about_the_model(ask, &error) => {
                tracing::warn!(
                    llm.route = route.settings.name,
                    "the route is dead for this run: {}",
                    error.message
                );
                route.latch(error);
                Err(Ended::Latched)
            }
            Verdict::Retry | Verdict::RetryQuietly
                if *retries < self.retry.retries
                    && error.retry_after.is_none_or(|asked| asked <= LONGEST_ASKED) =>
            {
                let wait = error
                    .retry_after
                    .unwrap_or_else(|| self.retry.backoff(*retries, fastrand::f64()));
                *retries += 1;
                tracing::info!(
                    llm.route = route.settings.name,
                    llm.model = ask.model,
                    error.class = error.class.as_str(),
                    wait_ms = millis(wait),
                    "call failed, retry {retries} follows: {}",
                    error.message
                );
                causes.push(error.message);
                Ok(wait)
            }
            _ => Err(Ended::Failed {
                error,
                response,
                causes: std::mem::take(causes),
            }),
        }
    }
}

/// A Batch line names its own model: a wrong one fails that line, and says nothing about the route.
fn is_about_the_model(ask: &Ask, error: &CallError) -> bool {
    matches!(ask.form, Form::Verbatim { .. }) && !matches!(error.class, Class::Auth | Class::Quota)
}

fn good(route: &Route, ask: &Ask, got: &Got, (started_at, duration_ms): (i64, u64)) -> Attempt {
    let model = match &got.reply {
        Reply::Answer(Answer {
            model: Some(model), ..
        }) if !model.is_empty() => model.clone(),
        _ => ask.model.clone(),
    };
    Attempt {
        route: route.settings.name.clone(),
        model,
        class: None,
        status_code: Some(got.status),
        usage: got.usage,
        cost: route.settings.price.map(|price| price.of(got.usage)),
        started_at,
        duration_ms,
        first_token_ms: got.first_token.map(millis),
    }
}

fn bad(route: &Route, ask: &Ask, error: &CallError, (started_at, duration_ms): (i64, u64)) -> Attempt {
    let usage = Usage::default();
    Attempt {
        route: route.settings.name.clone(),
        model: ask.model.clone(),
        class: Some(error.class),
        status_code: error.status,
        usage,
        cost: route.settings.price.map(|price| price.of(usage)),
        started_at,
        duration_ms,
        first_token_ms: None,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
