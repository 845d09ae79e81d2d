//! Agents are data: a prompt, a bound on the answer, the type of their items. Behaviour is one function.
//!
//! Everything that can be wrong with an agent is found when it is loaded, before anything is spent.

mod definition;
mod plan;
mod run;

pub use definition::{Agent, AgentError, Agents};
pub use plan::{COMPLETION, Planner};
pub use run::{Done, TaskEnd, run_agent, run_completion};
