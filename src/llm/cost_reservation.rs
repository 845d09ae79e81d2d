//! The reservation of a call under a cost cap.

use async_trait::async_trait;

use crate::domain::usage::Cost;

/// Keeps a run below its cost cap. Each lease has one.
#[async_trait]
pub trait CostReservation: Send + Sync {
    /// The call may cost so much, and that is durable: after a crash it counts as spent. Waits for calls on their way
    /// to come in below what they may cost.
    async fn reserve(&self, call: &Reserve<'_>) -> Reserved;

    /// The last call has failed, and those of this lease may have cost so much so far; the rest is free again.
    async fn give_back(&self, call: &Reserve<'_>);
}

/// A call that is to be paid for.
#[derive(Debug, Clone, Copy)]
pub struct Reserve<'a> {
    /// The route it takes.
    pub route: &'a str,
    /// The model it asks.
    pub model: &'a str,
    /// What the calls of the task before it may have cost.
    pub spent: Cost,
    /// What it may cost itself.
    pub worst: Cost,
}

/// Whether a call can be paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    /// It can, and nobody waited.
    AtOnce,
    /// It can, after a wait: its leave to call may have grown old.
    AfterWaiting,
    /// It cannot: nothing is left, and nothing will come back.
    NoMoney,
    /// The run is ending.
    Ending,
}
