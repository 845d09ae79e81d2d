//! nova3 turns a file of requests into finished multi-step LLM work, and never pays twice for an answer it has stored.
//!
//! This page is the architecture. What each command does for its user stands in `README.md`.
//!
//! # The floors
//!
//! A file may use lower floors only, and parts on one floor do not know each other; `tests/house/floors.rs` reads
//! the source and holds it.
//!
//! ```text
//! main, cli               one short file for each command; builds the world and hands it down
//! engine, report, mock    the whole job · tables and texts · the server for rehearsal and tests
//! agent                   prompts as data, which tasks a request has, what a task is given, one answer judged
//! llm                     routes, retries, transport, the wire
//! store, limit, sink, observe    the durable store · requests and tokens a minute · the result file · what people see
//! postgres                connections to a database that hosts share, and what their failures mean
//! clock, config           the only homes of the wall clock and of the environment
//! domain                  pure and synchronous: line in, line out, states, failures, costs, arithmetic
//! ```
//!
//! # Who tells whom
//!
//! ```text
//!  input ──▶ reader ──chunks──▶ ingest ──add──▶ ┌───────┐ ◀──settle── worker ──ask──▶ model
//!           (thread)              │             │ store │                ▲  │
//!                               facts           └───────┘          spawn │  │ facts
//!                                 ▼              ▲     │                 │  ▼
//!                            dispatcher ──claim──┘     │             dispatcher
//!                                 │                    │ finished rows, cursor
//!                                 └──────wake──────▶ exporter ──▶ result file or stdout
//! ```
//!
//! [`engine::run_batch`] is the whole job on one screen: open the run, open the output, ingest and drive
//! together, finish. The dispatcher is the one loop that owns counters, claims and cancellation; the others
//! send it facts over channels and share no state. Everything that matters is in the store.
//!
//! In PostgreSQL many processes share a store. Each has a dispatcher of its own, whose keeper (`engine/keeper.rs`) renews
//! its leases and takes away those of the dead; [`engine::work_on_runs`] is the same drive without input and output, for
//! one run after the other. They know of each other through the store alone: there is no leader.
//!
//! # What always holds
//!
//! * **Durable before the next step.** A task's outcome is in the store, synced, before its queue goes on and
//!   before its line is written. What a kill can cost is what was called and not yet durable; the dispatcher
//!   stops claiming while as many answers as there are slots wait for the disk.
//! * **Every write is fenced.** A lease carries a fence that grows with each claim; an outcome under an old
//!   fence changes nothing but the ledger of what was paid.
//! * **States change in one place.** `domain/state.rs` has one total match for queues and one for tasks; a
//!   transition that is not in it is an error, not a surprise.
//! * **A plan is a task of its own.** A queue whose tasks nobody gave has none until its plan is settled; from then
//!   on it never gets another. Tasks that a paused queue leaves pending can be taken over by one later queue of the
//!   session, in one transaction.
//! * **Items get their numbers where they are settled**, from counters of their session: no gap, no repeat.
//! * **Lines are written once.** The length of an append is announced in the store before it happens; at the
//!   start at most that much is cut off a result file, and nothing but the beginning of the announced lines. The same
//!   rows give the same bytes at any time, so a lost file is rebuilt and `verify` can compare.
//! * **Limits are never passed, nor failed open.** No 60 seconds hold more than a route's limit, restarts and fleets
//!   included; a fleet's limits are a row of its database, and while that is out of reach nobody calls.
//! * **A 429 is a pause, not a failure.** It stops its whole route for a while, for everyone who shares its limits, and
//!   spends no attempt. A dead key or an empty account sends calls to the next route of their chain; without one the run
//!   ends and fails nobody.
//! * **A route that is down is not the request's fault.** Its breaker opens, and the request waits or goes elsewhere.
//! * **Money is held back before it is spent.** Under a cost cap each call has a durable reservation of the most it may
//!   cost; one that a dead process left behind counts as spent.
//! * **A kill from outside is not the request's fault.** A crash counts only against requests that the process worked on,
//!   not against those that waited for an answer. Requests in quarantine run in groups that are halved at each crash; two
//!   crashes while it is alone fail a request as `poison`. No attempt is charged to the others.
//! * **A fault of one request ends in that request.** A panic is caught and its task tried once more; a second one fails it as
//!   `poison`. A value that the store refuses fails its task as `internal`.
//! * **A lost lease is no death.** A worker that is frozen or cut off finds its leases gone: what it had on its way is
//!   given up, what it offers late changes the bill and nothing else. Only an owner that is not heard of any more has died.
//! * **Time is the database's.** Leases, limits and pauses that hosts share are counted by its clock; a process knows only
//!   how long ago it asked, and stops before anybody else may begin.
//! * **What is offered twice is done once.** A statement whose answer was lost is sent again under its ticket.
//! * **A broken disk ends the run.** After a failed write or commit the store promises nothing more; what was not
//!   left in good order is checked and folded in before it is used.
//! * **A short answer is no answer.** A stream that does not say why it ended is asked again.
//! * **Memory does not grow with the input.** Lines travel in chunks over bounded channels; no list of all
//!   requests exists outside the store.
//! * **Secrets stay in `config` and on the wire.** They are never stored, logged or shown.
//!
//! Deliberately absent: SQL above `store`; a wall clock outside `clock`; reading the environment outside
//! `config`; shared state between workers; a second call for a failed one anywhere but in
//! `llm/call.rs`; an in-memory double of the store (SQLite on `:memory:` is one); code for a single agent.
//!
//! # Where to change what
//!
//! | to change | go to |
//! |---|---|
//! | a prompt, the schema or the length of an answer, a new agent | `agents/*.toml`, embedded by `agent/library.rs` |
//! | what every prompt says of earlier work | `agents/material.jinja`; what goes into it: `agent/parts.rs`, how much of it: `agent/budget.rs` |
//! | what is wrong with an answer | its form: `agent/form.rs`; its items: `agent/items.rs`; a post's rules: `domain/post.rs`, `agents/banned_words.txt` |
//! | how often a model is asked again | `agent/talk.rs` for what it said, `llm/call.rs` for what went wrong on the way |
//! | how limits a minute count | `domain/bucket.rs`, and the same in `store/schema/postgres/functions/limits.sql`; a test compares them |
//! | what of limits outlives a process | `limit/record.rs` for a store that is a file; in PostgreSQL the row itself |
//! | which limits a provider's answers name | `llm/wire/rate_headers.rs`, and by model `llm/limits.rs` |
//! | when the next route is taken, or waited for | `llm/walk.rs`; when one is left alone: `llm/breaker.rs` |
//! | what ends a run early | `domain/conditions.rs` as numbers, `engine/halts.rs` as decisions |
//! | what is held back of the money | `store/sqlite/money.rs`, `store/schema/postgres/functions/money.sql`; who waits for it: `engine/purse.rs` |
//! | how much is taken into memory | queues: `engine/memory.rs`; answers on their way: `llm/answers.rs` |
//! | how a command ends at a signal | `cli/command.rs` and `engine/signals.rs` hear it, `engine/shutdown.rs` ends the run |
//! | a model, its limits and prices | a route in the user's `nova3.toml`; what a route may say: `config/raw.rs`, `config/routes.rs` |
//! | a default | `config/default.toml`; a test compares it with the text of `--help` |
//! | a flag | `cli/args/`, and `cli/world.rs` if a setting has it too |
//! | what an input line may say | `domain/request/`: keys, forms and rules, one file each |
//! | which tasks a request has | `agent/plan.rs` without a model, `agent/supervise.rs` with one |
//! | what a session remembers | `store/sqlite/context.rs`, `store/postgres/context.rs`; who takes over pending tasks: `store/sqlite/plan.rs`, `store/schema/postgres/functions/plans.sql` |
//! | what a provider sends or refuses | `llm/wire/`, with an example under `fixtures/llm` |
//! | when a call is tried again | `llm/wire/error.rs` says what an error asks for, `llm/call.rs` does it |
//! | a result line | `domain/result_line.rs` |
//! | an event | `domain/stream_event.rs`; what a row tells: `store/telling.rs`; what is noted for it: `store/sqlite/events.rs`, `store/schema/postgres/functions/settling.sql` |
//! | a column | a new file in `store/schema/`, listed in `store/sqlite/open.rs`, and in `store/schema/postgres/tables/`, with a higher version in `store/postgres/schema.rs`; then the SQL that uses it |
//! | who may claim, keep and take away what | `store/schema/postgres/functions/leases.sql`; how often: `engine/keeper.rs` |
//! | what workers have to agree on | `store/terms.rs` |
//! | another store | the ports of `store/mod.rs`; their laws are in their documentation |
//! | what people see while it runs | an observer of [`observe::RunEvent`]; the engine stays as it is |
//! | which requests a crash counts against | the rules: `store/sqlite/quarantine.rs`; on PostgreSQL `nova3_reap` in `store/schema/postgres/functions/leases.sql`; their turn: `engine/quarantine.rs`; their marks: `engine/marks.rs` |
//! | what a panic or a refused value of one request does | `engine/contain.rs` |
//! | what an unclean end asks for | `store/sqlite/recovery.rs` |
//! | an exit code | `cli/exit.rs` |
//! | a fault to rehearse | `mock/config.rs` and `mock/reply.rs` |
//!
//! # One request from line to line
//!
//! `{"custom_id":"r1","session_id":"s","query":"…"}` in `nova3 run requests.jsonl -o out.jsonl`:
//!
//! 1. `cli::run` loads [`config::Config`] and [`agent::Agents`], opens the store and the [`llm::Client`], and calls
//!    [`engine::run_batch`].
//! 2. `engine/exporter.rs` compares `out.jsonl` with its cursor before anything is spent.
//! 3. On the reader's thread [`engine::read_input`] cuts the bytes into lines with
//!    [`domain::request::LineSplitter`]; [`domain::request::read_line`] checks the line and gives it its
//!    identity; [`agent::Planner::plan`] says that its tasks are not known without a model.
//! 4. `engine/ingest.rs` hands the chunk to [`store::Queues::add`]. The request is new, so it is queued; had it
//!    been finished by an earlier run of the same name, it would end here, free.
//! 5. The dispatcher has a free slot: [`store::Queues::claim`] leases the queue under a new fence, the
//!    dispatcher registers it and spawns `work` of `engine/worker.rs`.
//! 6. It has no tasks: `engine/planning.rs` looks whether it continues another queue, else asks
//!    [`agent::run_supervisor`]; [`store::Queues::settle_plan`] makes the plan durable together with its tasks.
//! 7. For each task [`store::Sessions::context`] gives what was made before, [`agent::prompt`] makes the
//!    conversation of it within its budget, and [`agent::run_agent`] goes along its chain with [`llm::Walk`], which
//!    waits for the route's breaker, pause and limits, reserves the money and sends through `llm/transport.rs`; [`llm::wire::Collector`] puts the
//!    streamed pieces together. An answer that does not fit is asked once more.
//! 8. The answer becomes items. [`store::Queues::settle`] is one transaction, committed in a group with others: the
//!    outcome, the items' numbers, the attempts, the event, and the queue's next step or end.
//! 9. The dispatcher counts it and wakes the exporter, which reads the finished row, announces the length of
//!    its line, and appends what [`domain::result_line::write`] makes of it with [`sink::ResultFile`].
//! 10. Nothing is left: the dispatcher ends its loop, the exporter writes its cursor,
//!     [`store::Queues::close`] tidies the store, and `cli::exit` says 0.

// scripts/test turns the warning into an error: a crate that only tests use belongs to the development dependencies.
#![cfg_attr(not(test), warn(unused_crate_dependencies))]

// The allocator is chosen in `main.rs`.
use tikv_jemallocator as _;

#[macro_use]
mod failpoint;

pub mod agent;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod engine;
pub mod limit;
pub mod llm;
pub mod mock;
pub mod observe;
pub mod postgres;
pub mod report;
pub mod sink;
pub mod store;
