//! The client with its routes, and the reasons why a route or a chain gives no answer.

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
use super::route::{Route, RouteSignal};
use super::selector::RouteSelector;
use super::wire::CallError;
use crate::clock::{self, Uptime};
use crate::config::{self, Config};
use crate::domain::outcome::Attempt;
use crate::domain::retry::RetryPolicy;
use crate::limit::{InProcess, Limiter, Limits};

/// An error that prevents a client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file of certificate authorities cannot be used.
    #[error("`http.ca_file` `{}`: {reason}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up: {reason}")]
    Setup {
        /// The reason.
        reason: String,
    },
}

/// The reason why a route gave no answer.
#[derive(Debug)]
pub enum RouteError {
    /// All retries failed, or a retry was pointless.
    Failed(Box<CallFailure>),
    /// The route is unusable now. Another route of the chain may be usable.
    Elsewhere,
    /// The run sends nothing more. The request keeps its state.
    Stopped(Stopped),
}

/// The reason why a whole chain gave no answer.
#[derive(Debug)]
pub enum ChainError {
    /// The task failed on all routes that were left, or on one in a way that would be the same on each.
    Failed(Box<CallFailure>),
    /// The run sends nothing more. The request keeps its state.
    Stopped(Stopped),
}

/// A call without an answer.
#[derive(Debug)]
pub struct CallFailure {
    /// The last error.
    pub error: CallError,
    /// The HTTP error response, unchanged, for a Batch line.
    pub response: Option<Verbatim>,
    /// The causes of earlier attempts, oldest first.
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

/// The reason why nothing more is sent for a request that has not failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// The run is ending.
    Ending,
    /// Every route of the chain is dead for this run.
    NoRoute {
        /// The message of each route.
        reason: String,
    },
    /// Every route of the chain has been out of use for too long.
    GaveUp {
        /// The message of each route.
        reason: String,
    },
    /// The cost cap of the run is used up.
    NoMoney,
}

/// The signals that end a run early, and the state that its calls share.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Drains: no new call is sent, and calls in flight are awaited.
    pub drain: CancellationToken,
    /// Cancels: calls in flight are abandoned.
    pub cancel: CancellationToken,
    /// The number of calls that wait to be sent.
    pub(super) waiting: Arc<AtomicUsize>,
    /// The uptime in milliseconds until which the lease of the calls is valid; 0 without a lease.
    lease: Arc<AtomicU64>,
    /// The queue whose calls this stops, if it belongs to one queue.
    pub(super) request: Option<i64>,
    /// The requests of the run whose failure waits for proof.
    pub(super) doubts: Doubts,
    /// The calls of the present task. They are kept outside of its worker, so that a panic does not lose them.
    calls: Arc<Mutex<Vec<Attempt>>>,
}

impl Stop {
    /// Returns a child, which also can be stopped alone.
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

    /// Returns a child for the calls of one queue. A failure of the queue may be held until it is proven whether the
    /// request or the route is at fault.
    #[must_use]
    pub fn of_queue(&self, queue: i64) -> Self {
        Self {
            request: Some(queue),
            ..self.child()
        }
    }

    /// Returns the requests whose failure waits for proof.
    #[must_use]
    pub const fn doubts(&self) -> &Doubts {
        &self.doubts
    }

    /// Sets the uptime until which the lease is valid. The lease is checked right before a call is sent, because
    /// timers do not show that the process was stopped or the machine slept.
    pub fn lease_until(&self, until: Uptime) {
        let until = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.lease.store(until, Ordering::Relaxed);
    }

    /// Whether the lease has expired, so that another process may work on the request.
    pub(super) fn has_run_out(&self) -> bool {
        let until = self.lease.load(Ordering::Relaxed);
        until > 0 && u128::from(until) <= clock::uptime().as_millis()
    }

    /// Records a finished call of the present task.
    pub(super) fn note(&self, call: Attempt) {
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(call);
    }

    /// Takes the recorded calls. The next task begins without any.
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

/// Calls models.
#[derive(Debug)]
pub struct Client {
    pub(super) http: Http,
    pub(super) answers: AnswerMemory,
    routes: Vec<Arc<Route>>,
    chains: Vec<Chain>,
    pub(super) retry: RetryPolicy,
    /// The longest pause that calls wait for. A longer pause of a route sends them to the next route.
    pub(super) patience: Duration,
    /// The longest time for which every route of a chain may be out of use.
    pub(super) give_up: Duration,
    pub(super) changes: Arc<RouteSignal>,
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
    /// Returns the first choice.
    pub fn first(&self) -> &Arc<Route> {
        &self.routes[0]
    }

    /// Whether none of its routes can be used any more in this run.
    pub fn is_dead(&self) -> bool {
        self.routes.iter().all(|route| route.latched().is_some())
    }
}

impl Client {
    /// Makes a client for the configured routes with its own limits.
    pub fn new(config: &Config) -> Result<Self, ClientError> {
        Self::with_limits(config, &|route| Arc::new(InProcess::new(route.limits())))
    }

    /// Makes a client for the configured routes with the given limiter of each.
    pub fn with_limits(
        config: &Config,
        limiter: &dyn Fn(&config::RouteSettings) -> Arc<dyn Limiter>,
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
        let chain = |chain: &config::ChainSettings| Chain {
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

    /// Returns the routes.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// Limits every route to the calls and tokens a minute that the run allows. The limits of the settings also hold.
    pub fn keep_limits(&self, of_run: &dyn Fn(&str) -> Limits) {
        for route in &self.routes {
            route.keep(of_run(&route.settings.name));
        }
    }

    /// Stores limits and pauses for the next process. No call is made after this.
    pub async fn close(&self) {
        for route in &self.routes {
            route.close().await;
        }
    }

    /// Sets the memory limit of the process in bytes. Answers in flight may use a share of it.
    pub fn keep_below(&self, limit: u64) {
        self.answers.keep_below(limit);
    }

    /// Returns the chains, the default one first.
    pub fn chains(&self) -> &[Chain] {
        &self.chains
    }

    /// Returns the chain of that name, or the default chain without a name.
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
