//! One provider of a chain: its latch, breaker, pause and limits, and its retries.
//!
//! This is the only place that retries a search. [`Link::ask`] waits at most for the rate limit, and for each of
//! `1 + retries` tries the timeout and the longer of `patience` and the longest backoff.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::breaker::{LinkBreaker, Pass};
use super::http::ProviderClients;
use super::item::SearchItem;
use super::outcome::{FailureKind, LinkAttempt, LinkFailure};
use super::provider::Provider;
use super::query::Query;
use super::response::{self, JudgedAnswer};
use crate::config::SearchSettings;
use crate::domain::retry::RetryPolicy;
use crate::domain::usage::Cost;
use crate::limit::{Grant, Limiter, Pause};

/// A provider and its state in this process.
#[derive(Debug)]
pub(super) struct Link {
    provider: Provider,
    limiter: Arc<dyn Limiter>,
    breaker: LinkBreaker,
    /// The reason why this process sends the provider no further request.
    latch: OnceLock<String>,
    latch_reported: AtomicBool,
    /// The number of 429 answers in a row without a `Retry-After`.
    unnamed: AtomicU32,
}

/// The requests to a link during one search, and their cost.
#[derive(Debug, Default)]
struct LinkUsage {
    tries: u32,
    cost: Cost,
}

impl Link {
    pub(super) fn new(provider: Provider, limiter: Arc<dyn Limiter>, settings: &SearchSettings) -> Self {
        Self {
            provider,
            limiter,
            breaker: LinkBreaker::new(settings.breaker),
            latch: OnceLock::new(),
            latch_reported: AtomicBool::new(false),
            unnamed: AtomicU32::new(0),
        }
    }

    /// Asks the provider, and retries failures that may pass. The attempt is returned in any case.
    pub(super) async fn ask(
        &self,
        http: &ProviderClients,
        query: &Query,
        settings: &SearchSettings,
    ) -> (LinkAttempt, Option<Vec<SearchItem>>) {
        let (began, mut spent) = (Instant::now(), LinkUsage::default());
        let asked = self.with_retries(http, query, settings, &mut spent).await;
        let (failure, items) = match asked {
            Ok(items) => (None, Some(items)),
            Err(failure) => (Some(failure), None),
        };
        let attempt = LinkAttempt {
            link: self.provider.name.clone(),
            tries: spent.tries,
            failure,
            cost: spent.cost,
            elapsed: began.elapsed(),
        };
        (attempt, items)
    }

    async fn with_retries(
        &self,
        http: &ProviderClients,
        query: &Query,
        settings: &SearchSettings,
        spent: &mut LinkUsage,
    ) -> Result<Vec<SearchItem>, LinkFailure> {
        let mut last = None;
        loop {
            // The last failure says more than the latch, pause or breaker that it caused.
            let pass = match self.admitted(settings) {
                Ok(pass) => pass,
                Err(shut) => return Err(last.unwrap_or(shut)),
            };
            let grant = self.granted(settings.patience).await?;
            let judged = self.tried(http, query, settings).await;
            self.limiter.settle(grant, 0);
            spent.tries += 1;
            spent.cost = spent.cost.plus(judged.cost);
            let failure = match judged.result {
                Ok(items) => {
                    pass.answered();
                    self.unnamed.store(0, Ordering::Relaxed);
                    return Ok(items);
                }
                Err(failure) => self.recorded(failure, pass),
            };
            let is_patient = failure.retry_after.is_none_or(|wait| wait <= settings.patience);
            if !failure.kind.is_retryable() || !is_patient || spent.tries > settings.retry.retries {
                return Err(failure);
            }
            // The limiter waits for a pause. Without a pause, the backoff is waited for here.
            if failure.retry_after.is_none() {
                sleep(settings.retry.backoff(spent.tries - 1, fastrand::f64())).await;
            }
            last = Some(failure);
        }
    }

    /// Returns permission to send a request now. The breaker is checked last, because a pass may be its only probe.
    fn admitted(&self, settings: &SearchSettings) -> Result<Pass<'_>, LinkFailure> {
        if let Some(cure) = self.provider.missing_key() {
            return Err(LinkFailure::new(
                FailureKind::NoKey,
                format!("it has no key ({cure})"),
            ));
        }
        if let Some(reason) = self.latch.get() {
            let message = format!("this process does not ask it again: {reason}");
            return Err(LinkFailure::new(FailureKind::Terminal, message));
        }
        let now = Instant::now();
        if let Some(pause) = self.limiter.pauses().borrow().as_ref()
            && let Some(failure) = too_long(pause, now, settings.patience)
        {
            return Err(failure);
        }
        self.breaker.enter(now).map_err(|reason| {
            let message = format!("it failed several times in a row; the last failure: {reason}");
            LinkFailure::new(FailureKind::Open, message)
        })
    }

    /// Waits for the rate limit, and for a pause that is not longer than `patience`.
    async fn granted(&self, patience: Duration) -> Result<Grant, LinkFailure> {
        let mut pauses = self.limiter.pauses();
        let long_pause = async {
            let is_long = |pause: &Option<Pause>| {
                let pause = pause.as_ref();
                pause.is_some_and(|pause| too_long(pause, Instant::now(), patience).is_some())
            };
            let failure = |pause: &Option<Pause>| too_long(pause.as_ref()?, Instant::now(), patience);
            let told = pauses.wait_for(is_long).await.map(|pause| failure(&pause));
            match told {
                Ok(failure) => failure,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            grant = self.limiter.take(0) => {
                grant.map_err(|error| LinkFailure::new(FailureKind::Limited, error.to_string()))
            }
            failure = long_pause => Err(failure.unwrap_or_else(|| {
                LinkFailure::new(FailureKind::Limited, "it asked for a pause")
            })),
        }
    }

    /// Sends one request and reads the answer. A timeout and an answer that is too large count as paid, because the
    /// provider may have done the work. A failed connection counts as free.
    async fn tried(&self, http: &ProviderClients, query: &Query, settings: &SearchSettings) -> JudgedAnswer {
        let longest = self.provider.timeout.unwrap_or(settings.timeout);
        match timeout(longest, http.exchange(&self.provider, query)).await {
            Ok(Ok(answer)) => response::judge(&self.provider, query, &answer),
            Ok(Err(failure)) => JudgedAnswer {
                cost: match failure.kind {
                    FailureKind::TooLarge | FailureKind::Timeout => self.provider.cost.flat(),
                    _ => Cost::ZERO,
                },
                result: Err(failure),
            },
            Err(_) => JudgedAnswer {
                result: Err(LinkFailure::new(
                    FailureKind::Timeout,
                    format!("no answer within {longest:?}"),
                )),
                cost: self.provider.cost.flat(),
            },
        }
    }

    /// Records a failure in the breaker, the latch or the pause.
    fn recorded(&self, mut failure: LinkFailure, pass: Pass<'_>) -> LinkFailure {
        if failure.kind.is_outage() {
            pass.failed(Instant::now(), &failure.message);
        } else {
            pass.answered();
        }
        match failure.kind {
            // Only the first reason is kept.
            FailureKind::Terminal => drop(self.latch.set(failure.message.clone())),
            FailureKind::Limited if failure.retry_after.is_none() => {
                let before = self.unnamed.fetch_add(1, Ordering::Relaxed);
                failure.retry_after = Some(RetryPolicy::pause(before, fastrand::f64()));
            }
            _ => {}
        }
        if let Some(wait) = failure.retry_after {
            self.limiter.pause(wait, &failure.message);
        }
        failure
    }

    /// Returns the highest possible cost of one request; zero if none is sent.
    pub(super) fn worst(&self) -> Cost {
        if self.latch.get().is_some() || self.provider.missing_key().is_some() {
            return Cost::ZERO;
        }
        self.provider.cost.worst()
    }

    /// Returns the cost of an answered request; `None` if none is sent.
    pub(super) fn likely(&self) -> Option<Cost> {
        let can_ask = self.latch.get().is_none() && self.provider.missing_key().is_none();
        can_ask.then(|| self.provider.cost.flat())
    }

    pub(super) fn limiter(&self) -> &dyn Limiter {
        &*self.limiter
    }

    /// Returns the warning about a latched provider. Returns it once.
    pub(super) fn take_warning(&self) -> Option<String> {
        let reason = self.latch.get()?;
        let first = !self.latch_reported.swap(true, Ordering::Relaxed);
        first.then(|| {
            format!(
                "search provider `{}`: this process does not ask it again: {reason}",
                self.provider.name
            )
        })
    }
}

/// Returns the failure for a pause that is longer than `patience`.
fn too_long(pause: &Pause, now: Instant, patience: Duration) -> Option<LinkFailure> {
    let left = pause.until.saturating_duration_since(now);
    (left > patience).then(|| LinkFailure {
        kind: FailureKind::Limited,
        message: format!(
            "it asked for a pause of {} s: {}",
            pause.lasting.as_secs(),
            pause.reason
        ),
        retry_after: Some(left),
    })
}
