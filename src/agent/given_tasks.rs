//! The tasks of requests that name none: a chain (`--tasks`), or a graph (`--pipeline`).

use std::collections::BTreeSet;

use crate::domain::ids::shortened;
use crate::domain::request::Action;
use crate::store::Planned;

/// The most tasks of a queue.
pub(super) const MOST_TASKS: usize = 10;

/// The tasks, in an order in which each comes after those that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenTasks(Vec<GivenStep>);

/// A task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GivenStep {
    pub(super) action: Action,
    /// The tasks that it needs, by index. `None`: the one before.
    pub(super) needs: Option<Vec<usize>>,
}

impl GivenTasks {
    /// Reads a chain of tasks, separated by commas. `None` if there is none. `Err` has the reason.
    pub fn chain(list: &str) -> Result<Option<Self>, String> {
        let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
        let steps = names
            .map(|name| {
                let action = Action::parse(name);
                let action = action.ok_or_else(|| format!("`{}` is no action", shortened(name, 60)))?;
                Ok(GivenStep { action, needs: None })
            })
            .collect::<Result<Vec<_>, String>>()?;
        if steps.len() > MOST_TASKS {
            return Err(format!("a queue has 1 to {MOST_TASKS} tasks"));
        }
        Ok(Some(Self(steps)).filter(|tasks| !tasks.0.is_empty()))
    }

    /// Makes one task.
    pub fn one(action: Action) -> Self {
        Self(vec![GivenStep { action, needs: None }])
    }

    /// Makes a graph.
    pub(super) const fn of(steps: Vec<GivenStep>) -> Self {
        Self(steps)
    }

    /// Returns the actions in order.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.0.iter().map(|step| &step.action)
    }

    /// Whether tasks can run side by side.
    pub fn is_graph(&self) -> bool {
        self.0.iter().any(|step| step.needs.is_some())
    }

    /// Returns the tasks as the terms of a run hold them: `a,b,c<a+b`. A task without `<` needs the one before.
    pub fn text(&self) -> String {
        let name = |index: &usize| self.0.get(*index).map_or("", |step| step.action.as_str());
        let shown = self.0.iter().map(|step| match &step.needs {
            None => step.action.to_string(),
            Some(needs) => {
                let needs: Vec<&str> = needs.iter().map(name).collect();
                format!("{}<{}", step.action, needs.join("+"))
            }
        });
        shown.collect::<Vec<_>>().join(",")
    }

    /// Reads the terms of a run. `None` if they hold no tasks.
    pub(super) fn of_text(text: &str) -> Option<Self> {
        let mut steps: Vec<GivenStep> = Vec::new();
        for task in text.split(',') {
            let (name, needs) = match task.split_once('<') {
                Some((name, needs)) => (name, Some(needs)),
                None => (task, None),
            };
            let place = |name: &str| steps.iter().position(|step| step.action.as_str() == name);
            let needs = needs.map(|needs| needs.split('+').filter_map(place).collect());
            let action = Action::parse(name)?;
            steps.push(GivenStep { action, needs });
        }
        Some(Self(steps))
    }

    /// Returns the actions of the tasks that the task at an index needs, directly or through others.
    pub(super) fn before(&self, index: usize) -> BTreeSet<String> {
        let places = places_before(&self.0, index);
        let named = places.into_iter().filter_map(|place| self.0.get(place));
        named.map(|step| step.action.to_string()).collect()
    }

    /// Returns the tasks of a request with this input.
    pub(super) fn planned(&self, input: &str) -> Vec<Planned> {
        let planned = self.0.iter().map(|step| Planned {
            action: step.action.to_string(),
            description: String::new(),
            input: input.to_owned(),
            needs: step.needs.clone(),
        });
        planned.collect()
    }
}

/// Returns the indexes of the tasks that a task needs, directly or through others.
fn places_before(steps: &[GivenStep], index: usize) -> BTreeSet<usize> {
    let mut before = BTreeSet::new();
    let mut open = vec![index];
    while let Some(place) = open.pop() {
        let needs = match steps.get(place).map(|step| &step.needs) {
            Some(Some(needs)) => needs.clone(),
            Some(None) => place.checked_sub(1).into_iter().collect(),
            None => Vec::new(),
        };
        open.extend(needs.into_iter().filter(|needed| before.insert(*needed)));
    }
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_is_read_from_its_text() {
        for text in ["a", "a,b,c", "a,b<,c<a+b,d,e<c", "a,a"] {
            assert_eq!(GivenTasks::of_text(text).unwrap().text(), text);
        }
        let graph = GivenTasks::of_text("a,b<,c<a+b,d,e<b").unwrap();
        let before: Vec<Vec<String>> = (0..5)
            .map(|index| graph.before(index).into_iter().collect())
            .collect();
        assert_eq!(before, [&[][..], &[], &["a", "b"], &["a", "b", "c"], &["b"]]);
        assert!(GivenTasks::of_text("").is_none());
    }

    #[test]
    fn a_chain_has_a_bound() {
        assert_eq!(GivenTasks::chain(" , ").unwrap(), None);
        assert_eq!(GivenTasks::chain("a<b").unwrap_err(), "`a<b` is no action");
        assert!(GivenTasks::chain(&["a"; 11].join(",")).is_err());
    }
}
