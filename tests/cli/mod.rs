//! The real program as its users meet it: hostile input, bad places, failing providers, careful operators.
//!
//! All tests are in one binary. Each test has its own folder, its own environment and, if needed, its own provider on a
//! free port. No test measures time or sleeps: it polls for the state that it waits for.

#![expect(clippy::unwrap_used, reason = "what a test cannot do, it fails with")]

mod agent_searches;
mod agents;
mod anthropic;
mod ask;
mod bad_input;
mod batch_form;
mod chains;
mod changed_input;
mod commands;
mod contained;
mod continuing;
mod dialects;
mod echo;
mod endings;
mod environment;
mod estimate;
mod events;
mod failover;
mod faults;
mod fleet;
mod hangup;
pub(crate) mod harness;
mod help;
mod hostile;
mod json_log;
mod keys;
mod limits;
mod man;
mod memory;
pub(crate) mod metrics;
mod missing;
mod model;
mod money;
mod names;
mod open_files;
mod output;
mod parts;
mod pipeline;
mod places;
mod planning;
mod planted;
mod posts;
mod prompts;
mod proofs;
mod provider;
use crate::support::proxy;
mod redos;
mod refusals;
mod rehearsal;
mod route_settings;
mod samples;
mod search;
mod searches;
mod secrets;
use crate::support::postgres as server;
mod session_commands;
mod sessions;
mod standard_input;
mod stops;
mod store_check;
mod stream_ends;
mod structured;
mod summary;
mod tables;
mod tables_out;
mod template_data;
mod terminal;
mod together;
mod told;
