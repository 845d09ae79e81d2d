//! Plans the tasks of a request, as far as no model is needed.

use std::collections::BTreeSet;

use super::given_tasks::GivenTasks;
use super::library::Agents;
use super::task_names::TaskNames;
use crate::domain::ids::shortened;
use crate::domain::request::{Action, Brief, Interaction, Request, Stops, Work as Asked};
use crate::store::{Planned, RunConstraints};

/// The action of an OpenAI Batch line's only task.
pub const COMPLETION: &str = "completion";

/// Decides the tasks of each request.
#[derive(Debug, Clone)]
pub struct Planner {
    /// The known actions.
    known: Vec<KnownAction>,
    routes: Vec<String>,
    /// `--tasks`: the tasks of requests that name none.
    given: Option<GivenTasks>,
    /// `--until`: where a queue pauses if its line does not say.
    until: Option<Action>,
}

/// An action that a request may ask for.
#[derive(Debug, Clone)]
struct KnownAction {
    name: String,
    /// Its selection list.
    list: String,
    /// Whether its prompt names the query.
    reads_query: bool,
    /// The earlier tasks that its prompt names.
    tasks: TaskNames,
}

/// The part of a request's plan that needs no model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownTasks {
    /// Its tasks; empty if the supervisor plans first.
    pub tasks: Vec<Planned>,
    /// The points where its queue pauses.
    pub stops: Stops,
}

impl Planner {
    /// Makes a planner for these agents and routes. `given` are the tasks of requests that name none. `until` is where
    /// a queue pauses if its line does not say.
    pub fn new(
        agents: &Agents,
        routes: Vec<String>,
        given: Option<GivenTasks>,
        until: Option<Action>,
    ) -> Result<Self, String> {
        let planner = Self {
            known: agents
                .all()
                .iter()
                .map(|agent| KnownAction {
                    name: agent.action.as_str().to_owned(),
                    list: agent.content_type(),
                    reads_query: agent.reads_query,
                    tasks: agent.tasks.clone(),
                })
                .collect(),
            routes,
            given,
            until,
        };
        for agent in agents.all().iter().chain([agents.supervisor()]) {
            if let Some(model) = &agent.model {
                planner
                    .check_route("its `model`", model)
                    .map_err(|reason| format!("agent file `{}`: {reason}", agent.file.display()))?;
            }
        }
        for action in planner.given.iter().flat_map(GivenTasks::actions) {
            planner
                .check(action.as_str())
                .map_err(|reason| format!("`--tasks`: {reason}"))?;
        }
        if let Some(given) = &planner.given {
            planner.check_named_tasks(given.actions().map(Action::as_str), |index| given.before(index))?;
        }
        if let Some(until) = &planner.until {
            planner
                .check(until.as_str())
                .map_err(|reason| format!("`--until`: {reason}"))?;
        }
        Ok(planner)
    }

    /// Returns the same planner with the stored terms of a run: its `--until` and its `--tasks`.
    #[must_use]
    pub fn under(&self, terms: &RunConstraints) -> Self {
        Self {
            until: terms.until.as_deref().and_then(Action::parse),
            given: terms.tasks.as_deref().and_then(GivenTasks::of_text),
            ..self.clone()
        }
    }

    /// Returns a fingerprint of the settings that decide plans beside the lines. The lines are read again when it
    /// changes.
    pub fn fingerprint(&self) -> String {
        let given = self.given.as_ref().map(GivenTasks::text).unwrap_or_default();
        let known: Vec<&str> = self.known.iter().map(|known| known.name.as_str()).collect();
        format!(
            "tasks={};until={};available={};routes={}",
            given,
            self.until.as_ref().map_or("", Action::as_str),
            known.join(","),
            self.routes.join(",")
        )
    }

    /// Whether a flag gives tasks to requests that name none.
    pub const fn gives_tasks(&self) -> bool {
        self.given.is_some()
    }

    /// Whether tasks of a request can run side by side.
    pub fn gives_graph(&self) -> bool {
        self.given.as_ref().is_some_and(GivenTasks::is_graph)
    }

    /// Returns the tasks that are known without a model, or the reason why the request is refused.
    pub fn plan(&self, request: &Request) -> Result<KnownTasks, String> {
        if let Some(model) = &request.model {
            self.check_route("`model`", model)?;
        }
        match &request.work {
            Asked::Completion(_) => Ok(KnownTasks {
                tasks: vec![planned(COMPLETION, String::new())],
                stops: Stops::default(),
            }),
            Asked::Brief(brief) => {
                let tasks = self.tasks(brief)?;
                self.check_query(brief, &tasks)?;
                Ok(KnownTasks {
                    tasks,
                    stops: self.stops(brief)?,
                })
            }
        }
    }

    /// Returns where the queue of a request pauses: as its line says, else as the flag says.
    pub fn stops_of(&self, brief: &Brief) -> Stops {
        let stops = brief.stops();
        if stops.is_none() {
            return Stops {
                until: self.until.clone(),
                each: false,
            };
        }
        stops
    }

    fn stops(&self, brief: &Brief) -> Result<Stops, String> {
        if let Some(until) = &brief.until {
            self.check(until.as_str())
                .map_err(|reason| format!("`until`: {reason}"))?;
        }
        Ok(self.stops_of(brief))
    }

    fn tasks(&self, brief: &Brief) -> Result<Vec<Planned>, String> {
        for item in &brief.selections.items {
            if !self.known.iter().any(|known| known.list == item.list) {
                return Err(format!(
                    "`nova3_selections` has a list `{}`, which no agent makes",
                    shortened(&item.list, 60)
                ));
            }
        }
        if let Some(tasks) = &brief.tasks {
            let planned = tasks
                .iter()
                .map(|task| {
                    self.check(task.action.as_str())?;
                    let input = task.input.clone().unwrap_or_else(|| own_input(brief));
                    Ok(planned(task.action.as_str(), input))
                })
                .collect::<Result<Vec<_>, String>>()?;
            let actions: Vec<&str> = planned.iter().map(|task| task.action.as_str()).collect();
            let before = |index| {
                actions
                    .iter()
                    .take(index)
                    .map(|action| (*action).to_owned())
                    .collect()
            };
            self.check_named_tasks(actions.iter().copied(), before)?;
            return Ok(planned);
        }
        if let Some(given) = &self.given {
            return Ok(given.planned(&own_input(brief)));
        }
        match brief.interaction {
            Interaction::QuickSuggestion => Ok(vec![planned(Action::ANSWER.as_str(), own_input(brief))]),
            Interaction::FullAnalysis | Interaction::Continue | Interaction::Select => Ok(Vec::new()),
        }
    }

    /// Refuses a task whose prompt names a task that is not before it.
    fn check_named_tasks<'a>(
        &self,
        actions: impl Iterator<Item = &'a str>,
        before: impl Fn(usize) -> BTreeSet<String>,
    ) -> Result<(), String> {
        for (index, action) in actions.enumerate() {
            let known = self.known.iter().find(|known| known.name == action);
            let before = before(index);
            if let Some(name) = known.and_then(|known| known.tasks.unknown(|name| before.contains(name))) {
                return Err(format!(
                    "the prompt of `{action}` names `tasks.{name}`, and no task before it is `{name}`"
                ));
            }
        }
        Ok(())
    }

    /// Refuses a request without a query for a task whose prompt names it.
    fn check_query(&self, brief: &Brief, tasks: &[Planned]) -> Result<(), String> {
        if brief.query.is_some() || !brief.selections.items.is_empty() || !brief.references.is_empty() {
            return Ok(());
        }
        let reads_query = |name: &str| {
            let mut known = self.known.iter();
            known.any(|known| known.name == name && known.reads_query)
        };
        let reader = tasks
            .iter()
            .find(|task| task.input.trim().is_empty() && reads_query(&task.action));
        match (reader, tasks.is_empty()) {
            (Some(task), _) => Err(format!(
                "expected `query` to have 1 to 5000 characters, got none (the prompt of `{}` names it)",
                task.action
            )),
            (None, true) => {
                Err("expected `query` to have 1 to 5000 characters, got none (a plan needs it)".to_owned())
            }
            (None, false) => Ok(()),
        }
    }

    fn check(&self, action: &str) -> Result<(), String> {
        if self.known.iter().any(|known| known.name == action) {
            return Ok(());
        }
        let known = quoted(self.known.iter().map(|known| known.name.as_str()));
        Err(format!(
            "there is no agent for the action `{}` (known: {known})",
            shortened(action, 60)
        ))
    }

    fn check_route(&self, what: &str, model: &str) -> Result<(), String> {
        if self.routes.iter().any(|route| route == model) {
            return Ok(());
        }
        let known = quoted(self.routes.iter().map(String::as_str));
        Err(format!(
            "{what} `{}` is no route (routes: {known})",
            shortened(model, 60)
        ))
    }
}

fn planned(action: &str, input: String) -> Planned {
    Planned {
        action: action.to_owned(),
        description: String::new(),
        input,
        needs: None,
    }
}

/// Returns the input of a task without an instruction of its own.
pub fn own_input(brief: &Brief) -> String {
    brief
        .query
        .clone()
        .or_else(|| brief.selections.task_context.clone())
        .unwrap_or_default()
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
    use crate::config::AgentSettings;
    use crate::domain::request::{Rules, read_line};

    fn plan(line: &str, given: Option<&str>) -> Result<Vec<(String, String)>, String> {
        let settings = AgentSettings {
            limits: true,
            max_results: 5,
            default_plan: vec!["answer".to_owned()],
            ..AgentSettings::default()
        };
        let agents = Agents::load(&settings).unwrap();
        let given = given.map(|action| GivenTasks::one(Action::parse(action).unwrap()));
        let planner = Planner::new(&agents, vec!["default".to_owned()], given, None)?;
        let work = planner.plan(&read_line(line.as_bytes(), Rules::default()).unwrap().request)?;
        Ok(work
            .tasks
            .into_iter()
            .map(|task| (task.action, task.input))
            .collect())
    }

    #[test]
    fn plans_that_need_no_model() {
        let one = |action: &str, input: &str| Ok(vec![(action.to_owned(), input.to_owned())]);
        assert_eq!(
            plan(r#"{"query":"q","tasks":["insight"]}"#, None),
            one("insight", "q")
        );
        assert_eq!(
            plan(r#"{"query":"q","tasks":[{"action":"answer","input":"i"}]}"#, None),
            one("answer", "i")
        );
        assert_eq!(
            plan(r#"{"query":"q","interaction_type":"quick_suggestion"}"#, None),
            one("answer", "q")
        );
        assert_eq!(plan(r#"{"query":"q"}"#, Some("profile")), one("profile", "q"));
        assert_eq!(
            plan(r#"{"custom_id":"a","body":{"messages":[]}}"#, None),
            one(COMPLETION, "")
        );
        assert_eq!(plan(r#"{"query":"q"}"#, None), Ok(vec![]));
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let refused = |line: &str| plan(line, None).unwrap_err();
        let known = "(known: `insight`, `profile`, `hitpoint`, `facts`, `xhs_writing`, `tiktok_script`, \
                     `wechat_article`, `answer`)";
        assert_eq!(
            refused(r#"{"query":"q","tasks":["dance"]}"#),
            format!("there is no agent for the action `dance` {known}")
        );
        assert_eq!(
            refused(r#"{"query":"q","until":"supervisor"}"#),
            format!("`until`: there is no agent for the action `supervisor` {known}")
        );
        assert_eq!(
            refused(r#"{"query":"q","tasks":["answer"],"model":"gpt"}"#),
            "`model` `gpt` is no route (routes: `default`)"
        );
        assert_eq!(
            refused(r#"{"query":"q","nova3_selections":{"nova3_dance":[{"id":"a1","content":"c"}]}}"#),
            "`nova3_selections` has a list `nova3_dance`, which no agent makes"
        );
        assert!(
            plan(r#"{"query":"q"}"#, Some("dance"))
                .unwrap_err()
                .starts_with("`--tasks`:")
        );
    }
}
