//! The tokens, the money and the time that a run would use, before anything is sent.
//!
//! ```text
//! ledger of earlier calls ─▶ History ─┐
//!                                     ├─▶ Estimator::task ──▶ Estimator::request ──▶ Estimate ─▶ text, JSON
//! agents, routes, settings ───────────┘   (one agent's call)   (plan, tasks)            └─▶ time, and the limit
//! ```
//!
//! * The expectation uses the real prompt of each task, and the lengths that earlier answers of its agent had. Without
//!   earlier answers it uses the agent's limit.
//! * The worst case is the sum of what each call would reserve under a cost cap: each byte of its prompt as a token, its
//!   longest answer, the repair, all retries, and every route of its chain.
//!
//! Deliberately absent: reading the input, and every call.

mod history;
mod plans;
mod request;
mod searches;
mod sums;
mod task;
mod text;
mod time;

pub use history::History;
pub use request::{RequestToEstimate, SessionRounds, TaskToEstimate};
pub use sums::{CallSums, Estimate, RowKey};
pub use task::{Estimator, MaterialAhead};
pub use text::{EstimateReport, estimate_json, estimate_text};
pub use time::{BindingLimit, TimeEstimate};
