//! Which tasks a request has, as far as that needs no model.

use super::definition::Agents;
use crate::domain::ids::shortened;
use crate::domain::request::{Action, Brief, Interaction, Request, Work};

/// The action of an OpenAI Batch line's only task.
pub const COMPLETION: &str = "completion";

/// Decides the tasks of each request.
#[derive(Debug)]
pub struct Planner {
    available: Vec<Action>,
    routes: Vec<String>,
    /// `--tasks`: what requests get that name none.
    given: Option<Vec<Action>>,
}

impl Planner {
    /// A planner for the agents and routes there are. `given` are the tasks of requests that name none.
    pub fn new(agents: &Agents, routes: Vec<String>, given: Option<Vec<Action>>) -> Result<Self, String> {
        let planner = Self {
            available: agents.actions().collect(),
            routes,
            given,
        };
        for action in planner.given.iter().flatten() {
            planner.check(*action)?;
        }
        Ok(planner)
    }

    /// What decides the plans beside the lines themselves: a change means that they are read again.
    pub fn fingerprint(&self) -> String {
        let given: Vec<&str> = self
            .given
            .iter()
            .flatten()
            .map(|action| action.as_str())
            .collect();
        let available: Vec<&str> = self.available.iter().map(|action| action.as_str()).collect();
        format!(
            "tasks={};available={};routes={}",
            given.join(","),
            available.join(","),
            self.routes.join(",")
        )
    }

    /// The tasks as (action, input), or why the request cannot be done.
    pub fn plan(&self, request: &Request) -> Result<Vec<(&'static str, String)>, String> {
        if let Some(model) = &request.model
            && !self.routes.contains(model)
        {
            let known = quoted(self.routes.iter().map(String::as_str));
            return Err(format!(
                "`model` `{}` is no route (routes: {known})",
                shortened(model, 60)
            ));
        }
        match &request.work {
            Work::Completion(_) => Ok(vec![(COMPLETION, String::new())]),
            Work::Brief(brief) => self.plan_brief(brief),
        }
    }

    fn plan_brief(&self, brief: &Brief) -> Result<Vec<(&'static str, String)>, String> {
        let chosen = brief.selections.chosen().next().is_some();
        for (present, what) in [
            (chosen, "`nova3_selections`"),
            (!brief.references.is_empty(), "`references`"),
            (!brief.auto, "`auto: false`"),
        ] {
            if present {
                return Err(format!(
                    "{what} cannot be used yet: this version answers single questions only"
                ));
            }
        }
        let query = brief.query.clone().unwrap_or_default();
        if let Some(tasks) = &brief.tasks {
            return tasks
                .iter()
                .map(|task| {
                    self.check(task.action)?;
                    Ok((
                        task.action.as_str(),
                        task.input.clone().unwrap_or_else(|| query.clone()),
                    ))
                })
                .collect();
        }
        if let Some(given) = &self.given {
            return Ok(given
                .iter()
                .map(|action| (action.as_str(), query.clone()))
                .collect());
        }
        match brief.interaction {
            Interaction::QuickSuggestion => Ok(vec![(Action::Answer.as_str(), query)]),
            other => Err(format!(
                "`interaction_type` `{}` needs a planned queue, which this version cannot make \
                 (give `\"tasks\":[\"answer\"]` in the line or `--tasks answer`)",
                other.as_str()
            )),
        }
    }

    fn check(&self, action: Action) -> Result<(), String> {
        if self.available.contains(&action) {
            return Ok(());
        }
        let known = quoted(self.available.iter().map(|action| action.as_str()));
        Err(format!(
            "action `{}` has no agent in this version (available: {known})",
            action.as_str()
        ))
    }
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::request::{Rules, read_line};

    fn plan(line: &str, given: Option<Vec<Action>>) -> Result<Vec<(&'static str, String)>, String> {
        let agents = Agents::embedded().unwrap();
        let planner = Planner::new(&agents, vec!["default".to_owned()], given).unwrap();
        planner.plan(&read_line(line.as_bytes(), Rules::default()).unwrap().request)
    }

    #[test]
    fn plans_that_need_no_model() {
        let one = |input: &str| Ok(vec![("answer", input.to_owned())]);
        assert_eq!(plan(r#"{"query":"q","tasks":["answer"]}"#, None), one("q"));
        assert_eq!(
            plan(r#"{"query":"q","tasks":[{"action":"answer","input":"i"}]}"#, None),
            one("i")
        );
        assert_eq!(
            plan(r#"{"query":"q","interaction_type":"quick_suggestion"}"#, None),
            one("q")
        );
        assert_eq!(plan(r#"{"query":"q"}"#, Some(vec![Action::Answer])), one("q"));
        assert_eq!(
            plan(r#"{"custom_id":"a","body":{"messages":[]}}"#, None),
            Ok(vec![(COMPLETION, String::new())])
        );
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let refused = |line: &str| plan(line, None).unwrap_err();
        assert_eq!(
            refused(r#"{"query":"q","tasks":["insight"]}"#),
            "action `insight` has no agent in this version (available: `answer`)"
        );
        assert!(refused(r#"{"query":"q"}"#).contains("`full_analysis` needs a planned queue"));
        assert!(refused(r#"{"references":["@insight1"],"tasks":["answer"]}"#).contains("`references`"));
        assert_eq!(
            refused(r#"{"query":"q","tasks":["answer"],"model":"gpt"}"#),
            "`model` `gpt` is no route (routes: `default`)"
        );
    }
}
