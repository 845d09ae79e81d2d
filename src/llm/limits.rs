//! The limits a minute of one route, and the limits that a provider's answers report for one model.
//!
//! A learned limit belongs to the model whose answer reported it. A Batch file may name many models, and the limit of
//! one must not slow the others. A call takes from its model's limits first, then from the route's. Only the route's
//! grant decides whether the permission is fresh, because the provider enforces a learned limit itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::dialect::Call;
use crate::domain::bucket::KEPT;
use crate::limit::{Grant, Limiter, Limits, TooLarge};

/// Models whose learned limits are kept for one route.
const MODELS: usize = 64;

/// The limits of one route.
#[derive(Debug)]
pub(super) struct RouteLimits {
    limiter: Arc<dyn Limiter>,
    /// The limits of the settings.
    configured: Limits,
    /// The limits in force: the stricter ones of the settings and the run.
    in_force: Mutex<Limits>,
    models: Mutex<HashMap<String, ModelLimits>>,
}

/// The learned limits of one model.
#[derive(Debug)]
struct ModelLimits {
    limiter: Arc<dyn Limiter>,
    /// The time when an answer last reported them.
    named_at: Instant,
}

/// Permission for one call.
#[derive(Debug)]
#[must_use = "what it reserves stays reserved until it is settled or given back"]
pub(super) struct Leave {
    grant: Grant,
    of_model: Option<(Arc<dyn Limiter>, Grant)>,
}

impl Leave {
    /// Whether a call may still be sent with it.
    pub(super) fn is_fresh(&self) -> bool {
        self.grant.is_fresh()
    }
}

/// The grant of a model's limiter while the call waits for the route's. It is given back unless it is used.
struct ModelGrant(Option<(Arc<dyn Limiter>, Grant)>);

impl Drop for ModelGrant {
    fn drop(&mut self) {
        if let Some((limiter, grant)) = self.0.take() {
            limiter.give_back(grant);
        }
    }
}

impl RouteLimits {
    pub(super) fn new(limiter: Arc<dyn Limiter>, configured: Limits) -> Self {
        Self {
            limiter,
            configured,
            in_force: Mutex::new(configured),
            models: Mutex::default(),
        }
    }

    /// Waits until the call may be sent. Dropping the future gives everything back.
    pub(super) async fn take(&self, call: &Call<'_>) -> Result<Leave, TooLarge> {
        let mut held = ModelGrant(None);
        if let Some(limiter) = self.learned(&call.model) {
            let grant = limiter.take(call.tokens).await?;
            held.0 = Some((limiter, grant));
        }
        let grant = self.limiter.take(call.tokens).await?;
        Ok(Leave {
            grant,
            of_model: held.0.take(),
        })
    }

    /// Records the end of a call that used so many tokens.
    pub(super) fn settle(&self, leave: Leave, used: u64) {
        if let Some((limiter, grant)) = leave.of_model {
            limiter.settle(grant, used);
        }
        self.limiter.settle(leave.grant, used);
    }

    /// Gives the permission of an unsent call back.
    pub(super) fn give_back(&self, leave: Leave) {
        if let Some((limiter, grant)) = leave.of_model {
            limiter.give_back(grant);
        }
        self.limiter.give_back(leave.grant);
    }

    /// Stops all grants for this duration.
    pub(super) fn pause(&self, lasting: Duration, reason: &str) {
        self.limiter.pause(lasting, reason);
    }

    /// Applies the limits of the run. The stricter limit of settings and run holds.
    pub(super) fn keep(&self, run: Limits) {
        let limits = self.configured.strictest(run);
        *self.in_force.lock().unwrap_or_else(PoisonError::into_inner) = limits;
        self.limiter.keep(limits);
        for learned in self.models().values() {
            learned.limiter.keep(limits);
        }
    }

    /// Returns the limits in force: the stricter ones of the settings and the run.
    pub(super) fn in_force(&self) -> Limits {
        *self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the limits in an answer to a call of that model.
    pub(super) fn learn(&self, model: &str, limits: Limits) {
        if limits.below(self.in_force()) == Limits::default() {
            return;
        }
        let named_at = Instant::now();
        let mut models = self.models();
        if !models.contains_key(model) && models.len() >= MODELS {
            models.retain(|_, learned| learned.is_kept());
            if models.len() >= MODELS {
                return;
            }
        }
        let learned = models.entry(model.to_owned()).or_insert_with(|| ModelLimits {
            limiter: self.limiter.of_model(model),
            named_at,
        });
        learned.named_at = named_at;
        learned.limiter.learn(limits);
    }

    /// Returns how many calls wait.
    pub(super) fn waiting(&self) -> usize {
        let of_models: usize = self
            .models()
            .values()
            .map(|learned| learned.limiter.waiting())
            .sum();
        of_models + self.limiter.waiting()
    }

    /// Stores the state for the next process.
    pub(super) async fn close(&self) {
        self.limiter.close().await;
    }

    /// Returns the limiter of the model's learned limits, unless they have expired.
    fn learned(&self, model: &str) -> Option<Arc<dyn Limiter>> {
        let mut models = self.models();
        let learned = models.get(model)?;
        if learned.is_kept() {
            return Some(Arc::clone(&learned.limiter));
        }
        models.remove(model);
        None
    }

    fn models(&self) -> MutexGuard<'_, HashMap<String, ModelLimits>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ModelLimits {
    fn is_kept(&self) -> bool {
        self.named_at.elapsed() < Duration::from_nanos(KEPT.unsigned_abs())
    }
}
