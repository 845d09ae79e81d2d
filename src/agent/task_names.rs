//! The earlier tasks that templates name: `tasks.score[0].reason`.

use std::collections::BTreeSet;

use minijinja::{Environment, Template};

/// The variable that holds the items of earlier tasks by action.
pub(super) const TASKS: &str = "tasks";

/// The tasks that templates name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskNames {
    /// Whether a template uses all tasks as a whole.
    pub whole: bool,
    /// The actions that are named.
    pub names: BTreeSet<String>,
}

impl TaskNames {
    /// Returns the tasks that a template names. Branches that are not taken count too.
    pub(super) fn of(templates: &Environment<'_>, source: &str) -> Result<Self, minijinja::Error> {
        let template: Template<'_, '_> = templates.template_from_str(source)?;
        Ok(Self::among(template.undeclared_variables(true)))
    }

    /// Returns the tasks among the paths of variables.
    pub(super) fn among(variables: impl IntoIterator<Item = String>) -> Self {
        let mut names = Self::default();
        for variable in variables {
            let mut path = variable.split('.');
            if path.next() != Some(TASKS) {
                continue;
            }
            match path.next() {
                Some(name) => drop(names.names.insert(name.to_owned())),
                None => names.whole = true,
            }
        }
        names
    }

    /// Adds the tasks of another template.
    pub(super) fn add(&mut self, other: &Self) {
        self.whole |= other.whole;
        self.names.extend(other.names.iter().cloned());
    }

    /// Whether no template names a task.
    pub fn is_empty(&self) -> bool {
        !self.whole && self.names.is_empty()
    }

    /// Returns a named task that is not among the known ones.
    pub(super) fn unknown(&self, is_known: impl Fn(&str) -> bool) -> Option<&str> {
        self.names.iter().map(String::as_str).find(|name| !is_known(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_tasks_are_found() {
        for (source, whole, names) in [
            (
                "{{ tasks.a[0].b }}{% if tasks.c_d %}x{% endif %}",
                false,
                &["a", "c_d"][..],
            ),
            (
                "{% for item in tasks.a %}{{ item.title }}{% endfor %}",
                false,
                &["a"],
            ),
            (
                "{% for name, items in tasks|items %}{{ name }}{% endfor %}",
                true,
                &[],
            ),
            ("{{ row.tasks }} tasks.a", false, &[]),
        ] {
            let found = TaskNames::of(&Environment::new(), source).unwrap();
            let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!((found.whole, found.names), (whole, names), "{source}");
        }
    }
}
