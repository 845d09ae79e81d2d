//! The reservation of a call under a cost cap.

use async_trait::async_trait;

use crate::domain::usage::Cost;

/// Keeps a run below its cost cap. Each lease has one.
#[async_trait]
pub trait CostReservation: Send + Sync {
    /// Reserves the highest possible cost of a call. A granted reservation is durable: after a crash it counts as
    /// spent. Waits while calls in flight may still cost less than their reservations.
    async fn reserve(&self, call: &Reserve<'_>) -> Reserved;

    /// Reduces the reservation after a failed call to the highest possible cost of the lease's calls so far, and frees
    /// the rest.
    async fn give_back(&self, call: &Reserve<'_>);
}

/// A call that needs a reservation.
#[derive(Debug, Clone, Copy)]
pub struct Reserve<'a> {
    /// Its route.
    pub route: &'a str,
    /// Its model.
    pub model: &'a str,
    /// The service tier that it asks for.
    pub tier: Option<&'a str>,
    /// The highest possible cost of the earlier calls of the task.
    pub spent: Cost,
    /// The highest possible cost of this call.
    pub worst: Cost,
}

/// The result of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    /// The cost is reserved without a wait.
    AtOnce,
    /// The cost is reserved after a wait. The call's permission may be too old now.
    AfterWaiting,
    /// The cost cap is used up, and no reservation will be given back.
    NoMoney,
    /// The run is ending.
    Ending,
}
