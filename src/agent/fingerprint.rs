//! The fingerprint of a task: a digest of each of its inputs. A redo compares it with the present inputs.

use std::fmt;

use serde::Serialize;

use super::context::max_tokens;
use super::definition::Agent;
use super::fan_out;
use super::run::{Prompt, TaskInput, prompt};
use crate::config::ContextBudget;
use crate::domain::failure::Failure;
use crate::domain::request::Digest;
use crate::llm::Route;

/// The hexadecimal digits of each digest. A collision only hides that an input changed.
const DIGITS: usize = 16;

/// The digests of a task's inputs. Its text form has one digest for each input, separated by points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    agent: String,
    model: String,
    sampling: String,
    instruction: String,
    prompt: String,
}

/// An input of a task that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MovedInput {
    /// The agent's file: its prompt, its schema, its rules.
    Agent,
    /// The model, or extra fields of its request body.
    Model,
    /// Temperature, seed and limits of the answer.
    Sampling,
    /// The task's own instruction.
    Instruction,
    /// Everything else in the prompt: earlier results, sources, chosen items, the session's history.
    Context,
}

impl MovedInput {
    /// The reason as a part of a sentence.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Agent => "its agent file changed",
            Self::Model => "its model changed",
            Self::Sampling => "its sampling settings changed",
            Self::Instruction => "its instruction changed",
            Self::Context => "its context changed",
        }
    }

    /// The name for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Model => "model",
            Self::Sampling => "sampling",
            Self::Instruction => "instruction",
            Self::Context => "context",
        }
    }
}

impl Fingerprint {
    /// The fingerprint of a prompt.
    pub(super) fn of(agent: &Agent, route: &Route, input: &str, prompt: &Prompt) -> Self {
        let sampling = &agent.sampling;
        Self {
            agent: digest(&agent.source),
            model: digest(&(&route.settings.model, &route.settings.body)),
            sampling: digest(&(
                sampling.temperature,
                sampling.top_p,
                sampling.seed,
                max_tokens(route, agent),
            )),
            instruction: digest(&input),
            prompt: digest(&prompt.messages),
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('.').collect();
        let [agent, model, sampling, instruction, prompt] = parts.try_into().ok()?;
        Some(Self {
            agent: agent.to_owned(),
            model: model.to_owned(),
            sampling: sampling.to_owned(),
            instruction: instruction.to_owned(),
            prompt: prompt.to_owned(),
        })
    }

    /// Returns the first input that differs now. A changed agent or instruction changes the prompt too, so the context
    /// counts only if nothing else differs.
    pub fn moved(&self, now: &Self) -> Option<MovedInput> {
        [
            (MovedInput::Agent, self.agent != now.agent),
            (MovedInput::Model, self.model != now.model),
            (MovedInput::Sampling, self.sampling != now.sampling),
            (MovedInput::Instruction, self.instruction != now.instruction),
            (MovedInput::Context, self.prompt != now.prompt),
        ]
        .into_iter()
        .find_map(|(input, differs)| differs.then_some(input))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            agent,
            model,
            sampling,
            instruction,
            prompt,
        } = self;
        write!(f, "{agent}.{model}.{sampling}.{instruction}.{prompt}")
    }
}

/// Returns the fingerprint that the task would have on this route now, without a call.
pub fn fingerprint(
    agent: &Agent,
    route: &Route,
    budget: &ContextBudget,
    task: TaskInput<'_>,
) -> Result<Fingerprint, Failure> {
    let share = task.part.map(|part| fan_out::of_part(agent, part));
    let agent = share.as_ref().unwrap_or(agent);
    let prompt = prompt(agent, route, budget, task)?;
    Ok(Fingerprint::of(agent, route, task.input, &prompt))
}

/// Digests a value. Texts, numbers and messages always serialize to JSON.
fn digest(value: &impl Serialize) -> String {
    let text = serde_json::to_vec(value).unwrap_or_default();
    let mut hex = Digest::of(&text).hex();
    hex.truncate(DIGITS);
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(parts: [&str; 5]) -> Fingerprint {
        Fingerprint::parse(&parts.join(".")).unwrap()
    }

    #[test]
    fn the_first_changed_input_is_the_reason() {
        let stored = print(["a", "b", "c", "d", "e"]);
        assert_eq!(Fingerprint::parse(&stored.to_string()), Some(stored.clone()));
        for (now, moved) in [
            (["a", "b", "c", "d", "e"], None),
            (["x", "b", "c", "d", "x"], Some(MovedInput::Agent)),
            (["a", "x", "x", "d", "x"], Some(MovedInput::Model)),
            (["a", "b", "x", "d", "e"], Some(MovedInput::Sampling)),
            (["a", "b", "c", "x", "x"], Some(MovedInput::Instruction)),
            (["a", "b", "c", "d", "x"], Some(MovedInput::Context)),
        ] {
            assert_eq!(stored.moved(&print(now)), moved);
        }
        assert_eq!(Fingerprint::parse("0123abcd"), None);
    }
}
