//! The search of an agent: the queries of its tasks, and the chain that is asked.

use serde::{Deserialize, Serialize};

use crate::config::MOST_PAGES;

/// The most queries of one task, because each is paid.
pub const MOST_QUERIES: usize = 3;

/// The queries of an agent file without `search.query`.
const DEFAULT_QUERY: &str = "{{ query or input }}";

/// The table `search` of an agent file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSearchSpec {
    query: Option<String>,
    ask: bool,
    results: Option<usize>,
    providers: Option<Vec<String>>,
    read: Option<usize>,
}

/// How the sources of an agent's tasks are looked up. The search is a task of its own before the agent's task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SearchSpec {
    /// The template of the queries: one query a line, at most [`MOST_QUERIES`]. It has the variables of the prompt.
    pub query: String,
    /// Whether a model writes the queries, with one small call. If it gives none, the template does.
    pub ask: bool,
    /// The number of results of a query. Without it the setting `search.results` applies.
    pub results: Option<usize>,
    /// The links of the chain. Without them the setting `search.providers` applies.
    pub providers: Option<Vec<String>>,
    /// The number of pages to read, beginning with the first result. Without it the setting `search.pages` applies.
    pub read: Option<usize>,
}

impl SearchSpec {
    /// Checks the table of a file. `Err` holds the reason.
    pub(super) fn read(raw: RawSearchSpec) -> Result<Self, String> {
        if let Some(results) = raw.results.filter(|results| !(1..=50).contains(results)) {
            return Err(format!("`search.results` is {results}, expected 1 to 50"));
        }
        if let Some(read) = raw.read.filter(|read| *read > MOST_PAGES) {
            return Err(format!("`search.read` is {read}, expected 0 to {MOST_PAGES}"));
        }
        if raw.query.as_ref().is_some_and(|query| query.trim().is_empty()) {
            return Err("`search.query` is empty, expected a template such as `{{ query }}`".to_owned());
        }
        let links = raw.providers.as_deref().unwrap_or_default();
        if raw.providers.is_some() && !(1..=20).contains(&links.len()) {
            return Err(format!(
                "`search.providers` has {} names, expected 1 to 20 providers",
                links.len()
            ));
        }
        if let Some((_, name)) = links
            .iter()
            .enumerate()
            .find(|(place, name)| links[..*place].contains(name))
        {
            return Err(format!(
                "`search.providers` names `{name}` twice, expected each provider once"
            ));
        }
        Ok(Self {
            query: raw.query.unwrap_or_else(|| DEFAULT_QUERY.to_owned()),
            ask: raw.ask,
            results: raw.results,
            providers: raw.providers,
            read: raw.read,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<SearchSpec, String> {
        SearchSpec::read(toml::from_str(text).map_err(|error| error.to_string())?)
    }

    #[test]
    fn a_table_without_keys_searches_for_the_query() {
        let spec = read("").unwrap();
        assert_eq!(
            (spec.query.as_str(), spec.ask, spec.read),
            (DEFAULT_QUERY, false, None)
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (text, reason) in [
            ("results = 0", "`search.results` is 0, expected 1 to 50"),
            ("read = 9", "`search.read` is 9, expected 0 to 5"),
            ("query = ' '", "`search.query` is empty"),
            ("providers = []", "`search.providers` has 0 names"),
            ("providers = ['jina', 'jina']", "names `jina` twice"),
            ("querry = 'a'", "unknown field `querry`"),
        ] {
            let told = read(text).unwrap_err();
            assert!(told.contains(reason), "{text}: {told}");
        }
    }
}
