//! Agents are data: a prompt, the form of the answer, the rules of its items. Behaviour is one function.
//!
//! ```text
//! agents/*.toml → Agents → Planner (which tasks) ─┐
//!                                                 ├─▶ converse: ask → validate → at most one repair → items or plan
//! request + Material → Parts (cut to a budget) ───┘
//! ```
//!
//! Everything that can be wrong with an agent is found when it is loaded, before anything is spent. What a model
//! says is untrusted: it ends as items that fit the agent's schema, or as a failure that says what is wrong.

mod budget;
mod completion;
mod context;
mod conversation;
mod definition;
mod fan_out;
mod form;
mod items;
mod language;
mod library;
mod parts;
mod plan;
mod prompt;
mod run;
mod supervise;
mod texts;

pub use completion::run_completion;
pub use context::AgentContext;
pub use definition::{Agent, AgentError};
pub use fan_out::{FanOut, Joined, join, of_part, split};
pub use form::Form;
pub use library::{Agents, SUPERVISOR};
pub use parts::text_of;
pub use plan::{COMPLETION, Planner, Work as PlannedWork, own_input as planning_input, task_names};
pub use run::{Done, PartOf, Prompt, TaskEnd, TaskInput, prompt, run_agent, wanted_items};
pub use supervise::{PlanDone, run_supervisor};
