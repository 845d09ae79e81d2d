//! The size of a call that is not sent, and the most that it may cost.

use super::booking::highest;
use super::dialect::Call;
use super::request::ModelRequest;
use super::route::Route;
use super::wire::CallError;
use crate::domain::prices::Price;
use crate::domain::usage::Cost;

/// A call as a route would send it.
#[derive(Debug, Clone, Copy)]
pub struct CallForecast<'r> {
    price: Option<&'r Price>,
    body_bytes: u64,
    /// The largest number of tokens of its answer; `None` if there is no bound.
    pub longest: Option<u64>,
}

impl CallForecast<'_> {
    /// Returns the highest possible cost of the call, with a prompt that is `more_bytes` longer. `None` if its route has no
    /// price, or its answer no bound. A reservation under a cost cap is the same sum.
    pub fn worst(&self, more_bytes: u64) -> Option<Cost> {
        highest(
            self.price,
            self.body_bytes.saturating_add(more_bytes),
            self.longest,
        )
    }
}

impl Route {
    /// Returns the size of a call. Nothing is sent. With `capped`, the run has a cost cap, and the route's `max_tokens` bounds
    /// the answer to a Batch line.
    pub fn forecast(&self, request: &ModelRequest<'_>, capped: bool) -> Result<CallForecast<'_>, CallError> {
        let call = Call::new(self, request, capped)?;
        Ok(CallForecast {
            price: self.settings.prices.of(&call.model),
            body_bytes: call.body_bytes(),
            longest: call.longest,
        })
    }
}
