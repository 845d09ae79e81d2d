//! Agents are data: a prompt, the form of the answer, and the rules of its items. One function runs all of them.
//!
//! ```text
//! agents/*.toml → Agents → Planner (which tasks) ─┐
//!                                                 ├─▶ converse: ask → validate → at most one repair → items or plan
//! request + Material → Parts (cut to a budget) ───┘
//! ```
//!
//! Loading an agent checks its whole file, before any call is paid. A model's text is untrusted. It becomes items that
//! fit the agent's schema, or a failure with its reason.

mod agent_file;
mod asked;
mod basis;
mod budget;
mod completion;
mod condition;
mod context;
mod conversation;
mod data;
mod definition;
mod fan_out;
mod fingerprint;
mod forecast;
mod form;
mod given_tasks;
mod items;
mod language;
mod library;
mod lookup;
mod parts;
mod pipeline;
mod plan;
mod probe;
mod prompt;
mod proof;
mod queries;
mod row;
mod run;
mod search_spec;
mod sources;
mod supervise;
mod task_names;
mod template_check;
mod texts;

pub use agent_file::AgentError;
pub use asked::ASK;
pub use completion::run_completion;
pub use condition::{TaskCondition, is_due};
pub use context::AgentContext;
pub use definition::Agent;
pub use fan_out::{FanOut, JoinOutcome, join, of_part, split};
pub use fingerprint::{Fingerprint, MovedInput, fingerprint};
pub use forecast::{LaterMaterial, PromptForecast, forecast_line, forecast_prompt};
pub use form::Form;
pub use given_tasks::GivenTasks;
pub use library::{Agents, QUERY_WRITER, SUPERVISOR};
pub use parts::{shown_search, text_of};
pub use plan::{COMPLETION, KnownTasks as PlannedWork, Planner, own_input as planning_input};
pub use queries::{WrittenQueries, from_template as template_queries, write_queries};
pub use row::{QueryTemplate, RowColumns};
pub use run::{PartOf, Prompt, TaskEnd, TaskInput, TaskOutcome, prompt, run_agent, wanted_items};
pub use search_spec::{MOST_QUERIES, SearchSpec};
pub use supervise::{MOST_TASKS, PlanDone, run_supervisor};
pub use task_names::TaskNames;
