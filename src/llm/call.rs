//! A call from the first attempt to its end. This is the only place that retries a route.
//!
//! ```text
//! gate (latch, breaker, pause) ─▶ limiter ─▶ reservation ─▶ send ─▶ judge ─▶ answer
//!    ▲                                                      │
//!    └───────────────────────── again ◀─────────────────────┴─▶ retries used up, or dead: the next route
//! ```
//!
//! While the breaker of a route is open, the request waits, and no attempt is counted against it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::booking::{asked_tier, attempt, good, millis, unbounded, worst};
use super::client::{CallFailure, RouteError, Stopped};
use super::cost_reservation::{Reserve, Reserved};
use super::dialect::Call;
use super::evidence::{RouteProof, is_page};
use super::fault::{FailedExchange, Reached};
use super::limits::Leave;
use super::proof::latch;
use super::request::ModelRequest;
use super::response::ModelResponse;
use super::route::{Gate, Route};
use super::selector::{Probe, RouteSelector};
use super::sent::Sent;
use super::transport::{self, Got, Observers};
use super::tries::{Tries, is_of_server};
use super::wire::CallError;
use crate::clock;
use crate::domain::failure::{Class, Verdict};
use crate::domain::outcome::{Attempt, CallEnd};
use crate::domain::usage::{Cost, Usage};
use crate::limit::WaitingGuard;
use crate::observe::CallFact;

/// The next step after a failed call on the same route.
enum Next {
    /// The call is sent again after this wait.
    Again(Duration),
    /// The server refused the manner of the call, and the route has learned another one.
    Otherwise,
}

impl RouteSelector<'_> {
    /// Calls the route until it answers or a retry is pointless.
    pub async fn ask(
        &mut self,
        route: &Arc<Route>,
        request: &ModelRequest<'_>,
    ) -> Result<ModelResponse, RouteError> {
        let began = Instant::now();
        let end = self.until_end(route, request).await;
        self.duration_ms = self.duration_ms.saturating_add(millis(began.elapsed()));
        end
    }

    /// Repeats a call in another manner, at once, when the server refuses its manner.
    async fn until_end(
        &mut self,
        route: &Route,
        request: &ModelRequest<'_>,
    ) -> Result<ModelResponse, RouteError> {
        loop {
            let call = Call::new(route, request, self.is_capped())?;
            self.asked = Some(call.model.clone());
            let first = self.attempts.len();
            let end = self.until_answered(route, &call).await;
            let response = end.as_ref().ok().and_then(Option::as_ref);
            self.publish_exchanges(first, request, &call, response);
            if let Some(response) = end? {
                return Ok(response);
            }
        }
    }

    /// Makes the call until it is answered; `None` if it must be made in another manner.
    async fn until_answered(
        &mut self,
        route: &Route,
        call: &Call<'_>,
    ) -> Result<Option<ModelResponse>, RouteError> {
        let mut tries = Tries::new(self.client.give_up);
        loop {
            let (grant, mut probe) = self.admitted(route, call).await?;
            let (started, started_at) = (Instant::now(), clock::now_ms());
            let sent = Sent::default();
            self.publish(|| CallFact::Begun {
                route: route.settings.name.clone(),
                model: call.model.clone(),
            });
            let observers = Observers {
                marks: self.marks,
                events: self.events,
            };
            let in_flight = route.traffic.begin(self.stop.request, call.tokens);
            let got = tokio::select! {
                biased;
                got = transport::send(self.client, route, call, observers, &sent) => got,
                () = self.stop.cancel.cancelled() => {
                    route.settle(grant, if sent.has_begun() { call.tokens } else { 0 });
                    let took = (started_at, millis(started.elapsed()));
                    let mut given_up = attempt(route, call, CallEnd::Abandoned, took);
                    if sent.has_begun() {
                        given_up = given_up.uncertain(route, call);
                    }
                    self.note(given_up);
                    return Err(RouteError::Stopped(Stopped::Ending));
                }
            };
            let took = (started_at, millis(started.elapsed()));
            if let Some(marks) = self.marks {
                marks.works().await;
            }
            let failed = match got.and_then(|got| broken_off(route, got)) {
                Ok(got) => {
                    let used = got.bill.usage.map_or(call.tokens, Usage::total);
                    in_flight.answered(used);
                    route.settle(grant, used);
                    route.answered();
                    probe.over();
                    route.correct(&got.rate, call);
                    self.note(good(route, call, &got, took));
                    return Ok(Some(got.response));
                }
                Err(failed) => failed,
            };
            drop(in_flight);
            // The usage of a failed call is unknown. Its reservation counts as used, unless the server never worked on
            // the call.
            let used = match failed.reached {
                Reached::Nobody => 0,
                Reached::Refusal if failed.error.verdict == Verdict::Pause => 0,
                Reached::Refusal | Reached::Server => call.tokens,
            };
            route.settle(grant, used);
            let end = CallEnd::Failed(failed.error.class);
            let mut bad = attempt(route, call, end, took);
            bad.status_code = failed.error.status;
            if failed.reached == Reached::Server {
                bad = bad.uncertain(route, call);
            }
            self.note(bad);
            if let Some(reservation) = self.reservation {
                reservation
                    .give_back(&self.reserve(route, call, Cost::ZERO))
                    .await;
            }
            route.correct(&failed.rate, call);
            let wait = match self.judge(route, call, failed, &mut probe, &mut tries)? {
                Next::Again(wait) => wait,
                Next::Otherwise => return Ok(None),
            };
            drop(probe);
            tokio::select! {
                biased;
                () = self.stop.drain.cancelled() => return Err(RouteError::Stopped(Stopped::Ending)),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Waits for everything that a call needs: latch, breaker, pause, limits, money. A permission that is no longer
    /// fresh is given back and taken again, so that no call is sent with it.
    async fn admitted<'r>(
        &self,
        route: &'r Route,
        call: &Call<'_>,
    ) -> Result<(Leave, Probe<'r>), RouteError> {
        let mut paid = self.reservation.is_none();
        let _waiting = WaitingGuard::begin(&self.stop.waiting);
        if let Some(marks) = self.marks
            && !marks.waits().await
        {
            return Err(RouteError::Stopped(Stopped::Ending));
        }
        loop {
            let probe = self.pass(route).await?;
            let grant = tokio::select! {
                biased;
                () = self.stop.drain.cancelled() => return Err(RouteError::Stopped(Stopped::Ending)),
                // A call that waits for the limits of a paused route waits for the pause instead, or uses another
                // route.
                () = route.until_paused() => continue,
                grant = route.take(call) => grant,
            };
            let grant = grant.map_err(|refusal| {
                CallError::new(Class::BadRequest, Verdict::Elsewhere, &refusal.to_string())
            })?;
            let waited = match self.reservation {
                Some(reservation) if !paid => {
                    let Some(worst) = worst(route, call) else {
                        route.give_back(grant);
                        return Err(unbounded(route, call).into());
                    };
                    paid = true;
                    match reservation.reserve(&self.reserve(route, call, worst)).await {
                        Reserved::AtOnce => false,
                        Reserved::AfterWaiting => true,
                        refused => {
                            route.give_back(grant);
                            let why = if refused == Reserved::NoMoney {
                                Stopped::NoMoney
                            } else {
                                Stopped::Ending
                            };
                            return Err(RouteError::Stopped(why));
                        }
                    }
                }
                _ => false,
            };
            let shut = match route.look(Instant::now()) {
                Gate::Free => false,
                Gate::Probe => !probe.is_one(),
                Gate::Shut(shut) => shut.paused || !probe.is_one(),
            };
            if waited || shut || route.latched().is_some() || !grant.is_fresh() {
                route.give_back(grant);
                continue;
            }
            if self.stop.has_run_out() {
                route.give_back(grant);
                return Err(RouteError::Stopped(Stopped::Ending));
            }
            return Ok((grant, probe));
        }
    }

    /// Decides the step after a failed attempt: another attempt, or the end on this route.
    fn judge(
        &self,
        route: &Route,
        call: &Call<'_>,
        failed: FailedExchange,
        probe: &mut Probe<'_>,
        tries: &mut Tries,
    ) -> Result<Next, RouteError> {
        let is_out = is_of_server(&failed);
        let FailedExchange {
            error,
            response,
            reached,
            ..
        } = failed;
        let name = route.settings.name.as_str();
        if route.learns(&error, call) {
            route.alive();
            probe.over();
            return Ok(Next::Otherwise);
        }
        match error.verdict {
            Verdict::Pause => {
                if reached == Reached::Refusal {
                    route.breathes();
                    probe.over();
                }
                let pause = failpoint!("every-refusal-pauses").then_some(Duration::from_secs(2));
                route.pause(pause.or(error.retry_after), &error.message);
                self.publish(|| CallFact::Paused {
                    route: name.to_owned(),
                    message: error.message.clone(),
                    pause: error.retry_after,
                });
                if error.retry_after != Some(Duration::ZERO) {
                    return Ok(Next::Again(Duration::ZERO));
                }
                // A call that may be repeated at once still backs off, and still ends at `--give-up`.
                if let Some(stopped) = self.gave_up(Instant::now()) {
                    return Err(stopped);
                }
                tries.all += 1;
                let wait = self.client.retry.backoff(tries.all - 1, fastrand::f64());
                return Ok(Next::Again(wait));
            }
            Verdict::Latch if !is_about_the_model(call, &error) => {
                let proof = route.evidence.refused(self.stop.request, &error, false);
                if proof == RouteProof::OfRoute {
                    latch(route, error);
                    return Err(RouteError::Elsewhere);
                }
                route.breathes();
                probe.over();
                // One refusal may be an error of a route that has answered others.
                let may_pass = route.evidence.answers() > 0 && !is_page(&error);
                if may_pass && tries.counted < self.client.retry.retries {
                    tries.counted += 1;
                    return Ok(Next::Again(self.again(route, error, tries, false)));
                }
            }
            Verdict::Retry | Verdict::RetryQuietly => {
                let ill = error.verdict == Verdict::Retry && route.failed(probe.is_one(), &error.message);
                probe.over();
                if error.verdict == Verdict::RetryQuietly {
                    route.breathes();
                }
                if let Some(asked) = error.retry_after {
                    route.pause(Some(asked), &error.message);
                }
                let alone = is_out && route.evidence.failed(self.stop.request);
                let out = is_out && tries.is_outage(route.evidence.answers(), alone);
                // A failure of an open or unreachable route does not count against the request.
                let excused = (ill && !tries.is_over(alone)) || out || reached == Reached::Nobody;
                let fails = ill && failpoint!("outage-is-the-requests");
                let may_retry =
                    !tries.is_unreadable_again(&error) && tries.counted < self.client.retry.retries;
                if !fails && (excused || may_retry) {
                    tries.counted += u32::from(!excused);
                    return Ok(Next::Again(self.again(route, error, tries, ill)));
                }
            }
            _ => {
                if reached == Reached::Refusal {
                    route.alive();
                    probe.over();
                }
            }
        }
        Err(RouteError::Failed(Box::new(CallFailure {
            error,
            response,
            causes: std::mem::take(&mut tries.causes),
        })))
    }

    /// Returns the wait before the next attempt. It is zero if the gate makes the wait: the breaker is open, or the
    /// provider requested a pause.
    fn again(&self, route: &Route, error: CallError, tries: &mut Tries, shut: bool) -> Duration {
        let wait = if shut || error.retry_after.is_some() {
            Duration::ZERO
        } else {
            self.client.retry.backoff(tries.all, fastrand::f64())
        };
        tries.all += 1;
        self.publish(|| CallFact::Retried {
            route: route.settings.name.clone(),
            class: error.class,
            message: error.message.clone(),
            retry: tries.all,
            wait,
        });
        tries.note(error.message);
        wait
    }

    fn note(&mut self, call: Attempt) {
        self.publish(|| CallFact::Ended {
            route: call.route.clone(),
            model: call.model.clone(),
            end: call.end,
            usage: call.usage,
            cost: call.cost,
            duration: Duration::from_millis(call.duration_ms),
        });
        self.stop.note(call.clone());
        self.attempts.push(call);
    }

    fn reserve<'r>(&self, route: &'r Route, call: &'r Call<'_>, worst: Cost) -> Reserve<'r> {
        Reserve {
            route: &route.settings.name,
            model: &call.model,
            tier: asked_tier(route),
            spent: self
                .attempts
                .iter()
                .map(Attempt::worst)
                .fold(Cost::ZERO, Cost::plus),
            worst,
        }
    }
}

/// Turns an answer that its server broke off into a failure, although it has a finish reason.
fn broken_off(route: &Route, got: Got) -> Result<Got, FailedExchange> {
    let verdict = match &got.response {
        ModelResponse::Answer(answer) => answer.verdict_of_finish(),
        ModelResponse::Verbatim(_) => Ok(()),
    };
    match verdict {
        Err(error) if error.verdict == Verdict::Retry => Err(FailedExchange {
            rate: got.rate,
            ..error.into()
        }),
        _ => route.finishes.take(&route.warnings, got),
    }
}

/// Whether an error is about the model of a Batch line. A Batch line names its own model, so a wrong one fails only
/// that line and not the route.
fn is_about_the_model(call: &Call<'_>, error: &CallError) -> bool {
    call.is_line() && !is_about_the_route(error)
}

/// Whether a refusal is about the key, the account or the address. Such a refusal does not depend on the request.
pub(super) const fn is_about_the_route(error: &CallError) -> bool {
    matches!(error.class, Class::Auth | Class::Quota | Class::Network)
}
