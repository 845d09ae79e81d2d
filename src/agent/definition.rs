//! What an agent is, read from TOML and checked.

use minijinja::{Environment, UndefinedBehavior, context};
use serde::Deserialize;

use crate::domain::request::{Action, Brief};
use crate::llm::wire::{Message, Role};

/// An agent that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("agent file `{file}`: {reason}")]
pub struct AgentError {
    /// The file.
    pub file: String,
    /// What is wrong with it, with its line where there is one.
    pub reason: String,
}

/// An agent file as it may be written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    action: String,
    max_tokens: u32,
    system: String,
    user: String,
}

/// One agent.
#[derive(Debug)]
pub struct Agent {
    /// What it does.
    pub action: Action,
    /// Tokens that its answer may have at most.
    pub max_tokens: u32,
    templates: Environment<'static>,
}

/// All agents.
#[derive(Debug)]
pub struct Agents(Vec<Agent>);

const EMBEDDED: &[(&str, &str)] = &[("agents/answer.toml", include_str!("../../agents/answer.toml"))];

impl Agents {
    /// The agents that come with the program.
    pub fn embedded() -> Result<Self, AgentError> {
        EMBEDDED
            .iter()
            .map(|(file, text)| Agent::parse(file, text))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The agent for an action.
    pub fn get(&self, action: &str) -> Option<&Agent> {
        self.0.iter().find(|agent| agent.action.as_str() == action)
    }

    /// The actions there are agents for.
    pub fn actions(&self) -> impl Iterator<Item = Action> + '_ {
        self.0.iter().map(|agent| agent.action)
    }
}

impl Agent {
    fn parse(file: &str, text: &str) -> Result<Self, AgentError> {
        let problem = |reason: String| AgentError {
            file: file.to_owned(),
            reason,
        };
        let raw: Raw = toml::from_str(text).map_err(|error| problem(error.to_string()))?;
        let action = Action::parse(&raw.action).ok_or_else(|| {
            problem(format!(
                "`action` is `{}`, which no request can ask for",
                raw.action
            ))
        })?;
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        // A template is trusted, what it is given is not: a loop over hostile material must still end.
        templates.set_fuel(Some(200_000));
        for (name, source) in [("system", raw.system), ("user", raw.user)] {
            templates
                .add_template_owned(name, source)
                .map_err(|error| problem(format!("template `{name}`: {error:#}")))?;
        }
        let agent = Self {
            action,
            max_tokens: raw.max_tokens,
            templates,
        };
        agent
            .render("probe", &["probe".to_owned()])
            .map_err(|error| problem(format!("{error:#}")))?;
        Ok(agent)
    }

    /// The conversation for one task.
    pub fn messages(&self, brief: &Brief, input: &str) -> Result<Vec<Message>, minijinja::Error> {
        let known = &brief.background;
        let mut background: Vec<String> = [
            ("account", &known.account_name),
            ("platform", &known.platform),
            ("audience", &known.target_audience),
            ("industry", &known.industry),
            ("style", &known.brand_style),
        ]
        .into_iter()
        .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}: {value}")))
        .collect();
        background.extend(
            known
                .previous_content
                .iter()
                .map(|text| format!("earlier content: {text}")),
        );
        self.render(input, &background)
    }

    fn render(&self, input: &str, background: &[String]) -> Result<Vec<Message>, minijinja::Error> {
        let rendered = |name: &str| {
            let text = self
                .templates
                .get_template(name)?
                .render(context! { input, background => background.to_vec() })?;
            Ok::<_, minijinja::Error>(text.trim().to_owned())
        };
        Ok(vec![
            Message {
                role: Role::System,
                content: rendered("system")?,
            },
            Message {
                role: Role::User,
                content: rendered("user")?,
            },
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_agent_loads() {
        let agents = Agents::embedded().unwrap();
        assert_eq!(agents.actions().collect::<Vec<_>>(), [Action::Answer]);
    }

    #[test]
    fn a_broken_template_is_named_with_its_line() {
        let text = "action='answer'\nmax_tokens=1\nsystem='s'\nuser='''\n\n{{ missing }}'''";
        let error = Agent::parse("agents/x.toml", text).unwrap_err().to_string();
        assert!(error.starts_with("agent file `agents/x.toml`:"), "{error}");
        assert!(error.contains("in user:2"), "{error}");
        let unknown = Agent::parse(
            "agents/x.toml",
            "action='dance'\nmax_tokens=1\nsystem=''\nuser=''",
        )
        .unwrap_err();
        assert!(unknown.to_string().contains("`dance`"));
    }

    #[test]
    fn template_syntax_in_a_question_stays_text() {
        let agents = Agents::embedded().unwrap();
        let messages = agents
            .get("answer")
            .unwrap()
            .render("{{ 7*7 }} {% raw %}", &[])
            .unwrap();
        assert_eq!(messages[1].content, "# Question\n{{ 7*7 }} {% raw %}");
    }
}
