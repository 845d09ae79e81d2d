//! A call from the first attempt to its end: the one place where a route is asked again.
//!
//! ```text
//! gate (latch, breaker, pause) ─▶ limiter ─▶ reservation ─▶ send ─▶ judge ─▶ answer
//!    ▲                                                      │
//!    └───────────────────────── again ◀─────────────────────┴─▶ retries used up, or dead: the next route
//! ```
//!
//! While the breaker of a route is open, the request waits and no attempt is counted against it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::booking::{attempt, good, millis, unbounded, worst};
use super::client::{Ask, Ended, Form, Reply, Stopped, Unanswered};
use super::cost_reservation::{Reserve, Reserved};
use super::evidence::{Proof, is_page};
use super::fault::{Failed, Reached};
use super::limits::Leave;
use super::proof::latch;
use super::route::{Gate, Route};
use super::sent::Sent;
use super::transport::{self, Got};
use super::tries::{Tries, is_of_server};
use super::walk::{Probe, Walk};
use super::wire::CallError;
use crate::clock;
use crate::domain::failure::{Class, Verdict};
use crate::domain::outcome::{Attempt, CallEnd};
use crate::domain::usage::{Cost, Usage};
use crate::limit::Waiting;

impl Walk<'_> {
    /// Asks the route until there is an answer or no sense in asking it again.
    pub async fn ask(&mut self, route: &Arc<Route>, ask: &Ask) -> Result<Reply, Ended> {
        let began = Instant::now();
        let end = self.until_end(route, ask).await;
        self.duration_ms = self.duration_ms.saturating_add(millis(began.elapsed()));
        end
    }

    async fn until_end(&mut self, route: &Route, ask: &Ask) -> Result<Reply, Ended> {
        let mut tries = Tries::new(self.client.give_up);
        loop {
            let (grant, mut probe) = self.admitted(route, ask).await?;
            let (started, started_at) = (Instant::now(), clock::now_ms());
            let sent = Sent::default();
            let got = tokio::select! {
                biased;
                got = transport::send(self.client, route, ask, self.marks, &sent) => got,
                () = self.stop.cancel.cancelled() => {
                    route.settle(grant, if sent.has_begun() { ask.tokens } else { 0 });
                    let took = (started_at, millis(started.elapsed()));
                    let mut given_up = attempt(route, ask, CallEnd::Abandoned, took);
                    if sent.has_begun() {
                        given_up = given_up.uncertain(route, ask);
                    }
                    self.note(given_up);
                    return Err(Ended::Stopped(Stopped::Ending));
                }
            };
            let took = (started_at, millis(started.elapsed()));
            if let Some(marks) = self.marks {
                marks.works().await;
            }
            let failed = match got.and_then(|got| broken_off(route, got)) {
                Ok(got) => {
                    let usage = got.bill.usage;
                    route.settle(grant, usage.map_or(ask.tokens, Usage::total));
                    route.answered();
                    probe.over();
                    route.correct(&got.rate, ask);
                    tracing::debug!(
                        llm.route = route.settings.name,
                        llm.model = ask.model,
                        llm.input_tokens = usage.map(|usage| usage.input_tokens),
                        llm.output_tokens = usage.map(|usage| usage.output_tokens),
                        duration_ms = took.1,
                        "call answered"
                    );
                    self.note(good(route, ask, &got, took));
                    return Ok(got.reply);
                }
                Err(failed) => failed,
            };
            // What a failed call used is unknown: its reservation counts as used, unless the server never worked on it.
            let used = match failed.reached {
                Reached::Nobody => 0,
                Reached::Refusal if failed.error.verdict == Verdict::Pause => 0,
                Reached::Refusal | Reached::Server => ask.tokens,
            };
            route.settle(grant, used);
            let end = CallEnd::Failed(failed.error.class);
            let mut bad = attempt(route, ask, end, took);
            bad.status_code = failed.error.status;
            if failed.reached == Reached::Server {
                bad = bad.uncertain(route, ask);
            }
            self.note(bad);
            if let Some(reservation) = self.reservation {
                reservation.give_back(&self.reserve(route, ask, Cost::ZERO)).await;
            }
            route.correct(&failed.rate, ask);
            let wait = self.judge(route, ask, failed, &mut probe, &mut tries)?;
            drop(probe);
            tokio::select! {
                biased;
                () = self.stop.drain.cancelled() => return Err(Ended::Stopped(Stopped::Ending)),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Everything that stands before a call: latch, breaker, pause, limits, money. Whatever was waited for, nothing
    /// is sent on a leave that has grown old.
    async fn admitted<'r>(&self, route: &'r Route, ask: &Ask) -> Result<(Leave, Probe<'r>), Ended> {
        let mut paid = self.reservation.is_none();
        let _waiting = Waiting::begin(&self.stop.waiting);
        if let Some(marks) = self.marks
            && !marks.waits().await
        {
            return Err(Ended::Stopped(Stopped::Ending));
        }
        loop {
            let probe = self.pass(route).await?;
            let grant = tokio::select! {
                biased;
                () = self.stop.drain.cancelled() => return Err(Ended::Stopped(Stopped::Ending)),
                // Whoever waits for the limits of a paused route waits for the pause instead, or goes elsewhere.
                () = route.until_paused() => continue,
                grant = route.take(ask) => grant,
            };
            let grant = grant.map_err(|refusal| {
                CallError::new(Class::BadRequest, Verdict::Elsewhere, &refusal.to_string())
            })?;
            let waited = match self.reservation {
                Some(reservation) if !paid => {
                    let Some(worst) = worst(route, ask) else {
                        route.give_back(grant);
                        return Err(unbounded(route).into());
                    };
                    paid = true;
                    match reservation.reserve(&self.reserve(route, ask, worst)).await {
                        Reserved::AtOnce => false,
                        Reserved::AfterWaiting => true,
                        refused => {
                            route.give_back(grant);
                            let why = if refused == Reserved::NoMoney {
                                Stopped::NoMoney
                            } else {
                                Stopped::Ending
                            };
                            return Err(Ended::Stopped(why));
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
                return Err(Ended::Stopped(Stopped::Ending));
            }
            return Ok((grant, probe));
        }
    }

    /// What follows a failed attempt: a wait before the next one, or the end on this route.
    fn judge(
        &self,
        route: &Route,
        ask: &Ask,
        failed: Failed,
        probe: &mut Probe<'_>,
        tries: &mut Tries,
    ) -> Result<Duration, Ended> {
        let is_out = is_of_server(&failed);
        let Failed {
            error,
            response,
            reached,
            ..
        } = failed;
        let name = route.settings.name.as_str();
        if route.learns(&error, ask) {
            route.alive();
            probe.over();
            return Err(Ended::Refused);
        }
        match error.verdict {
            Verdict::Pause => {
                if reached == Reached::Refusal {
                    route.breathes();
                    probe.over();
                }
                let pause = failpoint!("every-refusal-pauses").then_some(Duration::from_secs(2));
                route.pause(pause.or(error.retry_after), &error.message);
                tracing::info!(llm.route = name, "the route pauses: {}", error.message);
                if error.retry_after != Some(Duration::ZERO) {
                    return Ok(Duration::ZERO);
                }
                // One that may be asked again at once is not asked again in a loop, nor for ever.
                if let Some(stopped) = self.gave_up(Instant::now()) {
                    return Err(stopped);
                }
                tries.all += 1;
                return Ok(self.client.retry.backoff(tries.all - 1, fastrand::f64()));
            }
            Verdict::Latch if !is_about_the_model(ask, &error) => {
                let proof = route.evidence.refused(self.stop.request, &error, false);
                if proof == Proof::OfRoute {
                    latch(route, error);
                    return Err(Ended::Elsewhere);
                }
                route.breathes();
                probe.over();
                // It may be one stray answer of a route that has answered others.
                let may_pass = route.evidence.answers() > 0 && !is_page(&error);
                if may_pass && tries.counted < self.client.retry.retries {
                    tries.counted += 1;
                    return Ok(self.again(route, ask, error, tries, false));
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
                // A route that is ill, or that nothing reaches, says nothing of the request.
                let excused = (ill && !tries.is_over(alone)) || out || reached == Reached::Nobody;
                let fails = ill && failpoint!("outage-is-the-requests");
                let may_retry =
                    !tries.is_unreadable_again(&error) && tries.counted < self.client.retry.retries;
                if !fails && (excused || may_retry) {
                    tries.counted += u32::from(!excused);
                    return Ok(self.again(route, ask, error, tries, ill));
                }
            }
            _ => {
                if reached == Reached::Refusal {
                    route.alive();
                    probe.over();
                }
            }
        }
        Err(Ended::Failed(Box::new(Unanswered {
            error,
            response,
            causes: std::mem::take(&mut tries.causes),
        })))
    }

    /// The wait before the next try. The gate makes it where the route is shut.
    fn again(&self, route: &Route, ask: &Ask, error: CallError, tries: &mut Tries, shut: bool) -> Duration {
        let wait = if shut || error.retry_after.is_some() {
            Duration::ZERO
        } else {
            self.client.retry.backoff(tries.all, fastrand::f64())
        };
        tries.all += 1;
        tracing::info!(
            llm.route = route.settings.name,
            llm.model = ask.model,
            error.class = error.class.as_str(),
            wait_ms = millis(wait),
            "call failed, retry {} follows: {}",
            tries.all,
            error.message
        );
        tries.note(error.message);
        wait
    }

    fn note(&mut self, call: Attempt) {
        self.stop.note(call.clone());
        self.attempts.push(call);
    }

    fn reserve<'r>(&self, route: &'r Route, ask: &'r Ask, worst: Cost) -> Reserve<'r> {
        Reserve {
            route: &route.settings.name,
            model: &ask.model,
            spent: self
                .attempts
                .iter()
                .map(Attempt::worst)
                .fold(Cost::ZERO, Cost::plus),
            worst,
        }
    }
}

/// An answer that its server broke off is none, though it has a finish reason.
fn broken_off(route: &Route, got: Got) -> Result<Got, Failed> {
    let verdict = match &got.reply {
        Reply::Answer(answer) => answer.verdict_of_finish(),
        Reply::Verbatim(_) => Ok(()),
    };
    match verdict {
        Err(error) if error.verdict == Verdict::Retry => Err(Failed {
            rate: got.rate,
            ..error.into()
        }),
        _ => route.finishes.take(&route.warnings, got),
    }
}

/// A Batch line names its own model: a wrong one fails that line, and says nothing about the route.
fn is_about_the_model(ask: &Ask, error: &CallError) -> bool {
    matches!(ask.form, Form::Verbatim { .. }) && !is_about_the_route(error)
}

/// Whether a refusal is about the key, the account or the address, whatever was asked.
pub(super) const fn is_about_the_route(error: &CallError) -> bool {
    matches!(error.class, Class::Auth | Class::Quota | Class::Network)
}
