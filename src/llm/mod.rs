//! Calls to models: routes and chains, limits, retries, the wire.
//!
//! ```text
//! ModelRequest ─▶ RouteSelector ─▶ gate (latch, breaker, pause) ─▶ limits ─▶ reservation ─▶ dialect ─▶ transport
//!                      ▲                                                                                   │
//!                      └──── retry, next route, or another manner ◀── verdict ◀── dialect ◀────────────────┤
//!                                                                                                          ▼
//!                                                                                                    ModelResponse
//! ```
//!
//! Failure behaviour:
//!
//! * A 429 pauses the whole route and spends no attempt.
//! * A refused key or an empty account latches the route for the run.
//! * Consecutive failures open the breaker of the route. Its requests then wait or use the next route.
//! * Other temporary failures are retried with jitter, up to the retry policy. A faulty request is not retried.
//! * A stream that ends without a finish reason or `[DONE]` gives no answer.
//! * A cancelled call closes its connection.

mod answers;
mod bill;
mod booking;
mod call;
pub mod client;
mod connections;
mod cost_reservation;
pub mod dialect;
mod doubts;
mod evidence;
mod exchanged;
mod fault;
mod finish;
mod forecast;
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
mod token_count;
mod traffic;
mod transport;
mod tries;
mod verbatim;
mod warnings;
pub mod wire;

pub use client::{CallFailure, Chain, ChainError, Client, ClientError, RouteError, Stop, Stopped};
pub use cost_reservation::{CostReservation, Reserve, Reserved};
pub use doubts::Doubts;
pub use forecast::CallForecast;
pub use http::observer_client;
pub use mark::Marks;
pub use request::{
    ChatRequest, Message, ModelRequest, OutputSchema, Role, Sampling, Tool, VerbatimRequest,
    estimate_messages, estimate_tokens,
};
pub use response::{Answer, ModelResponse, Verbatim, strip_think};
pub use route::{Route, RouteStatus};
pub use selector::RouteSelector;
pub use token_count::{TokenCounter, TokenizerError, likely_messages, likely_tokens};
pub use wire::CallError;
