//! The engine: it reads requests, works on them in parallel and writes results.
//!
//! ```text
//! reader (thread) ──chunks──▶ ingest ──▶ store ◀── settle ── worker ──▶ model
//!                               │                    ▲  │
//!                             facts              spawns │ facts
//!                               ▼                    │  ▼
//!                            dispatcher: counters, claims, cancellation ──wake──▶ exporter ──▶ file
//! ```
//!
//! One loop, the dispatcher, owns counters, claims and cancellation. The other parts send it facts and share no state.
//! The store holds all progress: a kill at any point loses at most the calls in flight.
//!
//! | folder | duty |
//! |---|---|
//! | `input/` | reads lines and tables, and stores their requests |
//! | `dispatch/` | the loop: claims, heartbeats, stop conditions, shutdown |
//! | `work/` | performs the tasks of one leased queue: calls, money, containment of faults |
//! | `redo/` | finds the tasks of finished requests that are made anew |
//! | `output/` | writes finished lines to files and to standard output, and verifies result files |
//!
//! `dispatch/` uses `input/` and `work/`; the other folders do not use each other.

mod begin;
mod dispatch;
mod error;
mod input;
mod job;
mod output;
mod redo;
mod run;
mod signals;
mod wakes;
mod work;
mod worker_loop;

pub use error::RunError;
pub use input::form::{InputForm, InputFormat};
pub use input::reader::{InputError, InputPart, check_columns, read_input};
pub use input::table::mapping::Mapping;
pub use job::{Input, Job, Output, Services, Target};
pub use output::verify::{FileContent, FileProof, verify};
pub use redo::{RedoChoice, RedoEntry, RedoFilter, RedoList, RedoReason, RedoTools, TaskToRedo, find_redos};
pub use run::run_batch;
pub use signals::{Listener, Signals};
pub use worker_loop::{WorkerOptions, work_on_runs};
