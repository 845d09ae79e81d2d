//! The check of an agent's templates at the start: they are rendered with probes, and their names are known.

use minijinja::{Environment, context};
use toml::Spanned;

use super::agent_file::{AgentError, AgentFile, RawAgent};
use super::definition::{Agent, Surroundings, reason};
use super::probe;
use super::prompt;
use super::row::RowColumns;
use super::search_spec::SearchSpec;
use super::task_names::TaskNames;

impl Agent {
    /// Renders the templates once with every part and once with the task only, so that a template error shows at the
    /// start.
    pub(super) fn try_out(&self, source: &AgentFile, raw: &RawAgent) -> Result<(), AgentError> {
        let told = |text: &Spanned<String>, error: &minijinja::Error| {
            source.within(text, error.line().unwrap_or(1), reason(error))
        };
        for text in [&raw.system, &raw.user] {
            self.check_names(text.get_ref())
                .map_err(|reason| source.within(text, 1, reason))?;
        }
        for chinese in [true, false] {
            self.tried(&context! {}, |material| self.system(material, chinese))
                .map_err(|error| told(&raw.system, &error))?;
            for material in [probe::full(), probe::bare()] {
                self.tried(&material, |material| self.user(material, chinese))
                    .map_err(|error| told(&raw.user, &error))?;
                self.tried(&material, |material| self.query_text(material))
                    .map_err(|error| {
                        let reason = format!("`search.query`: {}", reason(&error));
                        AgentError::of_file(&source.file, None, reason)
                    })?;
            }
        }
        Ok(())
    }

    /// Checks that a template names known variables only. It is a check of its own, because an error that depends on
    /// values can hide one.
    fn check_names(&self, text: &str) -> Result<(), String> {
        let template = self
            .templates
            .template_from_str(text)
            .map_err(|error| reason(&error))?;
        match prompt::unknown_name(&self.templates, template.undeclared_variables(false)) {
            Some(name) if self.names_data() => {
                Err(format!("it names `{name}`, expected a name such as `row.{name}`"))
            }
            _ => Ok(()),
        }
    }

    /// Renders a template with columns that are texts, else with columns of any form. An error that depends on the values
    /// is none.
    fn tried(
        &self,
        material: &minijinja::Value,
        render: impl Fn(&minijinja::Value) -> Result<String, minijinja::Error>,
    ) -> Result<(), minijinja::Error> {
        let with = |texts: bool| {
            let data = probe::data(&self.row, &self.tasks, texts);
            render(&context! { ..data, ..material.clone() })
        };
        let Err(error) = with(true) else { return Ok(()) };
        if !self.names_data() {
            return Err(error);
        }
        match with(false) {
            Err(other) if !probe::depends_on_values(&other) => Err(error),
            _ => Ok(()),
        }
    }
}

/// Whether the user template or the search names the query or the task's input.
pub(super) fn reads_query(search: Option<&SearchSpec>, templates: &Environment<'_>) -> bool {
    let names = |template: &minijinja::Template<'_, '_>| {
        let named = template.undeclared_variables(false);
        ["query", "input"].iter().any(|name| named.contains(*name))
    };
    let of_search = search.and_then(|spec| templates.template_from_str(&spec.query).ok());
    let user = templates.get_template("user").ok();
    user.iter().chain(&of_search).any(names)
}

/// The data that the templates of an agent name.
#[derive(Default)]
pub(super) struct DataNames {
    pub(super) row: RowColumns,
    pub(super) tasks: TaskNames,
    pub(super) reads_metadata: bool,
}

pub(super) fn data_names(
    source: &AgentFile,
    raw: &RawAgent,
    search: Option<&SearchSpec>,
    templates: &Environment<'_>,
    around: Surroundings<'_>,
) -> Result<DataNames, AgentError> {
    let broken = |error: minijinja::Error| AgentError::of_file(&source.file, None, reason(&error));
    let mut names = DataNames::default();
    let queries = search.map_or("", |spec| &spec.query);
    for text in [raw.system.get_ref(), raw.user.get_ref(), around.material, queries] {
        names.row.add(&RowColumns::of(templates, text).map_err(broken)?);
        names.tasks.add(&TaskNames::of(templates, text).map_err(broken)?);
        let template = templates.template_from_str(text).map_err(broken)?;
        names.reads_metadata |= template.undeclared_variables(false).contains("metadata");
    }
    Ok(names)
}
