//! The real program as its users meet it: hostile input, bad places, failing providers, careful operators.
//!
//! One test binary. Each test has a folder of its own, an environment of its own and, where it needs one, a
//! provider of its own on a free port. Nothing is timed and nothing waits for a clock: what takes time is
//! waited for by looking.

#![expect(clippy::unwrap_used, reason = "what a test cannot do, it fails with")]

#[path = "cli/agents.rs"]
mod agents;
#[path = "cli/bad_input.rs"]
mod bad_input;
#[path = "cli/batch_form.rs"]
mod batch_form;
#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/chains.rs"]
mod chains;
#[path = "cli/changed_input.rs"]
mod changed_input;
#[path = "cli/commands.rs"]
mod commands;
#[path = "cli/contained.rs"]
mod contained;
#[path = "cli/continuing.rs"]
mod continuing;
#[path = "cli/echo.rs"]
mod echo;
#[path = "cli/endings.rs"]
mod endings;
#[path = "cli/environment.rs"]
mod environment;
#[path = "cli/events.rs"]
mod events;
#[path = "cli/failover.rs"]
mod failover;
#[path = "cli/faults.rs"]
mod faults;
#[path = "cli/fleet.rs"]
mod fleet;
#[path = "cli/hangup.rs"]
mod hangup;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/hostile.rs"]
mod hostile;
#[path = "cli/json_log.rs"]
mod json_log;
#[path = "cli/keys.rs"]
mod keys;
#[path = "cli/limits.rs"]
mod limits;
#[path = "cli/memory.rs"]
mod memory;
#[path = "cli/missing.rs"]
mod missing;
#[path = "cli/model.rs"]
mod model;
#[path = "cli/money.rs"]
mod money;
#[path = "cli/names.rs"]
mod names;
#[path = "cli/open_files.rs"]
mod open_files;
#[path = "cli/output.rs"]
mod output;
#[path = "cli/places.rs"]
mod places;
#[path = "cli/planning.rs"]
mod planning;
#[path = "cli/planted.rs"]
mod planted;
#[path = "cli/posts.rs"]
mod posts;
#[path = "cli/prompts.rs"]
mod prompts;
#[path = "cli/provider.rs"]
mod provider;
#[path = "common/proxy.rs"]
mod proxy;
#[path = "cli/rehearsal.rs"]
mod rehearsal;
#[path = "cli/secrets.rs"]
mod secrets;
#[path = "common/postgres.rs"]
mod server;
#[path = "cli/session_commands.rs"]
mod session_commands;
#[path = "cli/sessions.rs"]
mod sessions;
#[path = "cli/standard_input.rs"]
mod standard_input;
#[path = "cli/stops.rs"]
mod stops;
#[path = "cli/stream_ends.rs"]
mod stream_ends;
#[path = "cli/structured.rs"]
mod structured;
#[path = "cli/terminal.rs"]
mod terminal;
#[path = "cli/together.rs"]
mod together;
#[path = "cli/told.rs"]
mod told;
