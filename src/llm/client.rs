//! The client that holds the routes, and why it gives no answer.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::answers::AnswerMemory;
use super::cost_reservation::CostReservation;
use super::doubts::Doubts;
use super::http::Http;
use super::mark::Marks;
use super::response::Verbatim;
use super::route::{Changes, Route};
use super::selector::RouteSelector;
use super::wire::CallError;
use crate::clock::{self, Uptime};
use crate::config::{self, Config};
use crate::domain::outcome::Attempt;
use crate::domain::retry::RetryPolicy;
use crate::limit::{InProcess, Limiter, Limits};

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

/// Why a route gave no answer.
#[derive(Debug)]
pub enum RouteError {
    /// Retries are used up, or there was no sense in any.
    Failed(Box<CallFailure>),
    /// The route is of no use now, and another of the chain may be.
    Elsewhere,
    /// Nothing more is sent; the request is as good as before.
    Stopped(Stopped),
}

/// Why a whole chain gave no answer.
#[derive(Debug)]
pub enum ChainError {
    /// It failed on all routes that were left, or on one in a way that would be the same on each.
    Failed(Box<CallFailure>),
    /// Nothing more is sent; the request is as good as before.
    Stopped(Stopped),
}

/// A call without an answer.
#[derive(Debug)]
pub struct CallFailure {
    /// The last error.
    pub error: CallError,
    /// The HTTP error as it came, for a Batch line.
    pub response: Option<Verbatim>,
    /// What went wrong before, oldest first.
    pub causes: Vec<String>,
}

impl From<CallError> for RouteError {
    fn from(error: CallError) -> Self {
        Self::Failed(Box::new(CallFailure {
            error,
            response: None,
            causes: Vec::new(),
        }))
    }
}

/// Why nothing more is sent for a request that has not failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// The run is ending.
    Ending,
    /// Every route of the chain is dead for this run.
    NoRoute {
        /// What each of them said.
        reason: String,
    },
    /// Every route of the chain has been out of use for too long.
    GaveUp {
        /// What each of them said.
        reason: String,
    },
    /// The run may not cost more.
    NoMoney,
}

/// The two ways in which a run ends early.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Nothing new is sent; what is on its way is awaited.
    pub drain: CancellationToken,
    /// What is on its way is given up.
    pub cancel: CancellationToken,
    /// How many calls wait to be sent.
    pub(super) waiting: Arc<AtomicUsize>,
    /// Milliseconds of uptime until which the lease is good that calls are made under; 0 where there is none.
    lease: Arc<AtomicU64>,
    /// The queue whose calls this stops, where it is one.
    pub(super) request: Option<i64>,
    /// The requests of the run whose failure waits for proof.
    pub(super) doubts: Doubts,
    /// The calls of the present task, kept outside its worker: a panic loses none.
    calls: Arc<Mutex<Vec<Attempt>>>,
}

impl Stop {
    /// A part of what this stops, which can also be stopped alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            drain: self.drain.child_token(),
            cancel: self.cancel.child_token(),
            waiting: Arc::default(),
            lease: Arc::default(),
            request: None,
            doubts: self.doubts.clone(),
            calls: Arc::default(),
        }
    }

    /// A part of what this stops: the calls of one queue. Its failure may be held until it is known whose it is.
    #[must_use]
    pub fn of_queue(&self, queue: i64) -> Self {
        Self {
            request: Some(queue),
            ..self.child()
        }
    }

    /// The requests whose failure waits for proof.
    #[must_use]
    pub const fn doubts(&self) -> &Doubts {
        &self.doubts
    }

    /// Calls are made under a lease that is good until then. It is asked for right before a call is sent: a process that
    /// stood still, or a machine that slept, learns nothing of it from its timers.
    pub fn lease_until(&self, until: Uptime) {
        let until = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.lease.store(until, Ordering::Relaxed);
    }

    /// Whether the lease has run out, so that another process may work on the request.
    pub(super) fn has_run_out(&self) -> bool {
        let until = self.lease.load(Ordering::Relaxed);
        until > 0 && u128::from(until) <= clock::uptime().as_millis()
    }

    /// A call of the present task has ended.
    pub(super) fn note(&self, call: Attempt) {
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(call);
    }

    /// The calls that were noted; the next task begins without any.
    #[must_use]
    pub fn take_calls(&self) -> Vec<Attempt> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut calls)
    }

    /// Whether a call waits to be sent: for a limit, a pause, a breaker or money.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

/// Asks models.
#[derive(Debug)]
pub struct Client {
    pub(super) http: Http,
    pub(super) answers: AnswerMemory,
    routes: Vec<Arc<Route>>,
    chains: Vec<Chain>,
    pub(super) retry: RetryPolicy,
    /// A longer pause of a route sends calls to the next one.
    pub(super) patience: Duration,
    /// How long every route of a chain may be out of use.
    pub(super) give_up: Duration,
    pub(super) changes: Arc<Changes>,
}

/// Routes in the order in which they are tried.
#[derive(Debug, Clone)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Its routes, the first choice first; never empty.
    pub routes: Vec<Arc<Route>>,
}

impl Chain {
    /// The first choice.
    pub fn first(&self) -> &Arc<Route> {
        &self.routes[0]
    }

    /// Whether none of its routes can be used any more in this run.
    pub fn is_dead(&self) -> bool {
        self.routes.iter().all(|route| route.latched().is_some())
    }
}

impl Client {
    /// A client for the configured routes, whose limits are its own.
    pub fn new(config: &Config) -> Result<Self, ClientError> {
        Self::with_limits(config, &|route| Arc::new(InProcess::new(route.limits())))
    }

    /// A client for the configured routes, with the limiter of each.
    pub fn with_limits(
        config: &Config,
        limiter: &dyn Fn(&config::Route) -> Arc<dyn Limiter>,
    ) -> Result<Self, ClientError> {
        let changes = Arc::new(watch::Sender::new(()));
        let routes: Vec<Arc<Route>> = config
            .routes
            .iter()
            .cloned()
            .map(|route| {
                let limiter = limiter(&route);
                Arc::new(Route::new(route, limiter, config.breaker, Arc::clone(&changes)))
            })
            .collect();
        let chain = |chain: &config::Chain| Chain {
            name: chain.name.clone(),
            routes: chain
                .routes
                .iter()
                .filter_map(|name| routes.iter().find(|route| route.settings.name == *name))
                .cloned()
                .collect(),
        };
        Ok(Self {
            http: Http::new(config)?,
            answers: AnswerMemory::default(),
            chains: config.chains.iter().map(chain).collect(),
            routes,
            retry: config.retry,
            patience: config.patience,
            give_up: config.conditions.give_up,
            changes,
        })
    }

    /// The routes.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// No route is asked for more a minute than the run allows it, nor for more than its settings do.
    pub fn keep_limits(&self, of_run: &dyn Fn(&str) -> Limits) {
        for route in &self.routes {
            route.keep(of_run(&route.settings.name));
        }
    }

    /// What the process after this one has to know of limits and pauses is stored. No call is made any more.
    pub async fn close(&self) {
        for route in &self.routes {
            route.close().await;
        }
    }

    /// The process is to stay below so many bytes of memory: answers on their way take a share of it.
    pub fn keep_below(&self, limit: u64) {
        self.answers.keep_below(limit);
    }

    /// The chains, the default one first.
    pub fn chains(&self) -> &[Chain] {
        &self.chains
    }

    /// The chain of that name, or the default one.
    pub fn chain(&self, name: Option<&str>) -> Option<&Chain> {
        match name {
            Some(name) => self.chains.iter().find(|chain| chain.name == name),
            None => self.chains.first(),
        }
    }

    /// Selects routes of a chain for one task. With a reservation, no call is sent before it is reserved.
    pub fn selector<'a>(
        &'a self,
        chain: &'a Chain,
        stop: &'a Stop,
        reservation: Option<&'a dyn CostReservation>,
        marks: Option<&'a dyn Marks>,
    ) -> RouteSelector<'a> {
        RouteSelector::new(self, chain, stop, reservation, marks)
    }
}
