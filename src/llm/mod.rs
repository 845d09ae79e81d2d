//! Calls to models: routes and chains, limits, retries, the wire.
//!
//! ```text
//! ModelRequest ─▶ RouteSelector ─▶ gate (latch, breaker, pause) ─▶ limits ─▶ reservation ─▶ dialect writes ─▶ transport sends
//!                      ▲                                                                                        │
//!                      └──── retry, the next route, or asked otherwise ◀── verdict ◀── dialect reads ◀──────────┤
//!                                                                                                               ▼
//!                                                                                                         ModelResponse
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
pub mod dialect;
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
mod request;
mod response;
mod route;
mod selector;
mod sent;
mod transport;
mod tries;
mod verbatim;
mod warnings;
pub mod wire;

pub use client::{CallFailure, Chain, ChainError, Client, ClientError, RouteError, Stop, Stopped};
pub use cost_reservation::{CostReservation, Reserve, Reserved};
pub use doubts::Doubts;
pub use mark::Marks;
pub use request::{
    ChatRequest, Message, ModelRequest, OutputSchema, Role, Sampling, Tool, VerbatimRequest,
    estimate_messages, estimate_tokens,
};
pub use response::{Answer, ModelResponse, Verbatim, strip_think};
pub use route::{Route, Standing};
pub use selector::RouteSelector;
pub use wire::CallError;
