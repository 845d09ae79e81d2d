//! Calls to models: routes and chains, limits, retries, the wire.
//!
//! ```text
//! Walk: choose a route → gate (latch, breaker, pause) → limiter → reservation → transport::send → wire → verdict
//!         ▲                                                                                       │
//!         └──────────────── retry, or the next route ◀────────────────────────────────────────────┴──▶ answer
//! ```
//!
//! Failure behaviour: a 429 pauses the whole route and spends no attempt; a refused key or an empty account
//! latches it for the run; failures in a row open its breaker, and then the request waits for it or goes to the next
//! route; everything else is tried again with jitter, up to the policy. A stream that does not say why it ended
//! gives no answer. A call that is cancelled closes its connection.

mod answers;
mod bill;
mod booking;
mod breaker;
mod call;
pub mod client;
mod connections;
mod cost_reservation;
mod doubts;
mod evidence;
mod fault;
mod finish;
mod http;
mod learned;
mod limits;
mod mark;
mod pieces;
mod proof;
mod refusal;
mod refused;
mod route;
mod sent;
mod transport;
mod tries;
mod verbatim;
mod walk;
mod warnings;
pub mod wire;

pub use client::{
    Ask, Chain, Client, ClientError, Ended, Form, Over, Reply, Stop, Stopped, Unanswered, Verbatim,
};
pub use cost_reservation::{CostReservation, Reserve, Reserved};
pub use doubts::Doubts;
pub use learned::Manner;
pub use mark::Marks;
pub use route::{Route, Standing};
pub use walk::Walk;
